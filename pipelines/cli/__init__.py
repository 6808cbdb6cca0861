"""The `ecliptica` command: light declarations here, the work in `pipelines.cli.actions`, loaded when called."""
