"""Faults of machine, disk, clock and network for `campaign faults`, and what watches a chain under them."""
