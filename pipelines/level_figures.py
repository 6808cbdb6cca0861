"""What a proof of each level takes, from its verifying key: rows, columns, constraints, hashes, points, bytes and bits."""

from __future__ import annotations

from dataclasses import dataclass

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.kinds import PROGRAMS, verifying_key
from proving.stark.commitment_hash import POSEIDON2
from proving.stark.encoding import proof_bytes
from proving.stark.key import VerifyingKey

LEVELS = ("segment_s", "segment_l", "lift_s", "lift_l", "join", "epoch", "day", "wrap")
"""Kinds from below."""

SHA256_BLOCK_BYTES = 64
SHA256_PADDING_BYTES = 9
"""A one bit and the length."""


@dataclass(frozen=True, slots=True)
class LevelFigures:
    """Figures of a kind of proof.

    Attributes:
        kind: Its name.
        rows: Height of the trace.
        points: Length of the evaluation domain.
        columns: Columns of every tree: `fixed` (made with the key), `main`, `lookup`, `quotient`.
        constraints: Constraints that one challenge combines.
        hashes: Permutations, or blocks of SHA-256, that a prover hashes into trees; the fixed columns' tree and grinding
            are not counted.
        grinding: Permutations or blocks that grinding takes on average.
        extended_cells: Points of all columns that a prover extends.
        proof_bytes: Exact length.
        proven_bits: By the calculator.
        child_permutations: Permutations of the verifications in the circuit; None of a segment.
        child_arithmetic: Rows of arithmetic of the same.
    """

    kind: str
    rows: int
    points: int
    columns: dict[str, int]
    constraints: int
    hashes: int
    grinding: int
    extended_cells: int
    proof_bytes: int
    proven_bits: int
    child_permutations: int | None
    child_arithmetic: int | None


def level_figures(kind: str) -> LevelFigures:
    """Returns the figures of a registered kind."""
    key = verifying_key(kind, NumpyHasher())
    points = 2**key.log_size
    permutations = arithmetic = None
    if kind in PROGRAMS:
        write, about = PROGRAMS[kind]
        tape = write(*(verifying_key(name, NumpyHasher()) for name in about))
        permutations, arithmetic = tape.permutation_rows, tape.arithmetic_rows
    return LevelFigures(
        kind,
        2**key.log_height,
        points,
        dict(key.widths),
        key.shape.num_constraints,
        tree_hashes(key),
        expected_grinding(key),
        points * sum(width for name, width in key.widths.items() if name != "fixed"),
        proof_bytes(key),
        key.proven_bits,
        permutations,
        arithmetic,
    )


def tree_hashes(key: VerifyingKey) -> int:
    """Returns how often a prover permutes, or compresses a block of SHA-256, to make all trees of one proof."""
    is_poseidon2 = key.parameters.digests is POSEIDON2
    found = 0
    for name, width in key.widths.items():
        if name != "fixed":
            found += _tree(2**key.log_size, width, 2**key.log_cap, is_poseidon2=is_poseidon2)
    for layer in key.schedule:
        width = EXTENSION_DEGREE << layer.log_arity
        found += _tree(2**layer.log_leaves, width, 2**layer.log_cap, is_poseidon2=is_poseidon2)
    return found


def expected_grinding(key: VerifyingKey) -> int:
    """Returns how many nonces a prover tries on average."""
    parameters = key.parameters
    once = (
        parameters.batching_pow_bits,
        parameters.deep_pow_bits,
        parameters.lookup_pow_bits,
        parameters.query_pow_bits,
    )
    folds = [parameters.commit_pow_bits] * len(key.schedule)
    return sum(2**bits for bits in (*once, *folds) if bits)


def _tree(leaves: int, width: int, cap: int, *, is_poseidon2: bool) -> int:
    """Returns the hashes of a tree: its leaves by their width, and one for every node above them."""
    message = 4 + 4 * width + SHA256_PADDING_BYTES
    per_leaf = -(-width // WORD) if is_poseidon2 else -(-message // SHA256_BLOCK_BYTES)
    return leaves * per_leaf + leaves - cap
