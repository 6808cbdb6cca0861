"""Days of all shards on the beacon: which proof is of the next one, and what it must say.

A run is accepted when it is one day of the clock, of this chain and of the validators in charge; when it begins where
the last accepted one ended; when every shard is known to have left it, all of its blocks being in accepted windows; and
when it ends in the state in which those windows ended. What is not fixed by that, the history, is the proof's to show.
Only whole days are taken: a part of a day, once accepted, would leave no proof that begins where the day does.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from operators.application import Check, CheckState
from proving.backends.port import Hasher
from proving.errors import ProofError
from proving.recursion.global_proofs import GlobalProof, verify_run
from proving.recursion.global_span import GlobalSpan, boundary_word, fold_states
from proving.recursion.span import NO_HISTORY, reopened
from schemas.beacon_payload import ProofReference, RunAcceptance
from schemas.errors import WireError
from schemas.run import RunStatement, WordElements, why_no_run
from schemas.statement import Boundary
from schemas.topics import PROOFS as PROOFS_TOPIC
from schemas.units import INDEX_LIMIT, SHARD_LIMIT, WORD_BYTES, word_bytes, word_elements
from schemas.wire import Reader, Writer

_logger = logging.getLogger(__name__)

Place = tuple[int, int]
"""Offset and row on the topic `proofs`."""

WindowEnd = tuple[int, WordElements]
"""An accepted window, and the word of the boundary with which the next one begins."""


@dataclass(frozen=True, slots=True)
class RunTip:
    """How far runs of all shards are accepted, and where the windows since ended.

    A shard's accepted windows take 36 bytes each until their day is accepted.

    Attributes:
        end_window: The window after the last accepted run.
        state: State of the chain there.
        bases: Boundary word of every shard there, in order.
        ends: What of every shard is accepted since, windows rising.
    """

    end_window: int
    state: WordElements
    bases: tuple[WordElements, ...]
    ends: tuple[tuple[WindowEnd, ...], ...]

    @classmethod
    def start(cls, boundaries: Iterable[Boundary], hasher: Hasher) -> RunTip:
        """Returns the tip before the first window; boundaries are the shards' at genesis."""
        bases = tuple(boundary_word(reopened(at), hasher) for at in boundaries)
        return cls(0, fold_states(bases, hasher), bases, ((),) * len(bases))

    def with_window(self, shard: int, window: int, boundary: Boundary, hasher: Hasher) -> RunTip:
        """Returns the tip after a window of a shard was accepted, which ended at a boundary."""
        ends = list(self.ends)
        ends[shard] = (*ends[shard], (window, boundary_word(reopened(boundary), hasher)))
        return replace(self, ends=tuple(ends))

    def words_at(self, end_window: int) -> tuple[WordElements, ...]:
        """Returns every shard's boundary word before a window, as far as windows are accepted."""
        return tuple(
            next((word for window, word in reversed(ends) if window < end_window), base)
            for base, ends in zip(self.bases, self.ends, strict=True)
        )

    def after(self, run: RunStatement) -> RunTip:
        """Returns the tip after a run that follows was accepted."""
        later = tuple(tuple(end for end in ends if end[0] >= run.end_window) for ends in self.ends)
        return RunTip(run.end_window, run.after, self.words_at(run.end_window), later)

    def write(self, writer: Writer) -> None:
        """Appends the canonical form."""
        writer.u32(self.end_window).fixed(word_bytes(self.state), WORD_BYTES)
        writer.u32(len(self.bases))
        for base, ends in zip(self.bases, self.ends, strict=True):
            writer.fixed(word_bytes(base), WORD_BYTES).u32(len(ends))
            for window, word in ends:
                writer.u32(window).fixed(word_bytes(word), WORD_BYTES)

    @classmethod
    def read(cls, reader: Reader) -> RunTip:
        """Reads what `write` wrote.

        Raises:
            WireError: A field is missing or outside its range.
        """
        end_window, state = reader.u32("end_window", INDEX_LIMIT), _read_word(reader, "state")
        bases: list[WordElements] = []
        ends: list[tuple[WindowEnd, ...]] = []
        for _ in range(reader.u32("shards", SHARD_LIMIT)):
            bases.append(_read_word(reader, "base"))
            count = reader.u32("windows", INDEX_LIMIT)
            ends.append(
                tuple(
                    (reader.u32("window", INDEX_LIMIT), _read_word(reader, "end"))
                    for _ in range(count)
                )
            )
        return cls(end_window, state, tuple(bases), tuple(ends))


@dataclass(frozen=True, slots=True)
class RunRules:
    """What an accepted run must be on this chain.

    Attributes:
        chain: Chain number.
        shards: Number of shards.
        windows_per_day: Windows of a day.
        validators: Word of the validators in charge.
        hasher: Poseidon2.
    """

    chain: int
    shards: int
    windows_per_day: int
    validators: WordElements
    hasher: Hasher

    def day_of(self, run: RunStatement) -> int | None:
        """Returns which day a run is, or None if it is not exactly one."""
        day, rest = divmod(run.first_window, self.windows_per_day)
        return (
            day if not rest and run.end_window - run.first_window == self.windows_per_day else None
        )

    def next_day(self, tip: RunTip, next_windows: Mapping[int, int | None]) -> RunStatement | None:
        """Returns the one statement that can be accepted now, with a history of zeros; None while there is none."""
        end = tip.end_window + self.windows_per_day
        if any(window is None or window < end for window in next_windows.values()):
            return None
        after = fold_states(tip.words_at(end), self.hasher)
        place = (self.chain, self.shards, tip.end_window, end)
        return RunStatement(*place, self.validators, tip.state, after, NO_HISTORY)

    def check(  # noqa: PLR0911 - one return per rule
        self, run: RunStatement, tip: RunTip, next_windows: Mapping[int, int | None]
    ) -> Check | None:
        """Returns why a run cannot be accepted now, apart from its proof, or None.

        Args:
            run: What is said.
            tip: How far runs and windows are accepted.
            next_windows: Window of every shard's first final block that is not in an accepted window; None where
                no such block is known yet.
        """
        if why_no_run(run) is not None:
            return _invalid("run_out_of_range")
        if (run.chain, run.shards) != (self.chain, self.shards):
            return _invalid("run_of_another_chain")
        if run.validators != self.validators:
            return _invalid("run_of_other_validators")
        if self.day_of(run) is None:
            return _invalid("run_is_no_day")
        if (run.first_window, run.before) != (tip.end_window, tip.state):
            return _invalid("run_does_not_follow")
        for shard, window in sorted(next_windows.items()):
            if window is None:
                return Check(CheckState.MISSING, f"blocks.{shard}")
            if window < run.end_window:
                return _invalid("run_beyond_accepted_windows")
        if fold_states(tip.words_at(run.end_window), self.hasher) != run.after:
            return _invalid("run_not_the_final_state")
        return None


@dataclass(frozen=True, slots=True)
class VerifiedRun:
    """A proof about a run that holds.

    Attributes:
        run: What it shows.
        reference: Where it is.
        proven_bits: Soundness.
    """

    run: GlobalSpan
    reference: ProofReference
    proven_bits: int

    @property
    def acceptance(self) -> RunAcceptance:
        """How a payload names it."""
        return RunAcceptance(RunStatement.from_bytes(self.run.to_bytes()), self.reference)


@dataclass(slots=True)
class RunShelf:
    """Proofs of days on the log, found by where they claim to begin; each is verified at most once.

    Attributes:
        read: Reads the row at a place, or None.
        hasher: Poseidon2.
        minimum_bits: Proven bits that a proof needs.
        claims: Place and claimed statement by first window, in log order.
    """

    read: Callable[[Place], Mapping[str, Any] | None]
    hasher: Hasher
    minimum_bits: int
    claims: dict[int, list[tuple[Place, GlobalSpan]]] = field(default_factory=dict)
    _verdicts: dict[Place, VerifiedRun | None] = field(default_factory=dict)

    def take(self, place: Place, row: Mapping[str, Any]) -> None:
        """Takes a row of `proofs`; one that claims nothing sensible is passed over."""
        try:
            run = GlobalSpan.from_bytes(row["statement"])
        except WireError as error:
            ids = {"topic": PROOFS_TOPIC, "offset": place[0], "row": place[1]}
            _logger.warning("a row is passed over: %s", error, extra=ids)
            return
        listed = self.claims.setdefault(run.first_window, [])
        if (place, run) not in listed:
            listed.append((place, run))

    def is_known(self, place: Place) -> bool:
        """Whether a place's verdict is known."""
        return place in self._verdicts

    def verified(self, place: Place) -> VerifiedRun | None:
        """Returns the proof at a place, verified at the first call; None when it does not hold."""
        if place not in self._verdicts:
            self._verdicts[place] = self._verify(place)
        return self._verdicts[place]

    def forget(self, end_window: int) -> None:
        """Drops what begins before a window."""
        for first in [first for first in self.claims if first < end_window]:
            for place, _ in self.claims.pop(first):
                self._verdicts.pop(place, None)

    def offsets(self) -> Sequence[int]:
        """Returns the offsets of what is not dropped."""
        return [place[0] for listed in self.claims.values() for place, _ in listed]

    def _verify(self, place: Place) -> VerifiedRun | None:
        row = self.read(place)
        if row is None:
            return None
        try:
            run = GlobalSpan.from_bytes(row["statement"])
            verdict = verify_run(GlobalProof(run, row["proof"]), self.hasher, self.minimum_bits)
        except (WireError, ProofError) as error:
            ids = {"topic": PROOFS_TOPIC, "offset": place[0], "row": place[1]}
            _logger.warning("a proof shows no run: %s", error, extra=ids)
            return None
        digest = hashlib.sha256(row["proof"]).digest()
        return VerifiedRun(run, ProofReference(*place, digest), verdict.proven_bits)


def _invalid(reason: str) -> Check:
    return Check(CheckState.INVALID, reason)


def _read_word(reader: Reader, name: str) -> WordElements:
    return word_elements(reader.word(name))
