"""Proofs about proofs: the recursion circuit, its builder, and the verifier written as a circuit."""
