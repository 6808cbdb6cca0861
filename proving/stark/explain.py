"""Transcripts as readable lines, of both sides: what was absorbed and drawn, and where the sides part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from proving.backends.port import Hasher
from proving.errors import ProofError
from proving.stark.check import verify_stark
from proving.stark.key import VerifyingKey
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


@dataclass(frozen=True, slots=True)
class Hearing:
    """What a verifier heard of a proof.

    Attributes:
        events: The transcript up to where it stopped; nothing if the bytes are no proof.
        error: Why it refused; None if it accepted.
    """

    events: tuple[TranscriptEvent, ...]
    error: ProofError | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two transcripts part.

    Attributes:
        step: The first event that is not the same, from 0.
        prover: The prover's event there; None if its transcript has ended.
        verifier: The verifier's, likewise.
        position: First element that is not the same; -1 if action, label or count already are not.
    """

    step: int
    prover: TranscriptEvent | None
    verifier: TranscriptEvent | None
    position: int

    def text(self) -> str:
        """Returns the difference for people."""
        event = self.verifier or self.prover
        name = "" if event is None else f"{event.action} {event.label.name.lower()}"
        if self.prover is None or self.verifier is None:
            ended = "prover" if self.prover is None else "verifier"
            return f"step {self.step}: the {ended}'s transcript has ended before {name}"
        if self.position < 0:
            other = f"{self.prover.action} {self.prover.label.name.lower()}"
            counts = f"{len(self.prover.values)} and {len(self.verifier.values)} elements"
            return f"step {self.step}: prover {other}, verifier {name}; {counts}"
        said = self.prover.values[self.position], self.verifier.values[self.position]
        place = f"step {self.step}, {name}, element {self.position}"
        return f"{place}: prover {said[0]}, verifier {said[1]}"


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


def explain_both(
    prover: Sequence[TranscriptEvent], verifier: Sequence[TranscriptEvent]
) -> list[str]:
    """Returns both transcripts for people: one line where they agree, one of each side where they do not."""
    lines: list[str] = []
    for ours, theirs in zip_longest(explain(prover), explain(verifier)):
        step = (ours or theirs).step
        if ours is not None and theirs is not None and prover[step] == verifier[step]:
            lines.append(f"both      {ours.text()}")
            continue
        lines += [
            f"{side:<8}  {line.text()}"
            for side, line in (("prover", ours), ("verifier", theirs))
            if line is not None
        ]
    return lines


def first_difference(
    prover: Sequence[TranscriptEvent], verifier: Sequence[TranscriptEvent]
) -> Difference | None:
    """Returns where two transcripts part; None if they are the same."""
    for step, (said, heard) in enumerate(zip_longest(prover, verifier)):
        if said == heard:
            continue
        position = -1
        if said is not None and heard is not None:
            form = (said.action, said.label, len(said.values))
            if form == (heard.action, heard.label, len(heard.values)):
                pairs = zip(said.values, heard.values, strict=True)
                position = next(place for place, (a, b) in enumerate(pairs) if a != b)
        return Difference(step, said, heard, position)
    return None


def listen(key: VerifyingKey, proof: bytes, hasher: Hasher) -> Hearing:
    """Verifies any bytes under a key and returns what was heard, accepted or not."""
    heard: list[TranscriptEvent] = []
    try:
        verify_stark(key, None, proof, hasher, heard=heard)
    except ProofError as error:
        return Hearing(tuple(heard), error)
    return Hearing(tuple(heard), None)
