"""The message kinds of the ledger circuit."""

from __future__ import annotations

from proving.stark.air import Bus

MEMORY = Bus("memory", 1, 11)
"""(array, index, time, word): the word that a cell holds since `time`; 0 is the start of the segment."""

TREE = Bus("tree", 2, 19)
"""(array, level, index, old, new): a node of an array's tree before and after the segment; level 0 = cell."""

HASH = Bus("hash", 3, 24)
"""(left, right, digest): a true compression."""

RANGE = Bus("range", 4, 1)
"""(value,): a value below 2^15."""
