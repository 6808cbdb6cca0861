"""The hash lanes: each row compresses twice, a tree node before and after the segment side by side.

A node's digest sits at its parent in both versions. A child that the segment touches arrives by message;
an untouched one must be equal in both versions. An array that no step touches shows its top node alone, so
that its public root message has something to meet. Rows that are no tree nodes offer their two compressions
on the hash bus, or pad. The permutation holds on every row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from proving.arithmetic.modulus import PERMUTATION_WIDTH, WORD
from proving.arithmetic.poseidon2_integers import (
    EXTERNAL_CONSTANTS,
    INTERNAL_CONSTANTS,
    cube,
    external_layer,
    internal_layer,
)
from proving.arithmetic.program import Symbol
from proving.ledger.buses import HASH, TREE
from proving.ledger.layout import Lane
from proving.stark.air import Row


def constrain_nodes(row: Row, lane: Lane) -> None:
    """Records one hash lane."""
    name = lane.name

    def cell(field: str) -> Symbol:
        return row.local[lane.column(field)]

    is_node, left, right = cell("is_node"), cell("takes_left"), cell("takes_right")
    for field in ("is_node", "takes_left", "takes_right"):
        row.zero(f"{name}.{field}.boolean", cell(field) * (cell(field) - 1))
    row.zero(f"{name}.takes_left.node", left * (1 - is_node))
    row.zero(f"{name}.takes_right.node", right * (1 - is_node))
    old = [row.local[column] for column in lane.places["old"]]
    new = [row.local[column] for column in lane.places["new"]]
    for j in range(WORD):
        row.zero(f"{name}.left.unchanged[{j}]", is_node * (1 - left) * (old[j] - new[j]))
    for j in range(WORD, 2 * WORD):
        row.zero(f"{name}.right.unchanged[{j - WORD}]", is_node * (1 - right) * (old[j] - new[j]))
    constrain_compression(row, f"{name}.old", old)
    constrain_compression(row, f"{name}.new", new)
    tree, level, index = cell("tree"), cell("level"), cell("index")
    halves = (("left", left, 0), ("right", right, 1))
    for side, takes, bit in halves:
        half = slice(bit * WORD, (bit + 1) * WORD)
        values = [tree, level, 2 * index + bit, *old[half], *new[half]]
        row.receive(f"{name}.tree.{side}", TREE, takes, values)
    values = [tree, level + 1, index, *old[-WORD:], *new[-WORD:]]
    row.send(f"{name}.tree.up", TREE, is_node, values)
    for version, columns in (("old", old), ("new", new)):
        values = [*columns[:PERMUTATION_WIDTH], *columns[-WORD:]]
        row.send(f"{name}.hash.{version}", HASH, cell(f"uses_{version}"), values)


def constrain_compression(row: Row, name: str, columns: Sequence[Symbol]) -> None:
    """Claims that the last eight columns are the compression of the first sixteen.

    The columns between hold S-box outputs, so that every constraint is one cube of a linear form.

    Args:
        row: Where the claims go.
        name: Prefix of their names.
        columns: `COMPRESSION_COLUMNS` elements.
    """
    given = list(columns[:PERMUTATION_WIDTH])
    stored = iter(columns[PERMUTATION_WIDTH:])
    state = external_layer(given)
    half = len(EXTERNAL_CONSTANTS) // 2
    for index, constants in enumerate(EXTERNAL_CONSTANTS):
        if index == half:
            state = _partial_rounds(row, name, state, stored)
        cubes = [cube(value + constant) for value, constant in zip(state, constants, strict=True)]
        if index == len(EXTERNAL_CONSTANTS) - 1:
            state = external_layer(cubes)
            break
        for j in range(PERMUTATION_WIDTH):
            column = next(stored)
            row.zero(f"{name}.full{index}[{j}]", column - cubes[j])
            cubes[j] = column
        state = external_layer(cubes)
    for j in range(WORD):
        row.zero(f"{name}.digest[{j}]", next(stored) - state[j] - given[j])


def _partial_rounds(
    row: Row, name: str, state: list[Symbol], stored: Iterator[Symbol]
) -> list[Symbol]:
    for index, constant in enumerate(INTERNAL_CONSTANTS):
        column = next(stored)
        row.zero(f"{name}.partial{index}", column - cube(state[0] + constant))
        state = internal_layer([column, *state[1:]])
    return state
