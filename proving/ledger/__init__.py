"""The ledger transition: native rules, constraints and trace."""
