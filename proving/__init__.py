"""The mathematics: fields, hashes, commitments, STARK, ledger circuit, signatures, verifier."""
