"""What a proof about all shards says: from one state of the chain to a later one, over whole windows.

A run of whole windows of every shard is an epoch, a day, or whatever its reader expects: the windows are in it. It
hides the shards' boundaries behind one word for each end, so that adjacent ones are joined by comparing two words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from proving.backends.port import Hasher
from proving.commitments.merkle import hash_opened_rows
from proving.recursion.shard_part import ShardPart, why_not_delivered, why_not_part
from proving.recursion.span import NO_HISTORY, boundary_elements
from proving.stark.transcript import Label, Transcript
from schemas.errors import ParameterError
from schemas.run import RunStatement, WordElements, why_no_windows
from schemas.statement import Boundary


@dataclass(frozen=True, slots=True)
class GlobalSpan(RunStatement):
    """A run of whole windows of all shards, with the word that stands for it."""

    def digest(self, hasher: Hasher) -> WordElements:
        """Returns the statement word."""
        transcript = Transcript(hasher)
        transcript.absorb(Label.GLOBAL_SPAN, self.elements())
        return transcript.word(Label.STATEMENT_DIGEST)


def fold_words(left: Sequence[int], right: Sequence[int], hasher: Hasher) -> WordElements:
    """Returns the row hash of two words."""
    return _row_hash([*left, *right], hasher)


def boundary_word(boundary: Boundary, hasher: Hasher) -> WordElements:
    """Returns the word that stands for a boundary: the row hash of its elements."""
    return _row_hash(boundary_elements(boundary), hasher)


def chain_state(boundaries: Sequence[Boundary], hasher: Hasher) -> WordElements:
    """Returns the word that stands for where all shards are, between two windows; folded in their order."""
    return fold_states([boundary_word(boundary, hasher) for boundary in boundaries], hasher)


def fold_states(words: Sequence[WordElements], hasher: Hasher) -> WordElements:
    """Returns the state of shards whose boundaries' words are given, in their order."""
    state = NO_HISTORY
    for word in words:
        state = fold_words(state, word, hasher)
    return state


def _row_hash(elements: Sequence[int], hasher: Hasher) -> WordElements:
    row = np.array([elements], dtype=np.uint32)
    return tuple(int(element) for element in hash_opened_rows(hasher, row)[0])


def merge_shards(
    parts: Sequence[ShardPart],
    windows: range,
    *,
    chain: int,
    validators: WordElements,
    hasher: Hasher,
) -> GlobalSpan:
    """Returns what the shards did together.

    Args:
        parts: One for every shard of the chain, in order.
        windows: The run of windows.
        chain: Chain number.
        validators: Root of the set in charge.
        hasher: Poseidon2.

    Raises:
        ParameterError: They do not make up one run, by name.
    """
    problem = why_no_windows(windows) or next(
        (
            f"shard {shard} {found}"
            for shard, part in enumerate(parts)
            if (
                found := why_not_part(
                    part, shard, windows, chain=chain, shards=len(parts), hasher=hasher
                )
            )
        ),
        None,
    )
    problem = problem or why_not_delivered(parts)
    if problem:
        raise ParameterError(problem)
    history = NO_HISTORY
    for part in parts:
        history = fold_words(history, part.history(hasher), hasher)
    return GlobalSpan(
        chain=chain,
        shards=len(parts),
        first_window=windows.start,
        end_window=windows.stop,
        validators=validators,
        before=chain_state([part.at for part in parts], hasher),
        after=chain_state([part.after for part in parts], hasher),
        history=history,
    )


def join_runs(spans: Sequence[GlobalSpan], hasher: Hasher) -> GlobalSpan:
    """Returns the run of runs that follow each other; every link folds the history.

    Raises:
        ParameterError: There are none, or one does not follow the one before, by name.
    """
    if not spans:
        raise ParameterError("a run has at least one part")
    joined = spans[0]
    for number, span in enumerate(spans[1:], start=1):
        problem = why_not_next(joined, span)
        if problem:
            raise ParameterError(f"child {number} {problem}")
        history = fold_words(joined.history, span.history, hasher)
        joined = replace(joined, end_window=span.end_window, after=span.after, history=history)
    return joined


def why_not_next(left: GlobalSpan, right: GlobalSpan) -> str | None:
    """Returns why a run does not follow another, or None."""
    if (left.chain, left.shards) != (right.chain, right.shards):
        return "is of another chain"
    if left.validators != right.validators:
        return "is of another set of validators"
    if right.first_window != left.end_window:
        return f"begins with window {right.first_window}, not {left.end_window}"
    return None if right.before == left.after else "does not begin where the one before ended"
