"""What is said of all shards over a run of whole windows, as canonical bytes: the statement that a day ends in."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Self

from schemas.errors import ParameterError
from schemas.units import (
    INDEX_LIMIT,
    MAX_WINDOW_GAP,
    MODULUS,
    SHARD_LIMIT,
    WORD_ELEMENTS,
    word_elements,
)
from schemas.wire import Reader

WordElements = tuple[int, ...]
"""Eight field elements."""

RUN_ELEMENTS = 40
"""Elements of a run, five words."""

RUN_BYTES = 4 * RUN_ELEMENTS
"""Bytes of a run."""

_ELEMENTS = Struct(f"<{RUN_ELEMENTS}I")


@dataclass(frozen=True, slots=True)
class RunStatement:
    """A run of whole windows of all shards.

    Attributes:
        chain: Chain number, < 2^30.
        shards: Number of shards, < 2^16.
        first_window: First window, < 2^30.
        end_window: The window after the last, < 2^30.
        validators: Word of the set of validators that is in charge; `schemas.validators`.
        before: State of the chain where the run begins.
        after: State where it ends.
        history: Folded transaction lists of all its windows, over all shards.
    """

    chain: int
    shards: int
    first_window: int
    end_window: int
    validators: WordElements
    before: WordElements
    after: WordElements
    history: WordElements

    def elements(self) -> list[int]:
        """Returns what the digest is of, 5 words; four zeros fill up the first."""
        head = (self.chain, self.shards, self.first_window, self.end_window, 0, 0, 0, 0)
        return [*head, *self.validators, *self.before, *self.after, *self.history]

    def to_bytes(self) -> bytes:
        """Returns the canonical bytes: the elements, little-endian, four bytes each.

        Raises:
            ParameterError: There are not `RUN_ELEMENTS` of them, or one does not fit four bytes.
        """
        elements = self.elements()
        if len(elements) != RUN_ELEMENTS or not 0 <= min(elements) <= max(elements) < 2**32:
            raise ParameterError(f"a run has {RUN_ELEMENTS} elements of 32 bits")
        return _ELEMENTS.pack(*elements)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Reads what `to_bytes` wrote.

        Raises:
            WireError: A field is missing or outside its range, or a word is not canonical.
        """
        chain, shards = reader.u32("chain", INDEX_LIMIT), reader.u32("shards", SHARD_LIMIT)
        first, end = (reader.u32(field, INDEX_LIMIT) for field in ("first_window", "end_window"))
        for _ in range(WORD_ELEMENTS // 2):
            reader.u32("filling", 1)
        names = ("validators", "before", "after", "history")
        words = [word_elements(reader.word(name)) for name in names]
        return cls(chain, shards, first, end, *words)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Inverse of `to_bytes`.

        Raises:
            WireError: Anything else than the canonical bytes of a run.
        """
        reader = Reader(data, "run")
        run = cls.read(reader)
        reader.finish()
        return run


def why_no_run(run: RunStatement) -> str | None:
    """Returns which field of a run is out of range, or None; the rest is a proof's to show."""
    words = (run.validators, run.before, run.after, run.history)
    if any(
        len(word) != WORD_ELEMENTS or not 0 <= min(word) <= max(word) < MODULUS for word in words
    ):
        return "a word is not eight residues"
    if not (0 <= run.chain < INDEX_LIMIT and 1 <= run.shards < SHARD_LIMIT):
        return f"there is no chain {run.chain} with {run.shards} shards"
    return why_no_windows(range(run.first_window, run.end_window))


def why_no_windows(windows: range) -> str | None:
    """Returns why numbers of windows are no run, or None."""
    if not 0 <= windows.start < windows.stop < INDEX_LIMIT or len(windows) > MAX_WINDOW_GAP:
        return f"windows {windows.start} to {windows.stop} are no run"
    return None
