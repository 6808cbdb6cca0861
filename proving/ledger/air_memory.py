"""The memory lane: every account cell and link that a segment touches, once, before and after.

It opens the cell's history at time 0 with the old word, closes it with the last word written, and puts
both on the tree bus as one leaf.
"""

from __future__ import annotations

from proving.arithmetic.program import Symbol
from proving.ledger.buses import MEMORY, TREE
from proving.ledger.layout import Lane
from proving.stark.air import Row


def constrain_memory(row: Row, lane: Lane) -> None:
    """Records the memory lane."""

    def cell(field: str) -> Symbol:
        return row.local[lane.column(field)]

    touched, tree, index = cell("touched"), cell("tree"), cell("index")
    old = [row.local[column] for column in lane.places["old"]]
    new = [row.local[column] for column in lane.places["new"]]
    row.zero("memory.touched.boolean", touched * (touched - 1))
    row.send("memory.first", MEMORY, touched, [tree, index, 0, *old])
    row.receive("memory.last", MEMORY, touched, [tree, index, cell("last_time"), *new])
    row.send("memory.leaf", TREE, touched, [tree, 0, index, *old, *new])
