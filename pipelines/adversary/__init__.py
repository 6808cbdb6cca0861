"""What an attacker of the ledger would try: forged traces, false blocks, mutated proofs."""
