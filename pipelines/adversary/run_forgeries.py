"""Forgeries of the statements of days and wraps: of every claim about runs one that breaks it alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial

import numpy as np

from pipelines.adversary.key_forgeries import KeyedSlot, key_forgeries
from pipelines.adversary.statement_forgeries import (
    STATEMENT,
    Attempt,
    StatementInputs,
    blank_publics,
    other_digests,
    refuse,
)
from pipelines.adversary.statement_part import Claim, StatementPart
from proving.arithmetic.modulus import WORD, P
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import Hasher
from proving.kinds import PROGRAMS, verifying_key
from proving.recursion.children import NO_KEY
from proving.recursion.day import RunInputs, day_inputs
from proving.recursion.global_proofs import DAY_KIND
from proving.recursion.global_span import GlobalSpan, join_runs
from proving.recursion.programs import KEY_WORD, STATEMENT_WORD
from proving.recursion.sections import ProofPositions
from proving.recursion.wrap import WRAPPED_KIND
from schemas.run import why_no_run

HASHER = NumpyHasher()
Cells = list[int]
"""A run's 40 elements, any residues."""

CHAIN, SHARDS, START, END = range(4)
VALIDATORS, BEFORE, AFTER = WORD, 2 * WORD, 3 * WORD


def run_cells(count: int) -> list[Cells]:
    """Returns runs that follow each other."""
    words = np.random.default_rng(11).integers(0, P, (count + 1, WORD)).tolist()
    lists = np.random.default_rng(12).integers(0, P, (count, WORD)).tolist()
    return [
        [7, 2, 4 * n, 4 * n + 4, 0, 0, 0, 0, *range(1, 9), *words[n], *words[n + 1], *lists[n]]
        for n in range(count)
    ]


class DayCase:
    """A day as a forger of runs sees it."""

    def __init__(self, hasher: Hasher) -> None:
        _, about = PROGRAMS[DAY_KIND]
        self._hasher = hasher
        self.slots: list[RunInputs] = day_inputs(verifying_key(about[0], hasher))
        self.keyed = [
            KeyedSlot(number, slot.child, (*about, DAY_KIND))
            for number, slot in enumerate(self.slots)
        ]

    def given(self, runs: Sequence[Cells], on: Sequence[int] | None = None) -> StatementInputs:
        """Returns inputs of slots with these runs; the last one fills the slots left."""
        count = len(self.slots)
        filled = [*runs, *[runs[-1]] * (count - len(runs))]
        switches = on or [int(number < len(runs)) for number in range(count)]
        inputs = np.zeros(self.slots[-1].switch.stop, dtype=np.uint32)
        for number, (slot, cells) in enumerate(zip(self.slots, filled, strict=True)):
            inputs[slot.run.start : slot.run.stop] = cells
            self.keyed[number].fill(inputs, 0, self._hasher)
            inputs[slot.switch.start] = switches[number] if number else 0
        said = {
            f"the run of slot {number}": slot.child.body.start
            for number, slot in enumerate(self.slots)
        }
        own = verifying_key(DAY_KIND, self._hasher).digest
        return StatementInputs(inputs, blank_publics(own), said)


def native_days(runs: Sequence[Cells]) -> None:
    """Asks the native twin: each run in range, and each following the one before.

    Raises:
        WireError: A field is out of range.
        ParameterError: One is no run, or does not follow.
    """
    read = [GlobalSpan.from_bytes(np.array(cells, dtype="<u4").tobytes()) for cells in runs]
    for run in read:
        refuse(why_no_run(run))
    join_runs(read, HASHER)


def day_forgeries(part: StatementPart, hasher: Hasher) -> Iterator[Attempt]:
    """Yields forgeries of every claim of a day that some forgery breaks alone."""
    case = DayCase(hasher)
    count = len(case.slots)
    runs = run_cells(count)
    honest = cache(partial(case.given, runs))
    yield from other_digests(honest)
    for number, slot in enumerate(case.slots):
        for k in range(WORD):
            yield Attempt(
                f"slot {number}: a proof of another statement",
                (Claim(f"the run of slot {number}", k),),
                honest,
                late={slot.child.body.start + k: 1},
            )
        yield from key_forgeries(case.keyed[number], honest, part, hasher)
        if number:
            yield from _link_forgeries(case, runs, number)
            yield from _switch_forgeries(case, runs, number)


def _link_forgeries(case: DayCase, runs: Sequence[Cells], number: int) -> Iterator[Attempt]:
    """Forgeries of what it means that the run of a slot follows."""
    child, end = f"child {number} ", runs[number - 1][END]
    edits: list[tuple[str, str, int, int, int, str]] = [
        ("another chain", f"the chain of slot {number}", 0, CHAIN, 8, "is of another chain"),
        ("another number of shards", f"the chain of slot {number}", 1, SHARDS, 3, "is of another"),
    ]
    for name, start in (("a gap", end + 1), ("an overlap", end - 1)):
        what, text = f"the windows of slot {number}", f"begins with window {start}, not {end}"
        edits.append((name, what, 0, START, start, text))
    for k in range(WORD):
        what = f"the validators of slot {number}"
        value = runs[number][VALIDATORS + k] + 1
        text = "is of another set of validators"
        edits.append(("other validators", what, k, VALIDATORS + k, value, text))
        value = (runs[number][BEFORE + k] + 1) % P
        text = "does not begin where the one before ended"
        what = f"slot {number} follows"
        edits.append(("a state before that is not the one after", what, k, BEFORE + k, value, text))
    for name, what, place, cell, value, text in edits:
        changed = [list(cells) for cells in runs[: number + 1]]
        changed[number][cell] = value
        yield Attempt(
            f"slot {number}: {name}",
            (Claim(what, place),),
            partial(case.given, changed),
            partial(native_days, changed),
            child + text,
        )


def _switch_forgeries(case: DayCase, runs: Sequence[Cells], number: int) -> Iterator[Attempt]:
    count, what = len(case.slots), f"the switch of slot {number}"
    on = [1] * number + [2] + [0] * (count - number - 1)
    yield Attempt(
        f"slot {number}: a switch of two ends the run past its end",
        (Claim(what, 0),),
        partial(case.given, runs[: number + 1], on),
    )
    if number == 1:
        return  # nothing is before it that could be off
    filled = [*runs[: number - 1], runs[number - 2], runs[number - 1]]
    on = [*[1] * (number - 1), 0, 1, *[0] * (count - number - 1)]
    yield Attempt(
        f"slot {number}: a slot is on behind one that is off",
        (Claim(what, 1),),
        partial(case.given, filled, on),
    )


def wrap_forgeries(hasher: Hasher) -> Iterator[Attempt]:
    """Yields forgeries of every claim of a wrap."""
    key = verifying_key(WRAPPED_KIND, hasher)
    inputs = np.zeros(ProofPositions(key, 0).size, dtype=np.uint32)
    inputs[WORD * KEY_WORD : WORD * (KEY_WORD + 1)] = key.digest
    given = StatementInputs(inputs, blank_publics(NO_KEY), {})
    for k in range(WORD):
        edits: tuple[tuple[str, str, dict[int, int], dict[tuple[int, int], int]], ...] = (
            ("a day that names a foreign key", "the child's vk_self", {WORD * KEY_WORD + k: 1}, {}),
            ("a wrap that names a key", "vk_self", {}, {(KEY_WORD, k): 1}),
            ("a day of another statement", STATEMENT, {WORD * STATEMENT_WORD + k: 1}, {}),
            ("a wrap of another statement", STATEMENT, {}, {(STATEMENT_WORD, k): 1}),
        )
        for name, what, late, publics in edits:
            yield Attempt(name, (Claim(what, k),), given.copy, late=late, late_publics=publics)
