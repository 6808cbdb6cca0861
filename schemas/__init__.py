"""Record types, canonical bytes, Arrow schemas, configuration models and SQL views; no logic."""
