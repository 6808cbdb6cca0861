from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.consensus_keys import CommitteeVerifier, ValidatorSigner
from operators.consensus_messages import encode_certificate, encode_vote
from operators.consensus_node import message_record, message_topics
from operators.consensus_votes import Committee
from operators.event_log import EventLog, Record
from operators.log_memory import MemoryLog, MemoryStore
from operators.safe_floor import SignedViews, safe_floor, signed_views
from pipelines.sample_votes import committee as keys_of
from pipelines.sample_votes import pair
from schemas.block import Ballot, Certificate, Phase, Vote
from schemas.errors import EclipticaError

CHAIN, SHARD, NOW = 3, 0, 1_800_000_000_000
COMMITTEE = Committee(CHAIN, SHARD, 0, keys_of())
VERIFIER = CommitteeVerifier(keys_of())
TOPICS = message_topics(SHARD)


@pytest.fixture
def log() -> EventLog:
    store = MemoryStore()
    store.now_millis = lambda: NOW
    opened = MemoryLog("memory://floor", store)
    opened.create_topics(dict.fromkeys(TOPICS.values(), 1))
    return opened


def vote(signer: int, view: int, *, key: int | None = None, chain: int = CHAIN) -> Vote:
    ballot = Ballot(chain, SHARD, 0, Phase.NULLIFY, view, bytes(32), 0, bytes(32))
    said = ballot.signed_under(COMMITTEE.context)
    return Vote(ballot, signer, ValidatorSigner(pair(signer if key is None else key)).sign(said))


def put(log: EventLog, *votes: Vote) -> None:
    for one in votes:
        log.append(TOPICS["vote"], [message_record(one.signer, encode_vote(one), NOW)])


def found(log: EventLog) -> SignedViews:
    return signed_views(log, TOPICS.values(), COMMITTEE, VERIFIER)


def test_the_highest_view_of_each_validator_is_the_highest_with_a_good_signature(
    log: EventLog,
) -> None:
    put(log, vote(0, 5), vote(0, 9), vote(0, 7), vote(1, 4), vote(2, 900, key=3), vote(2, 6))
    put(log, vote(3, 50, chain=CHAIN + 1), vote(0, 99, key=1))
    log.append(TOPICS["vote"], [Record(b"no message")])
    signed = found(log)
    assert list(signed.highest) == [9, 4, 6, 0]
    assert list(signed.last_millis) == [NOW, NOW, NOW, 0]
    assert signed.is_whole


def test_a_certificate_counts_for_all_its_signers(log: EventLog) -> None:
    votes = [vote(signer, 12) for signer in (0, 1, 3)]
    certificate = Certificate(votes[0].ballot, tuple((v.signer, v.signature) for v in votes))
    record = message_record(0, encode_certificate(certificate), NOW)
    log.append(TOPICS["certificate"], [record])
    assert list(found(log).highest) == [12, 12, 0, 12]


def test_liars_do_not_push_the_floor_up_and_own_votes_do() -> None:
    honest = SignedViews([10, 11, 0, 10], [0] * 4, is_whole=True)
    liar = SignedViews([10, 10**9, 0, 10], [0] * 4, is_whole=True)
    assert safe_floor(honest, 2, 3, 64) == safe_floor(liar, 2, 3, 64) == 75
    ahead = SignedViews([10, 11, 200, 10], [0] * 4, is_whole=True)
    assert safe_floor(ahead, 2, 3, 64) == 264


@given(
    views=st.lists(st.integers(0, 60), min_size=4, max_size=4),
    own=st.integers(0, 3),
)
def test_whoever_has_entered_a_view_lawfully_is_below_the_floor(views: list[int], own: int) -> None:
    entered = 1 + max(
        view for view in (0, *views) if view == 0 or sum(one >= view for one in views) >= 3
    )
    assert safe_floor(SignedViews(views, [0] * 4, is_whole=True), own, 3, 0) >= entered


def test_a_log_that_says_too_little_gives_no_floor() -> None:
    cut = SignedViews([10, 11, 0, 0], [0] * 4, is_whole=False)
    with pytest.raises(EclipticaError, match="fewer than a quorum"):
        safe_floor(cut, 2, 3)
    fresh = SignedViews([0, 0, 0, 0], [0] * 4, is_whole=True)
    assert safe_floor(fresh, 2, 3, 64) == 65
