"""A transcript as readable lines: what was absorbed, what was drawn, under which label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from proving.stark.transcript import TranscriptEvent

SHOWN_VALUES = 8
"""Elements printed of a longer message."""


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    """One line of `proof explain`.

    Attributes:
        step: Position in the transcript, from 0.
        action: `absorb`, `challenge`, `indices` or `grinding`.
        label: Lower-case name of the label.
        count: Number of elements.
        values: The first few.
    """

    step: int
    action: str
    label: str
    count: int
    values: tuple[int, ...]

    def text(self) -> str:
        """Returns the line for people."""
        shown = " ".join(str(value) for value in self.values)
        more = " ..." if self.count > len(self.values) else ""
        return f"{self.step:4d}  {self.action:<9}  {self.label:<22}  {self.count:6d}  {shown}{more}"


def explain(events: Iterable[TranscriptEvent]) -> list[TranscriptLine]:
    """Returns one line per event, in order."""
    return [
        TranscriptLine(
            step,
            event.action,
            event.label.name.lower(),
            len(event.values),
            event.values[:SHOWN_VALUES],
        )
        for step, event in enumerate(events)
    ]
