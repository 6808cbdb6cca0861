"""Days on the beacon: which one is accepted, and that every rule refuses what breaks it, by its name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import pytest

from operators.application import BlockContent, CheckState
from operators.beacon import BeaconApplication, BeaconBranch, ShardTip
from operators.beacon_evidence import ProofShelf
from operators.beacon_runs import RunRules, RunShelf, RunTip
from operators.consensus_keys import CommitteeVerifier
from operators.consensus_votes import Committee
from operators.equivocations import EquivocationRules, EvidenceShelf
from operators.event_log import StoredRecord
from operators.final_headers import FinalHeaders
from operators.fraud_rules import FraudRules
from operators.fraud_state import FraudState
from operators.log_memory import MemoryLog, MemoryStore
from operators.prover_role import record_of
from operators.pyramid_planner import PyramidClock
from pipelines.sample_shards import CHAIN
from proving.backends.cpu import CpuBackend
from proving.recursion.global_span import GlobalSpan
from proving.signatures import KeyPair
from schemas.beacon_payload import (
    ProofReference,
    RunAcceptance,
    accepted_root,
    decode_acceptances,
    encode_acceptances,
)
from schemas.block import BlockHeader, ValidatorSet
from schemas.economics import FraudTerms
from schemas.errors import WireError
from schemas.job import ProofLevel
from schemas.run import RunStatement
from schemas.tables import PROOFS
from schemas.units import MODULUS, ZERO_WORD
from schemas.validators import validators_word
from schemas.wire import Reader, Writer
from tests.suites.proven_days import (
    HASHER,
    SHARDS,
    WINDOWS_PER_DAY,
    begun_at,
    days,
    ended_at,
    planned,
    prove_tree,
)

SET = ValidatorSet((KeyPair.from_seed(sha256(b"a validator").digest()).public_key,))
VALIDATORS = validators_word(SET.keys)
OTHER = (7,) * 8
RULES = RunRules(CHAIN, SHARDS, WINDOWS_PER_DAY, VALIDATORS, HASHER)


def day(number: int = 0) -> GlobalSpan:
    return days(VALIDATORS)[number]


def tip_after(windows: int) -> RunTip:
    """Returns the tip after so many accepted windows of every shard."""
    tip = RunTip.start(begun_at(), HASHER)
    for window in range(windows):
        for shard in range(SHARDS):
            tip = tip.with_window(shard, window, ended_at(window, shard), HASHER)
    return tip


def verdict(
    run: RunStatement, tip: RunTip, nexts: dict[int, int | None] | None = None
) -> tuple[str, str]:
    found = RULES.check(run, tip, nexts or {0: 2, 1: 3})
    return ("valid", "") if found is None else (found.state.value, found.reason)


def test_a_day_that_ends_where_its_windows_did_is_accepted_and_the_next_follows() -> None:
    tip = tip_after(3)
    assert verdict(day(), tip) == ("valid", "")
    after = tip.after(day())
    assert (after.end_window, after.state) == (2, day().after)
    assert [[window for window, _ in ends] for ends in after.ends] == [[2], [2]]
    for shard in range(SHARDS):
        after = after.with_window(shard, 3, ended_at(3, shard), HASHER)
    assert RULES.check(day(1), after, {0: 4, 1: 4}) is None
    assert verdict(day(1), tip) == ("invalid", "run_does_not_follow")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"chain": CHAIN + 1}, "run_of_another_chain"),
        ({"shards": SHARDS + 1}, "run_of_another_chain"),
        ({"validators": OTHER}, "run_of_other_validators"),
        ({"end_window": 1}, "run_is_no_day"),
        ({"end_window": 4}, "run_is_no_day"),
        ({"first_window": 1, "end_window": 3}, "run_is_no_day"),
        ({"first_window": 2, "end_window": 4}, "run_does_not_follow"),
        ({"before": OTHER}, "run_does_not_follow"),
        ({"after": OTHER}, "run_not_the_final_state"),
        ({"end_window": 0}, "run_out_of_range"),
        ({"history": (MODULUS,) * 8}, "run_out_of_range"),
    ],
)
def test_a_run_that_says_something_else_is_invalid(fields: dict[str, Any], reason: str) -> None:
    assert verdict(replace(day(), **fields), tip_after(2)) == ("invalid", reason)


def test_every_shard_must_be_known_to_have_left_the_day() -> None:
    tip = tip_after(2)
    assert verdict(day(), tip, {0: 2, 1: None}) == ("missing", "blocks.1")
    assert verdict(day(), tip, {0: 2, 1: 1}) == ("invalid", "run_beyond_accepted_windows")
    assert verdict(day(), tip_after(1)) == ("invalid", "run_not_the_final_state")


def test_the_next_day_is_known_apart_from_its_history() -> None:
    wanted = RULES.next_day(tip_after(2), {0: 2, 1: 3})
    assert wanted is not None
    assert replace(wanted, history=day().history).to_bytes() == day().to_bytes()
    assert RULES.next_day(tip_after(2), {0: 2, 1: None}) is None
    assert RULES.next_day(tip_after(2), {0: 2, 1: 1}) is None


def test_a_shard_without_a_block_in_the_day_stays_where_it_was() -> None:
    start = RunTip.start(begun_at(), HASHER)
    moved = start.with_window(0, 1, ended_at(1, 0), HASHER)
    assert moved.words_at(2)[1] == start.bases[1]
    assert moved.words_at(1) == start.bases
    assert moved.words_at(2)[0] != start.bases[0]


def test_a_tip_reads_back_from_its_bytes() -> None:
    for tip in (RunTip.start(begun_at(), HASHER), tip_after(3), tip_after(3).after(day())):
        writer = Writer()
        tip.write(writer)
        reader = Reader(writer.finish(), "tip")
        assert RunTip.read(reader) == tip
        reader.finish()


def reference(offset: int = 0, row: int = 0, proof: bytes = b"no proof") -> ProofReference:
    return ProofReference(offset, row, sha256(proof).digest())


def test_a_payload_with_a_run_reads_back_and_damaged_ones_are_refused() -> None:
    run = RunStatement.from_bytes(day().to_bytes())
    payload = encode_acceptances([], RunAcceptance(run, reference()))
    assert decode_acceptances(payload).run == RunAcceptance(run, reference())
    assert decode_acceptances(payload).count == 1
    for length in range(len(payload)):
        with pytest.raises(WireError):
            decode_acceptances(payload[:length])
    for wrong in (payload + b"\0", payload[:3] + b"\2" + payload[4:]):
        with pytest.raises(WireError):
            decode_acceptances(wrong)


@dataclass
class Beacon:
    """A beacon whose windows of the first day are accepted, and a log for proofs."""

    log: MemoryLog = field(default_factory=lambda: MemoryLog("memory://runs", MemoryStore()))
    application: BeaconApplication = field(init=False)

    def __post_init__(self) -> None:
        self.log.create_topics({"proofs": 1})
        shelf = ProofShelf(self.fetch, HASHER, 100)
        headers = {}
        for shard in range(SHARDS):
            committee = Committee(CHAIN, shard, 0, SET)
            headers[shard] = FinalHeaders(committee, CommitteeVerifier(SET))
            headers[shard].headers[3] = header(shard, 2)
            headers[shard].offsets[3] = 0
        tips = {shard: ShardTip(2, bytes(32), 1, ended_at(1, shard)) for shard in range(SHARDS)}
        final = BeaconBranch(b"", ZERO_WORD, tips, tip_after(2), FraudState())
        committees = {shard: known.committee for shard, known in headers.items()}
        rules = EquivocationRules(
            committees, CommitteeVerifier(SET), FraudRules(FraudTerms()), has_bonds=False
        )
        self.application = BeaconApplication(
            final,
            b"f" * 32,
            headers,
            shelf,
            lambda slot: slot,
            RULES,
            HASHER,
            EvidenceShelf(rules),
        )

    def fetch(self, offset: int) -> StoredRecord | None:
        found = self.log.read("proofs", offset, 1)
        return found[0] if found else None

    def post(self, statement: bytes, proof: bytes, level: ProofLevel = ProofLevel.DAY_RUN) -> None:
        row = {
            "job_id": bytes(32),
            "level": level.value,
            "shard": 0,
            "window": 0,
            "segment": 0,
            "statement_digest": bytes(32),
            "statement": statement,
            "proof": proof,
            "proven_bits": 101.0,
            "prover": "anybody",
            "prove_seconds": 0.0,
            "phases": "[]",
            "created_millis": 0,
        }
        output = record_of(PROOFS, [row])
        offset = self.log.append("proofs", output.records)
        found = self.fetch(offset)
        assert found is not None
        self.application.shelf.take(found)

    def check(self, run: GlobalSpan, proof: ProofReference) -> tuple[str, str]:
        said = RunAcceptance(RunStatement.from_bytes(run.to_bytes()), proof)
        payload = encode_acceptances([], said)
        root = accepted_root(self.application.final.root, payload)
        content = BlockContent(payload, ZERO_WORD, root, 1)
        found = self.application.check(b"x" * 32, b"f" * 32, 1, 0, content)
        return found.state.value, found.reason


def header(shard: int, slot: int) -> BlockHeader:
    return BlockHeader(
        CHAIN, shard, 0, 3, slot, 3, 2, bytes(32), bytes(32), bytes(32), bytes(32), 0, 0
    )


@pytest.fixture
def beacon() -> Beacon:
    return Beacon()


def test_rows_that_hold_no_proof_of_the_day_are_refused_and_never_proposed(beacon: Beacon) -> None:
    beacon.post(day().to_bytes(), b"no proof")
    beacon.post(b"no statement", b"no proof")
    beacon.post(day(1).to_bytes(), b"no proof")
    refused = ("invalid", "run_proof_not_accepted")
    assert beacon.check(day(), reference()) == refused
    assert beacon.check(day(), reference(0, 1)) == refused
    assert beacon.check(day(), reference(1)) == refused
    assert beacon.check(day(), reference(2)) == refused
    assert beacon.check(day(), reference(3)) == ("missing", "proofs/3")
    application = beacon.application
    assert not application.has_work(b"f" * 32, 0)
    assert application.build(b"f" * 32, 1, 0, required=False) is None


def test_a_broken_rule_costs_no_verification(beacon: Beacon) -> None:
    beacon.post(day().to_bytes(), b"no proof")
    assert beacon.check(replace(day(), after=OTHER), reference())[0] == "invalid"
    assert not beacon.application.shelf.runs.is_known((0, 0))


def test_a_call_verifies_one_proof_however_many_there_are(beacon: Beacon) -> None:
    for number in range(5):
        beacon.post(day().to_bytes(), b"no proof %d" % number)
    runs = beacon.application.shelf.runs
    for known in range(1, 6):
        assert not beacon.application.has_work(b"f" * 32, 0)
        assert sum(runs.is_known((offset, 0)) for offset in range(5)) == known


def test_what_is_accepted_is_forgotten() -> None:
    shelf = RunShelf(lambda place: None, HASHER, 100)
    shelf.take((4, 0), {"statement": day().to_bytes()})
    shelf.take((5, 0), {"statement": day(1).to_bytes()})
    assert shelf.offsets() == [4, 5]
    shelf.forget(2)
    assert shelf.offsets() == [5]
    assert shelf.verified((5, 0)) is None


@pytest.mark.slow
def test_a_proven_day_is_proposed_accepted_and_final(beacon: Beacon) -> None:
    clock = PyramidClock(1, 1, WINDOWS_PER_DAY)
    tree = next(one for one in planned(VALIDATORS, clock) if one.level is ProofLevel.DAY)
    proof = prove_tree(tree.children[0], CpuBackend(threads=2))
    beacon.post(day().to_bytes(), proof[:-4] + bytes(4))
    beacon.post(day().to_bytes(), proof)
    application = beacon.application
    tries = [application.has_work(b"f" * 32, 0) for _ in range(2)]
    assert tries == [False, True], "the damaged copy costs one call"
    content = application.build(b"f" * 32, 1, 0, required=False)
    assert content is not None
    said = decode_acceptances(content.payload)
    assert said.run is not None
    assert said.run.proof == reference(1, 0, proof)
    wrong = replace(day(), history=OTHER)
    assert beacon.check(wrong, said.run.proof) == ("invalid", "run_proof_not_accepted")
    assert application.check(b"b" * 32, b"f" * 32, 1, 0, content).state is CheckState.VALID
    assert beacon.check(day(), said.run.proof) == ("valid", "")
    application.finalize(b"b" * 32)
    assert application.final.run is not None
    assert application.final.run.run == day()
    assert (application.final.runs.end_window, application.final.runs.state) == (2, day().after)
    assert application.shelf.runs.claims == {}
    assert not application.has_work(b"b" * 32, 0)
