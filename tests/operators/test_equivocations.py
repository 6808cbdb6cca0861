"""Evidence of equivocation: judged by everyone alike, refused by name, punished once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.beacon_start import equivocation_rules
from operators.consensus_messages import decode_evidence, encode_evidence, encode_vote
from operators.consensus_node import OBSERVER, message_record
from operators.consensus_ports import Verifier
from operators.equivocations import (
    MAX_WAITING,
    EvidenceShelf,
    Slash,
    genesis_fraud,
    party_of,
    slash_rows,
)
from operators.event_log import Record, StoredRecord
from operators.fraud_rules import bonds_of
from operators.fraud_state import NOBODY, FraudState
from operators.log_memory import MemoryLog, MemoryStore
from operators.rule_state import BURNED, POOL, digest
from schemas.block import MAX_EVIDENCE_BYTES, Phase, Vote, make_evidence
from schemas.refusal import EquivocationRefusal
from schemas.tables import SLASHES, encode
from schemas.topics import BEACON_SHARD, FAULTS
from tests.suites.equivocators import (
    BOND,
    PAIRS,
    STRANGER,
    Signing,
    bonded_genesis,
    unbonded_genesis,
)

GENESIS = bonded_genesis()
RULES = equivocation_rules(GENESIS)
START = genesis_fraud(GENESIS)
SIGNING = Signing(GENESIS)
VIEW = 9
GOOD = SIGNING.evidence(VIEW)
PARTIES = tuple(party_of(pair.public_key) for pair in PAIRS)


def slashed(data: bytes, state: FraudState = START) -> tuple[FraudState, Slash]:
    punished = RULES.judge(data, state)
    assert not isinstance(punished, EquivocationRefusal), punished
    return punished


def test_validators_begin_with_the_bonds_of_the_genesis() -> None:
    assert bonds_of(START, PARTIES) == dict.fromkeys(PARTIES, BOND)
    assert len(set(PARTIES)) == len(PARTIES)
    assert START.books.is_balanced()
    assert (START.books.inflow, START.books.outflow) == (4 * BOND, 0)
    assert genesis_fraud(unbonded_genesis()) == FraudState()


KINDS = {
    "two_proposals": (Phase.PROPOSE, Phase.PROPOSE),
    "two_notarizations": (Phase.NOTARIZE, Phase.NOTARIZE),
    "two_finalizations": (Phase.FINALIZE, Phase.FINALIZE),
    "nullify_and_finalize": (Phase.NULLIFY, Phase.FINALIZE),
}


@pytest.mark.parametrize("shard", [0, 1, BEACON_SHARD])
@pytest.mark.parametrize("kind", KINDS)
def test_a_contradiction_costs_the_bond(kind: str, shard: int) -> None:
    one, other = KINDS[kind]
    votes = SIGNING.vote(one, VIEW, 1, shard=shard), SIGNING.vote(other, VIEW, 2, shard=shard)
    state, slash = slashed(encode_evidence(make_evidence(*votes)))
    assert bonds_of(state, PARTIES) == {**dict.fromkeys(PARTIES[:3], BOND), PARTIES[3]: 0}
    assert (slash.effect.offender, slash.effect.units) == (PARTIES[3], BOND)
    assert (slash.effect.reporter, slash.effect.reward) == (NOBODY, 0)
    assert state.books.held(BURNED) == slash.effect.burned == BOND // 10
    assert state.books.held(POOL) == slash.pooled == BOND - BOND // 10
    assert state.books.is_balanced()
    assert state.books.inflow == START.books.inflow
    (row,) = slash_rows([slash], 5, b"h" * 32, 77)
    assert (row["kind"], row["shard"], row["view"], row["validator"]) == (kind, shard, VIEW, 3)
    assert SLASHES.batch([row]).to_pylist() == [row]


def raw(first: Vote, second: Vote) -> bytes:
    """Two votes in the form of evidence, whatever they are."""
    return b"\x01\x06" + encode_vote(first)[2:] + encode_vote(second)[2:]


def _in_order(*votes: Vote) -> list[Vote]:
    return sorted(votes, key=lambda vote: vote.ballot.to_bytes())


FIRST, SECOND = _in_order(*(SIGNING.vote(Phase.NOTARIZE, VIEW, block) for block in (1, 2)))
ELSEWHERE = Signing(bonded_genesis(chain=8))
R = EquivocationRefusal
REFUSED: dict[str, tuple[bytes, EquivocationRefusal]] = {
    "one byte more than any evidence": (bytes(MAX_EVIDENCE_BYTES + 1), R.OVERSIZED),
    "a megabyte": (GOOD.ljust(2**20, b"\0"), R.OVERSIZED),
    "nothing": (b"", R.MALFORMED),
    "noise": (random.Random(1).randbytes(5_000), R.MALFORMED),  # noqa: S311
    "a vote": (encode_vote(FIRST), R.MALFORMED),
    "cut": (GOOD[:-1], R.MALFORMED),
    "another version": (b"\x02" + GOOD[1:], R.MALFORMED),
    "the same vote twice": (raw(FIRST, FIRST), R.MALFORMED),
    "one ballot, two signatures": (
        raw(FIRST, replace(FIRST, signature=SECOND.signature)),
        R.MALFORMED,
    ),
    "the other way round": (raw(SECOND, FIRST), R.MALFORMED),
    "of two validators": (
        raw(*_in_order(FIRST, SIGNING.vote(Phase.NOTARIZE, VIEW, 3, signer=2))),
        R.MALFORMED,
    ),
    "of two views": (
        raw(*_in_order(FIRST, SIGNING.vote(Phase.NOTARIZE, VIEW + 1, 2))),
        R.MALFORMED,
    ),
    "of two shards": (
        raw(*_in_order(FIRST, SIGNING.vote(Phase.NOTARIZE, VIEW, 2, shard=1))),
        R.MALFORMED,
    ),
    "what honest validators do": (
        raw(*_in_order(FIRST, SIGNING.vote(Phase.NULLIFY, VIEW))),
        R.MALFORMED,
    ),
    "of another chain": (ELSEWHERE.evidence(VIEW), R.WRONG_CHAIN),
    "of a shard that is none": (SIGNING.evidence(VIEW, shard=2), R.WRONG_SHARD),
    "of another epoch": (SIGNING.evidence(VIEW, epoch=1), R.WRONG_EPOCH),
    "of nobody": (SIGNING.evidence(VIEW, signer=4), R.UNKNOWN_SIGNER),
    "signed by a stranger": (SIGNING.evidence(VIEW, pair=STRANGER), R.BAD_SIGNATURE),
    "signed by another validator": (SIGNING.evidence(VIEW, pair=PAIRS[2]), R.BAD_SIGNATURE),
    "one of two signatures": (
        raw(FIRST, SIGNING.vote(Phase.NOTARIZE, VIEW, SECOND.ballot.block_hash[0], pair=STRANGER)),
        R.BAD_SIGNATURE,
    ),
    "a short signature": (raw(FIRST, replace(SECOND, signature=b"s")), R.BAD_SIGNATURE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_shows_nothing_is_refused_by_name(name: str) -> None:
    data, reason = REFUSED[name]
    assert RULES.judge(data, START) is reason


def test_a_signature_of_another_chain_is_no_signature_here() -> None:
    """The votes are of this chain by their fields, and signed for the other one."""
    there = [ELSEWHERE.vote(Phase.NOTARIZE, VIEW, block) for block in (1, 2)]
    here = [replace(vote, ballot=replace(vote.ballot, chain=GENESIS.chain)) for vote in there]
    assert RULES.judge(raw(*_in_order(*here)), START) is R.BAD_SIGNATURE


def test_an_offence_is_punished_once_whichever_votes_show_it() -> None:
    state, _ = slashed(GOOD)
    for again in (
        GOOD,
        SIGNING.evidence(VIEW, blocks=(3, 4)),
        encode_evidence(
            make_evidence(SIGNING.vote(Phase.FINALIZE, VIEW), SIGNING.vote(Phase.NULLIFY, VIEW))
        ),
    ):
        assert RULES.judge(again, state) is R.ALREADY_PUNISHED
    assert RULES.judge(SIGNING.evidence(VIEW + 1), state) is R.NOTHING_BONDED
    assert RULES.judge(SIGNING.evidence(VIEW, shard=1), state) is R.NOTHING_BONDED
    other, slash = slashed(SIGNING.evidence(VIEW, signer=1), state)
    assert slash.effect.offender == PARTIES[1]
    assert digest(other) != digest(state) != digest(START)


def test_digests_are_pinned_because_roots_of_final_blocks_hold_them() -> None:
    state, slash = slashed(GOOD)
    assert [value.hex() for value in (digest(START), digest(state), slash.effect.offence)] == [
        "62d4dd6bc711322ac41f632d01dfba8d6beec0728d5a72895887165abf7377eb",
        "b5cc616a9eed409bba6dbb3efd6365c53e43885f1ce24ed9608a0c14712289aa",
        "896b9db1cb2147e592c12768a9af816d74efc9cf1fbbf9bd772529f82c427f70",
    ]


def test_nobody_is_punished_where_nothing_is_bonded() -> None:
    rules = equivocation_rules(unbonded_genesis())
    assert rules.judge(GOOD, FraudState()) is R.NOTHING_BONDED
    assert rules.commitment(FraudState()) is None
    assert RULES.commitment(START) == digest(START)


def test_every_refusal_is_met() -> None:
    met = {reason for _, reason in REFUSED.values()} | {R.ALREADY_PUNISHED, R.NOTHING_BONDED}
    assert met == set(EquivocationRefusal)


@settings(max_examples=60, deadline=None)
@given(bit=st.integers(0, 8 * len(GOOD) - 1))
def test_evidence_with_any_bit_changed_punishes_nobody(bit: int) -> None:
    changed = bytearray(GOOD)
    changed[bit // 8] ^= 1 << bit % 8
    assert isinstance(RULES.judge(bytes(changed), START), EquivocationRefusal)


@dataclass
class Counting:
    """A verifier that says how much it was asked.

    Attributes:
        inner: Checks.
        claims: Signatures asked about.
    """

    inner: Verifier
    claims: int = 0

    def verify_many(self, claims: Sequence[tuple[int, bytes, bytes]]) -> Sequence[bool]:
        self.claims += len(claims)
        return self.inner.verify_many(claims)


@dataclass
class Reports:
    """A shelf and the topic that it reads.

    Attributes:
        verifier: Counts the signatures checked.
        log: Holds the topic.
        state: By which the shelf judges.
    """

    verifier: Counting = field(default_factory=lambda: Counting(RULES.verifier))
    log: MemoryLog = field(default_factory=lambda: MemoryLog("memory://faults", MemoryStore()))
    state: FraudState = START
    shelf: EvidenceShelf = field(init=False)

    def __post_init__(self) -> None:
        self.log.create_topics({FAULTS: 1})
        self.shelf = EvidenceShelf(replace(RULES, verifier=self.verifier))

    def report(self, *reports: bytes) -> None:
        for data in reports:
            self.put(message_record(OBSERVER, data, 0))

    def put(self, record: Record) -> None:
        offset = self.log.append(FAULTS, [record])
        stored: StoredRecord = self.log.read(FAULTS, offset, 1)[0]
        self.shelf.take(stored, self.state)

    def next(self, limit: int = 16) -> list[bytes]:
        return list(self.shelf.next(self.state, limit)[0])


def test_what_was_reported_waits_until_it_is_punished() -> None:
    reports = Reports()
    other = SIGNING.evidence(VIEW, signer=1, shard=BEACON_SHARD)
    reports.report(GOOD, GOOD, SIGNING.evidence(VIEW, blocks=(5, 6)), other)
    assert reports.verifier.claims == 4, "two reports hold, the others are of the first offence"
    assert reports.next() == [GOOD, other]
    assert reports.next(1) == [GOOD]
    assert reports.shelf.first_needed() == 0
    reports.state, _ = slashed(GOOD)
    assert reports.next() == [other], "an honest leader proposes no punished offence again"
    reports.shelf.forget(reports.state)
    assert reports.shelf.first_needed() == 3
    reports.state, _ = slashed(other, reports.state)
    reports.shelf.forget(reports.state)
    assert (reports.next(), reports.shelf.first_needed()) == ([], 4)
    reports.report(GOOD, other)
    assert reports.next() == []
    assert reports.verifier.claims == 4, "what is punished costs no signature"
    assert reports.shelf.refused == {R.ALREADY_PUNISHED: 4}


def test_junk_on_the_topic_hides_nothing() -> None:
    reports = Reports()
    _, slash = slashed(GOOD)
    headers, body = encode(SLASHES, SLASHES.batch(slash_rows([slash], 1, bytes(32), 0)))
    reports.put(Record(b"junk"))
    reports.put(Record(body, headers))
    reports.report(*(data for data, _ in REFUSED.values()), GOOD)
    assert reports.next() == [GOOD]
    assert reports.shelf.refused.total() == len(REFUSED)
    assert set(reports.shelf.refused) == {reason for _, reason in REFUSED.values()}


def test_one_validators_offences_take_no_more_than_their_room() -> None:
    reports = Reports()
    reports.report(*(SIGNING.evidence(view) for view in range(1, MAX_WAITING + 4)))
    assert reports.verifier.claims == 2 * MAX_WAITING
    reports.report(SIGNING.evidence(VIEW, signer=0))
    assert len(reports.next()) == 2, "the first costs the whole bond"
    assert [decode_evidence(data).first.signer for data in reports.next()] == [3, 0]
