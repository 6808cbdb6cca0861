"""The ledger segment as an AIR: transaction, memory, hash and range lanes side by side.

The circuit proves what the native executor does (`proving.ledger.rules`) except signatures, the uniqueness
of registered addresses and keys, the minimum fee, and how a key word was made from a public key.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proving.ledger.air_memory import constrain_memory
from proving.ledger.air_nodes import constrain_nodes
from proving.ledger.air_steps import constrain_steps
from proving.ledger.buses import RANGE, TREE
from proving.ledger.layout import Layout, make_layout
from proving.stark.air import FieldArray, PublicMessage, Row
from schemas.errors import ParameterError
from schemas.statement import AFTER_OFFSET, BEFORE_OFFSET, NUM_COUNTERS, NUM_PUBLICS, TOUCHED_ARRAYS
from schemas.units import ARRAY_DEPTH, LIMB_LIMIT, WORD_ELEMENTS, Array


class LedgerAir:
    """A ledger segment circuit of one shape.

    Two shapes are planned: S (2^12 rows, one hash lane) for light load and L (2^17 rows, four).

    Args:
        log_height: Base-2 logarithm of the number of rows.
        num_hash_lanes: Tree nodes per row.

    Raises:
        ParameterError: There is no circuit of this shape.
    """

    def __init__(self, log_height: int = 12, num_hash_lanes: int = 1) -> None:
        self.layout: Layout = make_layout(log_height, num_hash_lanes)

    @property
    def name(self) -> str:
        """Identifies circuit and shape."""
        return f"ledger-v1-{self.log_height}-{len(self.layout.nodes)}"

    @property
    def log_height(self) -> int:
        """Base-2 logarithm of the number of rows."""
        return self.layout.log_height

    @property
    def num_fixed(self) -> int:
        """The clock and the strips of the range table."""
        return self.layout.num_fixed

    @property
    def num_main(self) -> int:
        """Main columns."""
        return self.layout.num_main

    @property
    def num_publics(self) -> int:
        """Public inputs, laid out by `schemas.statement`."""
        return NUM_PUBLICS

    def fixed_columns(self) -> FieldArray:
        """Returns the clock (1 on the first row) and the range table in strips, (num_fixed, height).

        Rows past the table repeat the value 0.
        """
        height = self.layout.height
        strips = len(self.layout.ranges)
        table = np.zeros(strips * height, dtype=np.uint32)
        table[:LIMB_LIMIT] = np.arange(LIMB_LIMIT, dtype=np.uint32)
        clock = np.arange(1, height + 1, dtype=np.uint32)
        return np.concatenate([clock[None, :], table.reshape(strips, height)])

    def constraints(self, row: Row) -> None:
        """Records every claim and message of the segment."""
        constrain_steps(row, self.layout.steps, row.fixed[0])
        constrain_memory(row, self.layout.memory)
        for lane in self.layout.nodes:
            constrain_nodes(row, lane)
        for strip, column in enumerate(self.layout.ranges):
            row.send(f"range[{strip}]", RANGE, row.local[column], [row.fixed[1 + strip]])

    def public_messages(self, publics: Sequence[int]) -> list[PublicMessage]:
        """Returns the roots' messages: each array's top node, taken once.

        Raises:
            ParameterError: There are not `num_publics` public inputs.
        """
        if len(publics) != NUM_PUBLICS:
            raise ParameterError(f"expected {NUM_PUBLICS} public inputs, got {len(publics)}")
        return [
            PublicMessage(
                TREE,
                -1,
                (
                    int(array),
                    ARRAY_DEPTH,
                    0,
                    *public_root(publics, BEFORE_OFFSET, array),
                    *public_root(publics, AFTER_OFFSET, array),
                ),
            )
            for array in TOUCHED_ARRAYS
        ]


def public_root(publics: Sequence[int], boundary: int, array: Array) -> list[int]:
    """Returns the eight elements of an array's root among the public inputs."""
    start = boundary + NUM_COUNTERS + WORD_ELEMENTS * (array - 1)
    return list(publics[start : start + WORD_ELEMENTS])
