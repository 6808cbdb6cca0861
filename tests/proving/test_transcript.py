"""The sponge: order, lengths, labels and indices are all bound."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from proving.arithmetic.modulus import P
from proving.backends.port import FieldArray
from proving.stark.explain import explain
from proving.stark.transcript import Label, NotUniform, Transcript
from schemas.errors import ParameterError
from tests.suites.proofs import BACKEND


def test_the_same_history_gives_the_same_challenges_and_the_same_record() -> None:
    first, second = Transcript(BACKEND), Transcript(BACKEND)
    for transcript in (first, second):
        transcript.absorb(Label.PUBLICS, [1, 2, 3])
        transcript.challenge(Label.POINT)
    assert first.events == second.events
    assert len(first.events[1].values) == 5


def test_two_splits_of_one_message_give_different_challenges() -> None:
    """SOUNDNESS 1 item 5: absorbing is length-binding."""
    drawn = set()
    for split in ([[1, 2, 3]], [[1], [2, 3]], [[1, 2], [3]], [[1, 2, 3], []], [[1, 2, 3, 0]]):
        transcript = Transcript(BACKEND)
        for part in split:
            transcript.absorb(Label.PUBLICS, part)
        drawn.add(transcript.challenge(Label.POINT))
    assert len(drawn) == 5


def test_a_message_cannot_contain_the_next_one() -> None:
    """Item 5: without lengths these histories would feed the sponge the same elements."""
    drawn = set()
    cap = int(Label.MAIN_CAP)
    for split in ([(Label.PUBLICS, [7, cap, 9])], [(Label.PUBLICS, [7]), (Label.MAIN_CAP, [9])]):
        transcript = Transcript(BACKEND)
        for label, part in split:
            transcript.absorb(label, part)
        drawn.add(transcript.challenge(Label.POINT))
    assert len(drawn) == 2


def test_the_label_of_a_message_and_of_a_request_changes_the_challenge() -> None:
    drawn = set()
    for message, request in (
        (Label.MAIN_CAP, Label.POINT),
        (Label.LOOKUP_CAP, Label.POINT),
        (Label.MAIN_CAP, Label.LOOKUP_BETA),
    ):
        transcript = Transcript(BACKEND)
        transcript.absorb(message, [5])
        drawn.add(transcript.challenge(request))
    assert len(drawn) == 3


def test_how_much_is_asked_for_changes_what_is_drawn() -> None:
    """A longer answer under the same label does not begin with the shorter one."""
    short, long = Transcript(BACKEND), Transcript(BACKEND)
    assert short.challenge(Label.POINT) != long.word(Label.POINT)[:5]
    three, four = (Transcript(BACKEND).indices(Label.QUERY_INDICES, n, 24) for n in (3, 4))
    assert three.tolist() != four[:3].tolist()


def test_every_element_of_a_long_message_changes_the_challenge() -> None:
    def draw(values: list[int]) -> tuple[int, ...]:
        transcript = Transcript(BACKEND)
        transcript.absorb(Label.OPENINGS, values)
        return transcript.challenge(Label.BATCHING_CHALLENGE)

    base = list(range(21))
    changed = [[*base[:i], base[i] + 100, *base[i + 1 :]] for i in range(len(base))]
    assert len({draw(values) for values in [base, *changed]}) == len(base) + 1


def test_two_challenges_in_a_row_differ() -> None:
    transcript = Transcript(BACKEND)
    transcript.absorb(Label.MAIN_CAP, [5])
    alpha = transcript.challenge(Label.LOOKUP_ALPHA)
    assert alpha != transcript.challenge(Label.LOOKUP_ALPHA)


def test_the_capacity_is_never_written_by_a_message() -> None:
    """A block replaces eight elements; the other eight reach the permutation as they were."""
    seen: list[FieldArray] = []

    class Recorder:
        def permute(self, states: FieldArray) -> FieldArray:
            seen.append(states.copy())
            return BACKEND.permute(states)

    transcript = Transcript(Recorder())
    transcript.absorb(Label.OPENINGS, list(range(40)))
    transcript.challenge(Label.POINT)
    outputs = [BACKEND.permute(state)[0, 8:].tolist() for state in seen]
    assert [state[0, 8:].tolist() for state in seen[1:]] == outputs[:-1]


def test_a_value_that_is_not_canonical_is_refused() -> None:
    with pytest.raises(ParameterError, match="PUBLICS"):
        Transcript(BACKEND).absorb(Label.PUBLICS, [P])


def test_indices_are_in_range_counted_and_uniform() -> None:
    """SOUNDNESS 1 item 9: 4,000 draws over 16 values stay within five standard deviations."""
    transcript = Transcript(BACKEND)
    transcript.absorb(Label.PUBLICS, [9])
    indices = transcript.indices(Label.QUERY_INDICES, 4000, 4)
    counts = Counter(indices.tolist())
    assert indices.shape == (4000,)
    assert set(counts) == set(range(16))
    assert max(abs(count - 250) for count in counts.values()) < 5 * np.sqrt(4000 / 16)


def test_the_one_residue_that_would_bias_an_index_is_refused() -> None:
    """SOUNDNESS 1 item 9: P - 1 is 0 modulo every power of two up to 2^24."""

    class Counting:
        """A permutation whose every output row is P - 1, 1, 2, ..., 7, ..."""

        def permute(self, states: FieldArray) -> FieldArray:
            row = np.arange(16, dtype=np.uint32)
            row[0] = P - 1
            return np.tile(row, (len(states), 1))

    with pytest.raises(NotUniform, match="QUERY_INDICES drew P - 1"):
        Transcript(Counting()).indices(Label.QUERY_INDICES, 9, 3)


def test_indices_longer_than_the_two_adicity_are_refused() -> None:
    with pytest.raises(ParameterError, match="biased"):
        Transcript(BACKEND).indices(Label.QUERY_INDICES, 1, 25)


def test_a_nonce_is_bound_to_its_phase_its_bits_and_the_history() -> None:
    def start(value: int) -> Transcript:
        transcript = Transcript(BACKEND)
        transcript.absorb(Label.MAIN_CAP, [value])
        return transcript

    nonce = start(1).grind(Label.QUERY_GRINDING, 12, BACKEND)
    assert start(1).check_nonce(Label.QUERY_GRINDING, 12, nonce)
    assert not start(1).check_nonce(Label.QUERY_GRINDING, 12, nonce + 1)
    assert not start(2).check_nonce(Label.QUERY_GRINDING, 12, nonce)
    assert not start(1).check_nonce(Label.POINT_GRINDING, 12, nonce)
    for fewer in range(
        6, 12
    ):  # work for more bits would be work for fewer, were the bits not in the block
        assert not start(1).check_nonce(Label.QUERY_GRINDING, fewer, nonce)
    assert not start(1).check_nonce(Label.QUERY_GRINDING, 13, nonce)


def test_the_nonce_is_the_least_and_changes_what_follows() -> None:
    transcript = Transcript(BACKEND)
    transcript.absorb(Label.MAIN_CAP, [1])
    nonce = transcript.grind(Label.QUERY_GRINDING, 6, BACKEND)
    passing = []
    for candidate in range(nonce + 1):
        other = Transcript(BACKEND)
        other.absorb(Label.MAIN_CAP, [1])
        passing.append(other.check_nonce(Label.QUERY_GRINDING, 6, candidate))
    assert passing == [False] * nonce + [True]


def test_an_explained_transcript_names_every_step() -> None:
    transcript = Transcript(BACKEND)
    transcript.absorb(Label.PUBLICS, list(range(20)))
    transcript.challenge(Label.POINT)
    lines = explain(transcript.events)
    assert [(line.step, line.action, line.label, line.count) for line in lines] == [
        (0, "absorb", "publics", 20),
        (1, "challenge", "point", 5),
    ]
    assert " ".join(lines[0].text().split()) == "0 absorb publics 20 0 1 2 3 4 5 6 7 ..."
