"""Pure stages, the event-log port with its adapters, and the drivers that run stages."""
