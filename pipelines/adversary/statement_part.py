"""What a recursive program claims beside the verification of its children: that part as a program of its own.

The children's proofs are taken to verify: what a slot's proof says is an input. So a forger of statements has every
freedom here that proofs could ever leave him, and a run takes milliseconds. The part is cut out of the program's
tape, so nothing can be claimed here that is not claimed there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from proving.backends.port import FieldArray, Hasher
from proving.recursion.execution import Execution, Values
from proving.recursion.tape import (
    NOTHING,
    Bits,
    Extent,
    Move,
    MultiplyAdd,
    Permutation,
    Source,
    Split,
    Tape,
    Unknown,
)

Record = MultiplyAdd | Move | Split | Bits
R = TypeVar("R")

NO_WEIGHTS = (0,) * 7
"""Of a multiply-add that claims 0 = 0."""


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """One claim of a program.

    Attributes:
        what: Its label, such as `slot 3 follows`.
        number: Which of the claims with this label, in the order of the program.
    """

    what: str
    number: int

    def __str__(self) -> str:
        return f"{self.what} [{self.number}]"


class StatementPart:
    """The statement's part of a program.

    Args:
        tape: The whole program.

    Attributes:
        tape: The part: same addresses of inputs and public words, fewer records.
        execution: Ready to be run.
    """

    def __init__(self, tape: Tape) -> None:
        self.tape = _cut(tape)
        self.execution = Execution(self.tape)

    @cached_property
    def claims(self) -> dict[Claim, tuple[bool, int]]:
        """Every claim -> whether it is a path, and its number among multiply-adds or permutations."""
        found: dict[Claim, tuple[bool, int]] = {}
        seen: Counter[str] = Counter()
        places = [
            (record.what, False, number)
            for number, record in enumerate(self.tape.multiply_adds)
            if record.unknown is not Unknown.RESULT
        ]
        rows = [row for chain in self.tape.chains for row in chain]
        places += [
            (f"a path of {self.tape.trees[row.tree - 1]}", True, number)
            for number, row in enumerate(rows)
            if row.meets_cap
        ]
        for what, is_path, number in places:
            found[Claim(what, seen[what])] = is_path, number
            seen[what] += 1
        return found

    @cached_property
    def _names(self) -> dict[tuple[bool, int], Claim]:
        return {place: claim for claim, place in self.claims.items()}

    def run(self, publics: FieldArray, inputs: FieldArray, hasher: Hasher) -> Values:
        """Computes all values.

        Args:
            publics: (3, 8) public words.
            inputs: (n,) inputs of the whole program.
            hasher: Poseidon2.

        Raises:
            ProvingError: A base element is none.
        """
        return self.execution.run(publics, inputs, hasher)

    def broken(self, values: Values) -> frozenset[Claim]:
        """Returns the claims that do not hold."""
        adds, paths = self.execution.failed(values)
        places = [(False, number) for number in adds] + [(True, row) for row in paths]
        return frozenset(self._names[place] for place in places)

    def without(self, missing: Iterable[Claim]) -> Execution:
        """Returns the same program without some claims."""
        weaker = copy(self.execution)
        arrays = weaker.arrays
        slots, weights = arrays.slots.copy(), arrays.weights.copy()
        meets_cap = arrays.meets_cap.copy()
        for claim in missing:
            is_path, number = self.claims[claim]
            if is_path:
                meets_cap[number] = False
            else:
                slots[number], weights[number] = NOTHING, 0
        weaker.arrays = replace(arrays, slots=slots, weights=weights, meets_cap=meets_cap)
        return weaker

    def tape_without(self, missing: Iterable[Claim]) -> Tape:
        """Returns the tape of the same program without some claims."""
        tape, places = self.tape, [self.claims[claim] for claim in missing]
        adds = {number for is_path, number in places if not is_path}
        ends = {number for is_path, number in places if is_path}
        chains: list[list[Permutation]] = []
        row = 0
        for chain in tape.chains:
            chains.append([])
            for step in chain:
                chains[-1].append(_loose(step) if row in ends else step)
                row += 1
        kept = [one for number, one in enumerate(tape.multiply_adds) if number not in adds]
        return replace(tape, multiply_adds=kept, chains=chains)


def _loose(step: Permutation) -> Permutation:
    return replace(step, tree=0, meets_cap=False)


def _cut(tape: Tape) -> Tape:
    """Returns the records outside the verifications, and those inside that the former read of."""
    writers = _writers(tape)
    kept: dict[str, set[int]] = {
        "multiply_adds": _outside(tape, "multiply_adds"),
        "moves": _outside(tape, "moves"),
        "splits": _outside(tape, "splits"),
        "bits": _outside(tape, "bits"),
        "chains": _outside(tape, "chains"),
    }
    waiting = [(name, number) for name, numbers in kept.items() for number in numbers]
    while waiting:
        name, number = waiting.pop()
        for address in _reads(getattr(tape, name)[number]):
            writer = writers.get(address)
            if writer is not None and writer[1] not in kept[writer[0]]:
                kept[writer[0]].add(writer[1])
                waiting.append(writer)
    part = replace(tape, reductions=[], evaluations=[], verifications=[])
    for name, numbers in kept.items():
        setattr(part, name, [getattr(tape, name)[number] for number in sorted(numbers)])
    return _renumbered(part)


def _outside(tape: Tape, name: str) -> set[int]:
    inside = {
        number
        for begun, done in tape.verifications
        for number in range(_count(begun, name), _count(done, name))
    }
    return set(range(len(getattr(tape, name)))) - inside


def _count(extent: Extent, name: str) -> int:
    count: int = getattr(extent, name)
    return count


Address = tuple[bool, int]
"""Whether it is a word's, and the address."""


def _writers(tape: Tape) -> dict[Address, tuple[str, int]]:
    found: dict[Address, tuple[str, int]] = {}
    for name in ("multiply_adds", "moves", "splits", "bits", "chains"):
        for number, record in enumerate(getattr(tape, name)):
            for address in _writes(record):
                found[address] = name, number
    return found


def _elements(addresses: Sequence[int]) -> list[Address]:
    return [(False, address) for address in addresses if address != NOTHING]


def _words(addresses: Sequence[int]) -> list[Address]:
    return [(True, address) for address in addresses if address != NOTHING]


def _writes(record: Record | list[Permutation]) -> list[Address]:
    if isinstance(record, MultiplyAdd):
        written = {Unknown.RESULT: (record.slots[3],), Unknown.FACTOR: (record.slots[1],)}
        return _elements(written.get(record.unknown, ()))
    if isinstance(record, Move):
        words = () if record.source is Source.WORDS else record.words
        return _elements(record.elements[: record.written]) + _words(words)
    if isinstance(record, Split):
        return _elements((record.whole,) if record.joins else record.parts)
    if isinstance(record, Bits):
        return _elements((*record.bits, record.rest))
    return _words([row.shown for row in record])


def _reads(record: Record | list[Permutation]) -> list[Address]:
    return [address for address in _names(record) if address not in _writes(record)]


def _names(record: Record | list[Permutation]) -> list[Address]:
    if isinstance(record, MultiplyAdd):
        return _elements(record.slots)
    if isinstance(record, Move):
        return _elements(record.elements) + _words(record.words)
    if isinstance(record, Split):
        return _elements((record.whole, *record.parts))
    if isinstance(record, Bits):
        return _elements((record.value, *record.bits, record.rest))
    return _words([row.word for row in record]) + _elements([row.rest for row in record])


def _renumbered(tape: Tape) -> Tape:
    """Gives addresses without a gap, the public words' unchanged."""
    records: list[Record | list[Permutation]] = [
        *tape.multiply_adds,
        *tape.moves,
        *tape.splits,
        *tape.bits,
        *tape.chains,
    ]
    named = {address for record in records for address in (*_names(record), *_writes(record))}
    elements = sorted(address for is_word, address in named if not is_word)
    words = sorted({*range(tape.num_publics), *(a for is_word, a in named if is_word)})
    element = {old: new for new, old in enumerate(elements)} | {NOTHING: NOTHING}
    word = {old: new for new, old in enumerate(words)} | {NOTHING: NOTHING}

    def moved(table: dict[int, int], addresses: Sequence[int]) -> tuple[int, ...]:
        return tuple(table[address] for address in addresses)

    def four(slots: Sequence[int]) -> tuple[int, int, int, int]:
        a, b, c, out = moved(element, slots)
        return a, b, c, out

    return replace(
        tape,
        multiply_adds=[replace(r, slots=four(r.slots)) for r in tape.multiply_adds],
        moves=[
            replace(r, elements=moved(element, r.elements), words=moved(word, r.words))
            for r in tape.moves
        ],
        splits=[
            replace(r, whole=element[r.whole], parts=moved(element, r.parts)) for r in tape.splits
        ],
        bits=[
            replace(
                r,
                value=element[r.value],
                bits=moved(element, r.bits),
                rest=element[r.rest],
            )
            for r in tape.bits
        ],
        chains=[
            [
                replace(r, word=word[r.word], shown=word[r.shown], rest=element[r.rest])
                for r in chain
            ]
            for chain in tape.chains
        ],
        element_levels=[tape.element_levels[old] for old in elements],
        word_levels=[tape.word_levels[old] for old in words],
    )
