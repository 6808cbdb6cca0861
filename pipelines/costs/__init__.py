"""What the system costs, from measured rates: figures with provenance, formulas with units, tables in DuckDB."""
