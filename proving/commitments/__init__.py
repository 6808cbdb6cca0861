"""Merkle trees, FRI and the ledger's state arrays."""
