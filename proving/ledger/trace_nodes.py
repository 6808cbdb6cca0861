"""Fills the hash lanes: tree nodes before and after, key words, and padding that still permutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from proving.arithmetic.modulus import PERMUTATION_WIDTH, WORD
from proving.arithmetic.poseidon2_integers import (
    EXTERNAL_CONSTANTS,
    INTERNAL_CONSTANTS,
    cube,
    external_layer,
    internal_layer,
)
from proving.arithmetic.program import Program, R, trace_program
from proving.arithmetic.residues import Residues
from proving.backends.port import Backend
from proving.errors import ProvingError
from proving.ledger.layout import Layout
from proving.ledger.trees import TreeTrace
from proving.stark.air import FieldArray
from schemas.units import Array

COMPRESSED_TOGETHER = 2**13
"""Compressions computed at a time, so that their columns, 5 MB, are still in a cache when they are copied."""

ColumnsOf = Callable[[FieldArray], FieldArray]
"""`compression_columns`, or what computes the same faster."""


def compression_columns(pairs: FieldArray) -> FieldArray:
    """Returns what a hash lane stores for each compression.

    Args:
        pairs: (n, 16) canonical residues, two words each.

    Returns:
        (156, n): inputs, S-box outputs of seven full and twenty partial rounds, digest.
    """
    columns = _columns([Residues(column.astype(np.uint64)) for column in pairs.T])
    return np.stack([column.residues for column in columns]).astype(np.uint32)


def compiled_columns(backend: Backend) -> ColumnsOf:
    """Returns `compression_columns` as a program of a backend."""

    def run(pairs: FieldArray) -> FieldArray:
        inputs = np.ascontiguousarray(pairs.T)
        return backend.run(compression_program(), list(inputs), len(pairs))

    return run


@cache
def compression_program() -> Program:
    """Returns the field program of one compression: 16 inputs, 156 outputs."""
    return trace_program("compression", PERMUTATION_WIDTH, _columns)


def _columns(given: list[R]) -> list[R]:
    columns = list(given)
    state = external_layer(given)
    half = len(EXTERNAL_CONSTANTS) // 2
    for index, constants in enumerate(EXTERNAL_CONSTANTS):
        if index == half:
            for constant in INTERNAL_CONSTANTS:
                boxed = cube(state[0] + constant)
                columns.append(boxed)
                state = internal_layer([boxed, *state[1:]])
        cubes = [cube(value + constant) for value, constant in zip(state, constants, strict=True)]
        if index < len(EXTERNAL_CONSTANTS) - 1:
            columns += cubes
        state = external_layer(cubes)
    columns += [state[j] + given[j] for j in range(WORD)]
    return columns


def fill_nodes(
    trace: FieldArray,
    layout: Layout,
    trees: Sequence[tuple[Array, TreeTrace]],
    hashes: FieldArray,
    columns_of: ColumnsOf = compression_columns,
) -> None:
    """Writes all hash lanes.

    Args:
        trace: (num_main, height), changed in place.
        layout: Where the lanes are.
        trees: Every touched node of every array.
        hashes: (n, 16) compressions offered once each on the hash bus.
        columns_of: Computes what the lanes store.

    Raises:
        ProvingError: They do not fit.
    """
    lanes, height = len(layout.nodes), layout.height
    size = lanes * height
    num_nodes = sum(len(part.index) for _, part in trees)
    if num_nodes + (len(hashes) + 1) // 2 > size:
        raise ProvingError(f"{num_nodes} tree nodes do not fit {lanes} lanes of {height} rows")
    fields = {
        name: np.zeros(size, dtype=np.uint32)
        for name in ("is_node", "takes_left", "takes_right", "tree", "level", "index")
    }
    uses = np.zeros((2, size), dtype=np.uint32)
    pairs = np.zeros((2, size, PERMUTATION_WIDTH), dtype=np.uint32)
    start = 0
    for array, part in trees:
        place = slice(start, start + len(part.index))
        fields["is_node"][place] = 1
        fields["takes_left"][place] = part.takes[:, 0]
        fields["takes_right"][place] = part.takes[:, 1]
        fields["tree"][place] = int(array)
        fields["level"][place] = part.level
        fields["index"][place] = part.index
        pairs[0, place], pairs[1, place] = part.old, part.new
        start = place.stop
    for position, pair in enumerate(hashes):
        version, place_of = position % 2, start + position // 2
        pairs[version, place_of] = pair
        uses[version, place_of] = 1
    filled = start + (len(hashes) + 1) // 2
    for number, lane in enumerate(layout.nodes):
        rows = slice(number * height, (number + 1) * height)
        for name, values in fields.items():
            trace[lane.column(name)] = values[rows]
        for version, name in enumerate(("old", "new")):
            trace[lane.column(f"uses_{name}")] = uses[version, rows]
            places = lane.places[name]
            _fill_compressions(
                trace[places.start : places.stop],
                pairs[version, rows],
                min(max(filled - rows.start, 0), height),
                columns_of,
            )


def _fill_compressions(
    target: FieldArray, pairs: FieldArray, filled: int, columns_of: ColumnsOf
) -> None:
    """Writes the compressions of one version of a lane; the rows past `filled` all hold that of two zero words."""
    for start in range(0, filled, COMPRESSED_TOGETHER):
        part = slice(start, min(start + COMPRESSED_TOGETHER, filled))
        target[:, part] = columns_of(pairs[part])
    if filled < len(pairs):
        target[:, filled:] = columns_of(pairs[filled : filled + 1])
