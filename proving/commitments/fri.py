"""FRI: folding a codeword by eight until a short polynomial can be sent in the clear.

Layer r lives on the coset shift^(8^r) * <w>, natural order. Leaf i of its tree holds the values at the
points {i + j * n/8}, which are x * z^j with z an 8th root of unity; they fold to one value at x^8, which is
point i of the next layer. Every layer's arity, size and cap come from the folding schedule. Sources:
proving/README.md "Folding"; eprint 2017/1046.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, P
from proving.arithmetic.ntt import geometric, root_of_unity
from proving.arithmetic.program import Program, Symbol, trace_program
from proving.arithmetic.residues import invert_residues
from proving.backends.port import Backend, FieldArray, Hasher
from proving.commitments.domains import coset_points, coset_shift, points_at
from proving.commitments.merkle import MerkleTree, climb, commit_rows, hash_opened_rows
from proving.errors import ProofRejected, ProvingError, RejectionReason
from proving.stark.challenge_field import Extension, Residues, columns_of, rejoin
from proving.stark.commitment_hash import POSEIDON2, CommitmentHash
from proving.stark.coordinates import add, multiply, scale
from proving.stark.parameters import FoldingRound, ProofParameters
from proving.stark.transcript import Label, Transcript


@cache
def fold_program(log_arity: int) -> Program:
    """Traces the fold of one leaf: values at x * z^j, challenge, 1/x -> value at x^(2^log_arity).

    With f = sum_j x^j f_j(x^a), the result is sum_j beta^j f_j(x^a); x^j f_j is the j-th output of an
    inverse transform of the leaf. Inputs: a * 5 coordinates (point by point), five of beta, 1/x.
    """
    arity = 2**log_arity

    def body(inputs: list[Symbol]) -> list[Symbol]:
        step = EXTENSION_DEGREE
        values = [inputs[j * step : (j + 1) * step] for j in range(arity)]
        beta, x_inverse = inputs[arity * step : -1], inputs[-1]
        parts = _inverse_transform(values, pow(root_of_unity(log_arity), -1, P))
        ratio = scale(beta, x_inverse)
        result = parts[-1]
        for part in reversed(parts[:-1]):
            result = add(multiply(result, ratio), part)
        return scale(result, pow(arity, -1, P))

    return trace_program(f"fold by {arity}", (arity + 1) * EXTENSION_DEGREE + 1, body)


def _inverse_transform(values: list[list[Symbol]], root: int) -> list[list[Symbol]]:
    """Returns sum_k root^(jk) values_k for every j, without the division by the size."""
    if len(values) == 1:
        return values
    even = _inverse_transform(values[::2], root * root % P)
    odd = _inverse_transform(values[1::2], root * root % P)
    twisted = [scale(part, pow(root, j, P)) for j, part in enumerate(odd)]
    upper = [add(a, b) for a, b in zip(even, twisted, strict=True)]
    lower = [[x - y for x, y in zip(a, b, strict=True)] for a, b in zip(even, twisted, strict=True)]
    return upper + lower


@dataclass(frozen=True, slots=True)
class CommittedLayer:
    """A layer and its tree.

    Attributes:
        leaves: (arity * 5, leaves) uint32: column i is leaf i, point by point.
        tree: Commitment to the columns of `leaves`.
    """

    leaves: FieldArray
    tree: MerkleTree


@dataclass(frozen=True, slots=True)
class CommittedLayers:
    """What the prover keeps until the queries are drawn.

    Attributes:
        layers: First to last.
        sections: Caps, nonces and the final polynomial, by section name of the byte layout.
    """

    layers: tuple[CommittedLayer, ...]
    sections: dict[str, FieldArray]


def commit_layers(
    backend: Backend,
    codeword: FieldArray,
    schedule: Sequence[FoldingRound],
    parameters: ProofParameters,
    transcript: Transcript,
    *,
    check_degree: bool = True,
) -> CommittedLayers:
    """Commits to the layers of a (5, n) codeword, drawing a challenge after each cap.

    Args:
        backend: Does the arithmetic.
        codeword: First layer.
        schedule: Layers.
        parameters: Grinding and final length.
        transcript: Hears caps, nonces and the final polynomial.
        check_degree: Refuse a codeword of too high a degree; without it the final polynomial is cut
            short, which only tests of a verifier want.

    Raises:
        ProvingError: The last layer is not of the final degree: the codeword was not one.
    """
    layers: list[CommittedLayer] = []
    sections: dict[str, FieldArray] = {}
    current = codeword
    for number, layer in enumerate(schedule):
        leaves = _leaves(current, layer)
        tree = commit_rows(backend, leaves, layer.log_cap, parameters.digests)
        layers.append(CommittedLayer(leaves, tree))
        sections[f"layer{number}_cap"] = tree.cap
        transcript.absorb(Label.LAYER_CAP, tree.cap)
        if parameters.commit_pow_bits:
            nonce = transcript.grind(Label.FOLDING_GRINDING, parameters.commit_pow_bits, backend)
            sections[f"layer{number}_nonce"] = np.array([nonce], dtype=np.uint32)
        beta = transcript.challenge(Label.FOLDING_CHALLENGE)
        points = coset_points(layer.log_size, schedule[0].log_size)[: 2**layer.log_leaves]
        inputs = [*leaves, *beta, invert_residues(points)]
        current = backend.run(fold_program(layer.log_arity), inputs, 2**layer.log_leaves)
    final = _final_coefficients(backend, current, schedule[0].log_size)
    length = 2**parameters.log_final_length
    if check_degree and final[length:].any():
        raise ProvingError("the last FRI layer exceeds its degree: the witness fits no polynomial")
    sections["final_polynomial"] = final[:length]
    transcript.absorb(Label.FINAL_POLYNOMIAL, final[:length])
    return CommittedLayers(tuple(layers), sections)


def open_layers(committed: CommittedLayers, indices: FieldArray) -> dict[str, FieldArray]:
    """Returns each layer's leaves and paths for (q,) indices into the first layer's domain."""
    sections: dict[str, FieldArray] = {}
    current = indices
    for number, layer in enumerate(committed.layers):
        current = current % np.uint32(layer.leaves.shape[1])
        opened = layer.leaves[:, current].T
        sections[f"layer{number}_leaves"] = opened.reshape(len(indices), -1, EXTENSION_DEGREE)
        sections[f"layer{number}_paths"] = layer.tree.paths(current)
    return sections


def check_layers(
    hasher: Hasher,
    sections: Mapping[str, FieldArray],
    schedule: Sequence[FoldingRound],
    challenges: Sequence[Extension],
    *,
    indices: FieldArray,
    values: FieldArray,
    digests: CommitmentHash = POSEIDON2,
) -> None:
    """Checks every query through all layers down to the final polynomial.

    Args:
        hasher: Poseidon2.
        sections: Decoded proof; shapes are the key's.
        schedule: Layers.
        challenges: Folding challenges, one per layer.
        indices: (q,) positions in the first layer's domain.
        values: (q, 5) what the first layer must hold there.
        digests: What the trees were made with.

    Raises:
        ProofRejected: A path, a folded value or the final polynomial does not fit.
    """
    current, place = values, indices
    for number, (layer, beta) in enumerate(zip(schedule, challenges, strict=True)):
        where = f"fri/round {number}"
        leaves = sections[f"layer{number}_leaves"]
        leaf, slot = (
            place & np.uint32(2**layer.log_leaves - 1),
            place >> np.uint32(layer.log_leaves),
        )
        flat = leaves.reshape(len(leaves), -1)
        paths = sections.get(f"layer{number}_paths")
        cap = sections[f"layer{number}_cap"]
        check_paths(hasher, flat, paths, indices=leaf, cap=cap, where=where, digests=digests)
        held = leaves[np.arange(len(leaves)), slot]
        _require(held == current, RejectionReason.FOLD_MISMATCH, where, current, held)
        current, place = _folded(leaves, leaf, beta, layer, schedule[0].log_size), leaf
    log_size = schedule[-1].log_leaves
    points = points_at(place, log_size, schedule[0].log_size)
    expected = _evaluate(sections["final_polynomial"], points)
    _require(expected == current, RejectionReason.FINAL_POLYNOMIAL, "fri/final", expected, current)


def check_paths(
    hasher: Hasher,
    rows: FieldArray,
    paths: FieldArray | None,
    *,
    indices: FieldArray,
    cap: FieldArray,
    where: str,
    digests: CommitmentHash = POSEIDON2,
) -> None:
    """Checks that (q, c) rows are what a cap commits to at (q,) indices; no paths: the cap is the leaves.

    Raises:
        ProofRejected: A path ends in another digest.
    """
    siblings = np.zeros((len(rows), 0, cap.shape[1]), np.uint32) if paths is None else paths
    leaves = hash_opened_rows(hasher, rows, digests)
    tops = climb(hasher, leaves, indices, siblings, digests)
    wanted = cap[indices >> np.uint32(siblings.shape[1])]
    _require(tops == wanted, RejectionReason.MERKLE_PATH, where, wanted, tops)


def _require(
    equal: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    reason: RejectionReason,
    where: str,
    expected: FieldArray,
    got: FieldArray,
) -> None:
    """Raises a rejection for the first query whose row differs."""
    good = equal.all(axis=1)
    if not good.all():
        query = int(np.flatnonzero(~good)[0])
        raise ProofRejected(
            reason, f"{where}/query {query}", expected[query].tolist(), got[query].tolist()
        )


def _leaves(values: FieldArray, layer: FoldingRound) -> FieldArray:
    """Groups (5, n) values into (arity * 5, n / arity) leaves."""
    arity = 2**layer.log_arity
    split = values.reshape(EXTENSION_DEGREE, arity, -1)
    return split.transpose(1, 0, 2).reshape(arity * EXTENSION_DEGREE, -1)


def _final_coefficients(backend: Backend, values: FieldArray, log_full_size: int) -> FieldArray:
    """Returns the (n, 5) coefficients of the last layer's values, lowest first."""
    size = values.shape[1]
    shift = coset_shift(size.bit_length() - 1, log_full_size)
    coefficients = backend.interpolate(values).astype(np.uint64)
    unshifted = (
        coefficients * geometric(1, pow(shift, -1, P), size).astype(np.uint64) % np.uint64(P)
    )
    return np.ascontiguousarray(unshifted.T.astype(np.uint32))


def _folded(
    leaves: FieldArray, leaf: FieldArray, beta: Extension, layer: FoldingRound, log_full_size: int
) -> FieldArray:
    points = invert_residues(points_at(leaf, layer.log_size, log_full_size))
    inputs = [Residues.of(column) for column in leaves.reshape(len(leaves), -1).T]
    inputs += [Residues.of(coordinate) for coordinate in beta.coordinates]
    inputs.append(Residues.of(points))
    return rejoin(fold_program(layer.log_arity).evaluate(inputs, Residues.of))


def _evaluate(coefficients: FieldArray, points: FieldArray) -> FieldArray:
    """Evaluates an (n, 5) polynomial at (q,) base points by Horner's rule: (q, 5)."""
    x = Residues.of(points)
    result = columns_of(np.zeros((len(points), EXTENSION_DEGREE), dtype=np.uint32))
    for row in coefficients[::-1]:
        result = [part * x + int(value) for part, value in zip(result, row, strict=True)]
    return rejoin(result)
