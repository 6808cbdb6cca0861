"""What the queries must agree on: opened rows, their quotients, folds and the final polynomial.

Source: proving/README.md "DEEP batching" and "Folding".
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from proving.light.encoding import Proof
from proving.light.errors import ProofRejected
from proving.light.field import (
    DEGREE,
    GENERATOR,
    ZERO,
    Element,
    P,
    add,
    inverses,
    multiply,
    powers,
    reduce,
    root_of_unity,
    scale,
    subtract,
)
from proving.light.key import Layer, LightKey
from proving.light.merkle import check_paths

LIMB_BITS = 72
"""Bits between packed coordinates: a sum of up to 2^10 products of residues is below 2^72."""

LIMB_MASK = 2**LIMB_BITS - 1

WORD = 8


class Batch(NamedTuple):
    """What is opened at one point.

    Attributes:
        point: z, or z w.
        value: The batched openings there.
        weights: Powers of the batching challenge, packed, one per cell of the rows in `names`.
    """

    point: Element
    value: Element
    weights: list[int]


def make_batches(
    key: LightKey, opened: dict[str, list[Element]], challenge: Element, point: Element
) -> tuple[Batch, Batch]:
    """Returns the two batches, with the exponents of rows filled up to whole words."""
    here, following = list(key.widths), ["main_next", "lookup_next"]
    widths = [len(opened[name]) for name in (*here, *following)]
    supply = iter(powers(challenge, sum(-(-width // WORD) * WORD for width in widths)))
    batches: list[Batch] = []
    successor = reduce(scale(point, root_of_unity(key.log_height)))
    for names, place in ((here, point), (following, successor)):
        value, weights = ZERO, []
        for name in names:
            taken = list(islice(supply, -(-len(opened[name]) // WORD) * WORD))
            for weight, element in zip(taken, opened[name], strict=False):
                value = add(value, multiply(weight, element))
                weights.append(_packed(weight))
        batches.append(Batch(place, reduce(value), weights))
    return batches[0], batches[1]


def _packed(element: Element) -> int:
    total = 0
    for coordinate in reversed(element):
        total = total << LIMB_BITS | coordinate
    return total


def _unpacked(value: int) -> Element:
    parts = [(value >> LIMB_BITS * k & LIMB_MASK) % P for k in range(DEGREE)]
    return (parts[0], parts[1], parts[2], parts[3], parts[4])


def check_rows(key: LightKey, proof: Proof, indices: Sequence[int]) -> None:
    """Checks the opened rows against the caps of their trees.

    Raises:
        ProofRejected: One is not under its cap.
    """
    for name, width in key.widths.items():
        cap = key.cap if name == "fixed" else proof.digests(f"{name}_cap")
        paths = proof.raw(f"{name}_paths") if proof.has(f"{name}_paths") else b""
        where = f"{name} columns"
        check_paths(proof.raw(f"{name}_rows"), width, paths, indices=indices, cap=cap, where=where)


def first_layer(
    key: LightKey, proof: Proof, batches: tuple[Batch, Batch], indices: Sequence[int]
) -> list[Element]:
    """Returns what the first FRI layer must hold at each query, from the opened rows."""
    root = root_of_unity(key.log_size)
    points = [GENERATOR * pow(root, index, P) % P for index in indices]
    here, following = batches
    bottoms = [subtract((x, 0, 0, 0, 0), b.point) for b in batches for x in points]
    inverted = inverses(bottoms)
    rows = [
        (proof.elements[f"{name}_rows"], width, getattr(key, f"{name}_next", 0))
        for name, width in key.widths.items()
    ]
    found: list[Element] = []
    for query in range(len(indices)):
        cells: list[int] = []
        next_cells: list[int] = []
        for values, width, read_next in rows:
            start = width * query
            cells += values[start : start + width]
            next_cells += values[start : start + read_next]
        first = multiply(_above(cells, here), inverted[query])
        second = multiply(_above(next_cells, following), inverted[len(indices) + query])
        found.append(reduce(add(first, second)))
    return found


def _above(cells: Sequence[int], batch: Batch) -> Element:
    total = sum(map(int.__mul__, cells, batch.weights))
    return subtract(_unpacked(total), batch.value)


def check_layers(
    key: LightKey,
    proof: Proof,
    challenges: Sequence[Element],
    indices: Sequence[int],
    values: list[Element],
) -> None:
    """Checks every query through all layers down to the final polynomial.

    Raises:
        ProofRejected: A path, a folded value or the final polynomial does not fit.
    """
    places, full = list(indices), key.layers[0].log_size
    for number, (layer, challenge) in enumerate(zip(key.layers, challenges, strict=True)):
        where = f"fri/round {number}"
        slots = [place >> layer.log_leaves for place in places]
        places = [place & ((1 << layer.log_leaves) - 1) for place in places]
        raw, arity = proof.raw(f"layer{number}_leaves"), 1 << layer.log_arity
        paths = proof.raw(f"layer{number}_paths") if proof.has(f"layer{number}_paths") else b""
        cap = proof.digests(f"layer{number}_cap")
        check_paths(raw, arity * DEGREE, paths, indices=places, cap=cap, where=where)
        held = proof.field_elements(f"layer{number}_leaves")
        for query, (slot, value) in enumerate(zip(slots, values, strict=True)):
            found = held[arity * query + slot]
            if found != value:
                raise ProofRejected("fold_mismatch", f"{where}/query {query}", value, found)
        points = _points(layer.log_size, full, places)
        values = [
            _folded(held[arity * query : arity * (query + 1)], x, challenge, layer)
            for query, x in enumerate(points)
        ]
    final = proof.field_elements("final_polynomial")
    points = _points(key.layers[-1].log_leaves, full, places)
    for query, (x, value) in enumerate(zip(points, values, strict=True)):
        wanted = _evaluated(final, x)
        if wanted != value:
            raise ProofRejected("final_polynomial", f"fri/final/query {query}", wanted, value)


def _points(log_size: int, log_full_size: int, places: Sequence[int]) -> list[int]:
    """Returns points of a layer; its coset is the first one's raised to the ratio of their sizes."""
    root, shift = root_of_unity(log_size), pow(GENERATOR, 2 ** (log_full_size - log_size), P)
    return [shift * pow(root, place, P) % P for place in places]


def _folded(leaf: Sequence[Element], x: int, challenge: Element, layer: Layer) -> Element:
    """Folds values at x z^j, z a root of unity: sum_j (challenge / x)^j times output j of an inverse transform."""
    root = pow(root_of_unity(layer.log_arity), -1, P)
    columns = [_transformed(list(column), root) for column in zip(*leaf, strict=True)]
    ratio = reduce(scale(challenge, pow(x, -1, P)))
    total = ZERO
    for c0, c1, c2, c3, c4 in reversed(list(zip(*columns, strict=True))):
        total = add(multiply(total, ratio), (c0, c1, c2, c3, c4))
    return reduce(scale(total, pow(len(leaf), -1, P)))


def _transformed(values: list[int], root: int) -> list[int]:
    """Returns sum_k root^(jk) values_k for every j, not reduced."""
    if len(values) == 1:
        return values
    square = root * root % P
    even, odd = _transformed(values[::2], square), _transformed(values[1::2], square)
    twist = 1
    for place, value in enumerate(odd):
        odd[place] = value * twist % P
        twist = twist * root % P
    lower = [a - b for a, b in zip(even, odd, strict=True)]
    return [a + b for a, b in zip(even, odd, strict=True)] + lower


def _evaluated(coefficients: Sequence[Element], x: int) -> Element:
    """Evaluates a polynomial at a base point by Horner's rule."""
    t0 = t1 = t2 = t3 = t4 = 0
    for c0, c1, c2, c3, c4 in reversed(coefficients):
        t0 = (t0 * x + c0) % P
        t1 = (t1 * x + c1) % P
        t2 = (t2 * x + c2) % P
        t3 = (t3 * x + c3) % P
        t4 = (t4 * x + c4) % P
    return (t0, t1, t2, t3, t4)
