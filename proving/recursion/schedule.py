"""Which records of a tape are computed together: those of one kind whose inputs are known in the same round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from proving.recursion.arrays import Integers

Call = TypeVar("Call")


def schedule(
    kinds: Sequence[tuple[Call, Sequence[int], Integers]],
) -> list[tuple[Call, Integers]]:
    """Returns what to call with which records, level after level."""
    calls: list[tuple[int, int, Call, Integers]] = []
    for place, (call, given, numbers) in enumerate(kinds):
        levels = np.array(given, dtype=np.int64)[numbers]
        order = np.argsort(levels, kind="stable")
        bounds = np.flatnonzero(np.diff(levels[order])) + 1
        parts = [part for part in np.split(order, bounds) if len(part)]
        calls += [(int(levels[part[0]]), place, call, numbers[part]) for part in parts]
    calls.sort(key=lambda entry: entry[:2])
    return [(call, part) for _, _, call, part in calls]
