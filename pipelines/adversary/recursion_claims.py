"""Every claim of the recursion circuit with its forgery.

What a row of that circuit does is said by preprocessed columns, and the constraints are the same for every
program. So the forgeries run on a program of their own that does each thing once, far from the others, and is
satisfied by zeros: one cell more than zero then breaks one claim.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipelines.adversary.forged_trace import ForgedTrace, values_at_random
from proving.arithmetic.modulus import EXTENSION_DEGREE, PERMUTATION_WIDTH, WORD, P
from proving.arithmetic.poseidon2_integers import (
    EXTERNAL_CONSTANTS,
    INTERNAL_CONSTANTS,
    cube,
    external_layer,
    internal_layer,
)
from proving.arithmetic.residues import Residues
from proving.recursion.air import RecursionAir
from proving.recursion.layout import (
    FIXED,
    FMA_SLOTS,
    MAIN,
    MIDDLE_SLOT,
    NUM_FIXED,
    NUM_MAIN,
    ROW_WORDS,
    SLOTS,
    STORED_BOXES,
    TOTAL_SLOT,
)
from proving.recursion.wiring import READ, Places, Wiring
from proving.stark.air import FieldArray
from proving.stark.trace_check import TraceChecker
from schemas.errors import ParameterError

LOG_HEIGHT = 6
START, ABSORBS, CLIMBS, FIRST, SECOND, REDUCES, SPLITS, BITS, PLAIN = range(2, 20, 2)
EVALUATES = 38
"""Rows that do one thing each; what a row asks of the next is free to fail there."""

WRITES, READS, INPUT, SHOWN, REST, ENTRY, END = (20, 22, 24, 26, 28, 30, 32)
WORD_WRITES, WORD_READS = 34, 36
"""Rows that put something on a bus: the first slots and words write what the second read."""

SLOT_ADDRESS, WORD_ADDRESS, REST_ADDRESS, INPUT_ADDRESS, SHOWN_ADDRESS = 100, 200, 300, 301, 302
START_WIDTH = 3

Forge = Callable[["RecursionForgery"], None]


class RecursionForgery:
    """A trace of the small program that is being forged.

    Args:
        trace: (NUM_MAIN, height) residues, changed in place.
    """

    def __init__(self, trace: FieldArray) -> None:
        self.trace = trace

    def satisfy(self) -> None:
        """Makes a trace of zeros satisfy the small program."""
        self.permute(0)
        for field in ("boxes", "shown", "capacity"):
            for row in range(1, 1 << LOG_HEIGHT):
                self._put(field, row, self.word(field, 0))
        self.add("input", START, START_WIDTH, PERMUTATION_WIDTH - 1)
        self.permute(START)
        shown = self.word("shown", ABSORBS)
        self._put("input", ABSORBS + 1, self.word("capacity", ABSORBS), WORD)
        self.permute(ABSORBS + 1)
        self._put("input", CLIMBS + 1, self.word("shown", CLIMBS))
        self.permute(CLIMBS + 1, climbs=True)
        self._put("input", ENTRY, shown)
        self.permute(ENTRY)
        self.add("uses", ENTRY, 1)
        self._put("cells", SHOWN, self.word("shown", SHOWN))

    def add(self, field: str, row: int, delta: int = 1, position: int = 0) -> None:
        """Moves a cell."""
        column = MAIN[field][position]
        self.trace[column, row] = (int(self.trace[column, row]) + delta) % P

    def word(self, field: str, row: int) -> list[int]:
        """Returns a field of a row."""
        places = MAIN[field]
        return list(self.trace[places.start : places.stop, row].tolist())

    def permute(self, row: int, wrong: int = -1, *, climbs: bool = False) -> None:
        """Makes a row's permutation fit its input, but for one box that is one more than it should be."""
        state = self.word("input", row)
        boxes, outputs = _permutation(state, wrong)
        shown = [(o + climbs * s) % P for o, s in zip(outputs[:WORD], state, strict=False)]
        self._put("boxes", row, boxes)
        self._put("shown", row, shown)
        self._put("capacity", row, outputs[WORD:])

    def _put(self, field: str, row: int, values: list[int], position: int = 0) -> None:
        start = MAIN[field].start + position
        self.trace[start : start + len(values), row] = values


@cache
def honest_trace() -> FieldArray:
    """Returns the satisfying trace of the small program; not to be changed."""
    honest = RecursionForgery(np.zeros((NUM_MAIN, 1 << LOG_HEIGHT), dtype=np.uint32))
    honest.satisfy()
    return honest.trace


def _permutation(state: list[int], wrong: int) -> tuple[list[int], list[int]]:
    """Returns stored boxes and outputs of one permutation, one box being one more than it should be."""
    boxes: list[int] = []

    def store(value: Residues) -> Residues:
        stored = value + int(len(boxes) == wrong)
        boxes.append(int(stored.residues[0]))
        return stored

    current = external_layer([Residues(np.array([value], dtype=np.uint64)) for value in state])
    half, last = len(EXTERNAL_CONSTANTS) // 2, len(EXTERNAL_CONSTANTS) - 1
    for index, constants in enumerate(EXTERNAL_CONSTANTS):
        if index == half:
            for constant in INTERNAL_CONSTANTS:
                current = internal_layer([store(cube(current[0] + constant)), *current[1:]])
        cubes = [cube(value + constant) for value, constant in zip(current, constants, strict=True)]
        current = external_layer(cubes if index == last else [store(value) for value in cubes])
    return boxes, [int(value.residues[0]) for value in current]


@cache
def small_program() -> RecursionAir:
    """Returns the recursion circuit with the program of the forgeries."""
    columns: NDArray[np.int64] = np.zeros((NUM_FIXED, 1 << LOG_HEIGHT), dtype=np.int64)

    def say(name: str, row: int, value: int = 1, position: int = 0) -> None:
        columns[FIXED[name][position], row] = value

    say("fresh", START)
    say("width", START, START_WIDTH)
    say("absorbs_next", ABSORBS)
    say("climbs_next", CLIMBS)
    say("climbs", CLIMBS + 1)
    for name, row in (("first", FIRST), ("second", SECOND)):
        for position, weight in enumerate((1, 2, 3, 4, 0, 1, 5)):
            say(f"{name}_weights", row, weight, position)
    for name in ("reduces", "reduces_on"):
        say(name, REDUCES)
    for name in ("evaluates", "evaluates_on"):
        say(name, EVALUATES)
    say("splits", SPLITS)
    say("bits", BITS)
    for number in range(SLOTS):
        for row, count in ((WRITES, 1), (READS, READ)):
            say("slot_address", row, SLOT_ADDRESS + number, number)
            say("slot_count", row, count, number)
    _say_words(say)
    small = columns.astype(np.uint32)
    nothing = np.zeros(0, dtype=np.int64)
    places = Places(nothing.reshape(0, 2), *[nothing] * 5)
    return RecursionAir.of("recursion forgeries", Wiring(LOG_HEIGHT, small, (), places))


def _say_words(say: Callable[..., None]) -> None:
    """Words, the permutation lane's messages and the cap: each is written once and read once."""
    for number in range(ROW_WORDS):
        for row, count in ((WORD_WRITES, 1), (WORD_READS, READ)):
            say("word_address", row, WORD_ADDRESS + number, number)
            say("word_count", row, count, number)
    for name, row, address in (
        ("input", INPUT, INPUT_ADDRESS),
        ("shown", SHOWN, SHOWN_ADDRESS),
        ("rest", REST, REST_ADDRESS),
    ):
        say(f"{name}_address", row, address)
        say(f"{name}_count", row, 1)
    for row, address in ((INPUT, INPUT_ADDRESS), (SHOWN, SHOWN_ADDRESS)):
        say("word_address", row, address)
        say("word_count", row, READ)
    say("slot_address", REST, REST_ADDRESS, 0)
    say("slot_count", REST, READ, 0)
    for row in (ENTRY, END):
        say("tree", row)
    say("cap_sends", ENTRY)
    say("cap_receives", END)


def _cell(slot: int, coordinate: int, row: int, delta: int = 1) -> Forge:
    return lambda f: f.add("cells", row, delta, EXTENSION_DEGREE * slot + coordinate)


def _input(row: int, position: int, *, climbs: bool = False) -> Forge:
    def run(f: RecursionForgery) -> None:
        f.add("input", row, 1, position)
        f.permute(row, climbs=climbs)

    return run


def _boolean(number: int) -> Forge:
    """Twice a bit, and the value that it makes."""

    def run(f: RecursionForgery) -> None:
        f.add("cells", BITS, 2, EXTENSION_DEGREE * (1 + number))
        f.add("cells", BITS, 2 << number, 0)

    return run


@cache
def forgeries() -> dict[str, tuple[str, Forge]]:
    """Returns claim -> what must be missing for the forgery to be accepted, and the forgery."""
    found: dict[str, Forge] = {
        "climbs.bit": lambda f: f.add("bit", PLAIN, 2),
        "climbs.rest": lambda f: f.add("rest", CLIMBS),
        "bits.sum": _cell(0, 0, BITS),
    }
    names = [c.name for c in TraceChecker(small_program()).constraints]
    boxes = [name for name in names if name.startswith(("full", "partial"))]
    if len(boxes) != STORED_BOXES:
        raise ParameterError(f"{len(boxes)} constraints of {STORED_BOXES} boxes")
    for place, name in enumerate(boxes):
        found[name] = lambda f, wrong=place: f.permute(PLAIN, wrong)  # type: ignore[misc]
    for j in range(WORD):
        found[f"shown[{j}]"] = lambda f, j=j: f.add("shown", PLAIN, 1, j)  # type: ignore[misc]
        found[f"capacity[{j}]"] = lambda f, j=j: f.add("capacity", PLAIN, 1, j)  # type: ignore[misc]
        found[f"absorbs.capacity[{j}]"] = _input(ABSORBS + 1, WORD + j)
        found[f"climbs.child[{j}]"] = _input(CLIMBS + 1, j, climbs=True)
        found[f"fresh[{j}]"] = _input(START, WORD + j)
    for k in range(EXTENSION_DEGREE):
        found[f"first[{k}]"] = _cell(FMA_SLOTS - 1, k, FIRST)
        found[f"second[{k}]"] = _cell(2 * FMA_SLOTS - 1, k, SECOND)
        found[f"reduces.middle[{k}]"] = _cell(MIDDLE_SLOT, k, REDUCES)
        found[f"reduces.total[{k}]"] = _cell(TOTAL_SLOT, k, REDUCES)
        found[f"evaluates.middle[{k}]"] = _cell(MIDDLE_SLOT, k, EVALUATES)
        found[f"evaluates.total[{k}]"] = _cell(TOTAL_SLOT, k, EVALUATES)
        found[f"splits.value[{k}]"] = _cell(1 + k, 0, SPLITS)
        for j in range(1, EXTENSION_DEGREE):
            found[f"splits.base[{k},{j}]"] = _cell(1 + k, j, SPLITS)
    for number in range(SLOTS):
        for j in range(1, EXTENSION_DEGREE):
            found[f"bits.base[{number},{j}]"] = _cell(number, j, BITS)
    for number in range(SLOTS - 2):
        found[f"bits.boolean[{number}]"] = _boolean(number)
    return {name: (name, forge) for name, forge in found.items()} | _message_forgeries()


def _message_forgeries() -> dict[str, tuple[str, Forge]]:
    """Something is read that was not written; only the whole bus tells."""
    found: dict[str, tuple[str, Forge]] = {
        f"slot[{number}]": ("element", _cell(number, number % EXTENSION_DEGREE, WRITES))
        for number in range(SLOTS)
    }
    for number in range(ROW_WORDS):
        place = WORD * number + number
        found[f"word[{number}]"] = (
            "word",
            lambda f, place=place: f.add("cells", WORD_WRITES, 1, place),  # type: ignore[misc]
        )
    return found | {
        "input": ("word", _input(INPUT, 0)),
        "shown": ("word", _input(SHOWN, 0)),
        "rest": ("element", lambda f: f.add("rest", REST)),
        "cap.entry": ("cap", lambda f: f.add("uses", ENTRY)),
        "cap.end": ("cap", lambda f: f.add("rest", END)),
    }


def forged_recursion(name: str) -> ForgedTrace:
    """Returns the forgery of a claim of the recursion circuit.

    Raises:
        ParameterError: No forgery of that name is known.
    """
    if name not in forgeries():
        raise ParameterError(f"there is no forgery of {name!r}")
    missing, forge = forgeries()[name]
    forged = RecursionForgery(honest_trace().copy())
    forge(forged)
    return ForgedTrace(name, missing, small_program(), forged.trace, [])


def same_recursion_claims(air: RecursionAir, seed: int) -> bool:
    """Whether a recursion circuit claims what the small program's does, at random rows."""
    rng = random.Random(seed)  # noqa: S311 - reproducible points
    inputs = [rng.randrange(P) for _ in range(NUM_FIXED + 2 * NUM_MAIN)]
    found = [
        values_at_random(TraceChecker(one), [*inputs, *[0] * one.num_publics])
        for one in (air, small_program())
    ]
    return found[0] == found[1]
