"""Evidence in beacon blocks: proposed once, judged by every validator, part of the root, and there after a restart."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from operators.application import BlockContent, CheckState
from operators.beacon import BeaconApplication
from operators.beacon_start import BeaconPlace, BeaconState, open_beacon
from operators.consensus_chain import FinalTip
from operators.consensus_node import OBSERVER, message_record
from operators.fraud_model import FRAUD_SCENES, FraudModel, FraudScene
from operators.fraud_snapshot import read_fraud, write_fraud
from operators.fraud_state import FraudState
from operators.log_memory import MemoryLog, MemoryStore
from operators.rule_state import digest
from operators.snapshot_file import read_snapshot, write_snapshot
from proving.arithmetic.poseidon2 import NumpyHasher
from schemas.beacon_payload import (
    EVIDENCE_VERSION,
    MAX_EVIDENCE,
    PAYLOAD_VERSION,
    accepted_root,
    decode_acceptances,
    encode_acceptances,
)
from schemas.block import MAX_EVIDENCE_BYTES
from schemas.errors import ParameterError, WireError
from schemas.genesis import Genesis
from schemas.topics import FAULTS, all_topics
from schemas.units import ZERO_WORD
from schemas.wire import Reader, Writer
from tests.suites.equivocators import PAIRS, STRANGER, Signing, bonded_genesis, unbonded_genesis
from tests.suites.mini_chain import small_configuration

GENESIS = bonded_genesis(shards=1)
SIGNING = Signing(GENESIS)
FIRST, SECOND = SIGNING.evidence(9), SIGNING.evidence(4, signer=1)


@dataclass
class Beacon:
    """A beacon on a log of its own, driven by hand.

    Attributes:
        folder: Of its snapshot.
        genesis: The chain.
    """

    folder: Path
    genesis: Genesis = GENESIS
    log: MemoryLog = field(default_factory=lambda: MemoryLog("memory://beacon", MemoryStore()))
    state: BeaconState = field(init=False)

    def __post_init__(self) -> None:
        self.log.create_topics(dict.fromkeys(all_topics(1), 1))
        self.state = self.open()

    @property
    def snapshot(self) -> Path:
        return self.folder / "beacon.snapshot"

    @property
    def application(self) -> BeaconApplication:
        return self.state.application

    def open(self) -> BeaconState:
        place = BeaconPlace(self.log, self.genesis, small_configuration(), NumpyHasher())
        return open_beacon(place, self.snapshot)

    def report(self, *reports: bytes) -> None:
        records = [message_record(OBSERVER, data, 0) for data in reports]
        first = self.log.append(FAULTS, records)
        for record in self.log.read(FAULTS, first, len(records)):
            self.state.feeds()[FAULTS](record)

    def build(self, parent: bytes | None = None) -> BlockContent | None:
        application = self.application
        above = application.final_hash if parent is None else parent
        return application.build(above, 1, 0, required=False)

    def check(
        self, content: BlockContent, name: bytes = b"b" * 32, parent: bytes | None = None
    ) -> tuple[str, str]:
        above = self.application.final_hash if parent is None else parent
        found = self.application.check(name, above, 1, 0, content)
        return found.state.value, found.reason

    def content(self, evidence: list[bytes], *, covers_fraud: bool = True) -> BlockContent:
        """What a leader makes who takes any evidence, with the root that it should have if all holds."""
        final, rules = self.application.final, self.application.evidence.rules
        payload = encode_acceptances([], None, evidence)
        fraud = final.fraud
        for data in evidence:
            punished = rules.judge(data, fraud)
            fraud = punished[0] if isinstance(punished, tuple) else fraud
        covered = rules.commitment(fraud) if covers_fraud else None
        root = accepted_root(final.root, payload, covered)
        return BlockContent(payload, ZERO_WORD, root, len(evidence))


@pytest.fixture
def beacon(tmp_path: Path) -> Beacon:
    return Beacon(tmp_path)


def test_a_leader_proposes_what_was_reported_and_all_find_it_valid(
    beacon: Beacon, tmp_path: Path
) -> None:
    assert not beacon.application.has_work(beacon.application.final_hash, 0)
    assert beacon.build() is None
    beacon.report(FIRST, SECOND, FIRST)
    assert beacon.application.has_work(beacon.application.final_hash, 0)
    content = beacon.build()
    assert content is not None
    assert decode_acceptances(content.payload).evidence == (FIRST, SECOND)
    assert content == beacon.content([FIRST, SECOND])
    deaf = Beacon(tmp_path / "deaf")
    assert deaf.check(content) == ("valid", ""), "who was told nothing judges by the block alone"
    deaf.application.finalize(b"b" * 32)
    assert beacon.check(content) == ("valid", "")
    assert not beacon.application.has_work(b"b" * 32, 0), "nor is it proposed above that block"
    assert beacon.build(b"b" * 32) is None
    assert beacon.application.has_work(beacon.application.final_hash, 0), "but beside it"
    beacon.application.finalize(b"b" * 32)
    assert beacon.build() is None
    assert deaf.application.final == beacon.application.final
    final = beacon.application.final
    assert [slash.evidence.first.signer for slash in final.slashes] == [3, 1]
    assert final.fraud.books.is_balanced()
    assert beacon.check(beacon.content([FIRST]), b"c" * 32) == ("invalid", "already_punished")
    empty = beacon.content([])
    assert beacon.check(empty, b"c" * 32) == ("valid", "")
    beacon.application.finalize(b"c" * 32)
    assert beacon.application.final.slashes == (), "a slash is of one block alone"
    assert beacon.application.final.fraud == final.fraud


OTHER = Signing(bonded_genesis(shards=1, chain=8))
CHANGES = {
    "twice": ([FIRST, FIRST], "already_punished"),
    "one offence in other votes": ([FIRST, SIGNING.evidence(9, blocks=(5, 6))], "already_punished"),
    "another view after the bond is gone": ([FIRST, SIGNING.evidence(10)], "nothing_bonded"),
    "noise": ([b"noise"], "malformed"),
    "a stranger's signatures": ([SIGNING.evidence(9, pair=STRANGER)], "bad_signature"),
    "good, then another validator's": ([FIRST, SIGNING.evidence(4, signer=1, pair=PAIRS[0])], "bad_signature"),
    "another chain's": ([OTHER.evidence(9)], "wrong_chain"),
    "no such shard's": ([SIGNING.evidence(9, shard=1)], "wrong_shard"),
    "another epoch's": ([SIGNING.evidence(9, epoch=1)], "wrong_epoch"),
    "nobody's": ([SIGNING.evidence(9, signer=4)], "unknown_signer"),
    "too long": ([bytes(MAX_EVIDENCE_BYTES + 1)], "malformed_payload"),
    "too much": ([FIRST] * (MAX_EVIDENCE + 1), "malformed_payload"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_block_that_punishes_whom_it_must_not_is_invalid(beacon: Beacon, name: str) -> None:
    evidence, reason = CHANGES[name]
    assert beacon.check(beacon.content(evidence)) == ("invalid", reason)
    assert beacon.application.branches == {}


def test_the_root_covers_the_state_of_fraud(beacon: Beacon, tmp_path: Path) -> None:
    for evidence in ([], [FIRST]):
        uncovered = beacon.content(evidence, covers_fraud=False)
        assert beacon.check(uncovered) == ("invalid", "wrong_root")
    rich = bonded_genesis(shards=1).model_dump()
    rich["bonds"]["units"] = (*rich["bonds"]["units"][:3], rich["bonds"]["units"][3] + 1)
    other = Beacon(tmp_path / "other", Genesis.model_validate(rich))
    assert other.content([]).post_state_root != beacon.content([]).post_state_root
    old = Beacon(tmp_path / "old", unbonded_genesis(shards=1))
    old.report(FIRST)
    assert old.build() is None, "nothing is bonded"
    content = old.content([])
    assert content.post_state_root == accepted_root(ZERO_WORD, content.payload)
    assert old.check(content) == ("valid", "")
    assert old.check(old.content([FIRST]), b"c" * 32) == ("invalid", "nothing_bonded")


def test_a_restart_remembers_bonds_offences_and_what_waits(beacon: Beacon) -> None:
    beacon.report(FIRST, SECOND)
    content = beacon.content([FIRST])
    assert beacon.check(content)[0] == CheckState.VALID
    beacon.application.finalize(b"b" * 32)
    before = beacon.application.final
    beacon.state.save(beacon.snapshot, FinalTip(b"b" * 32, 1, 0, 1), {"blocks.0": 0})
    beacon.state = beacon.open()
    final = beacon.application.final
    assert (final.fraud, final.root) == (before.fraud, before.root)
    assert digest(final.fraud) == digest(before.fraud)
    assert beacon.state.positions[FAULTS] == 1, "what is punished is not read again"
    for record in beacon.log.read(FAULTS, beacon.state.positions[FAULTS], 10):
        beacon.state.feeds()[FAULTS](record)
    again = beacon.build()
    assert again is not None
    assert decode_acceptances(again.payload).evidence == (SECOND,)


def test_a_snapshot_of_before_there_were_bonds_is_read(tmp_path: Path) -> None:
    beacon = Beacon(tmp_path, unbonded_genesis(shards=1))
    tip = FinalTip(b"b" * 32, 1, 0, 1)
    beacon.state.save(beacon.snapshot, tip, {"blocks.0": 0})
    body = read_snapshot(beacon.snapshot, beacon.state.kind)
    assert body is not None
    writer = Writer()
    write_fraud(writer, FraudState())
    old = b"\x02" + body[1 : -8 - len(writer.finish())]
    write_snapshot(beacon.snapshot, beacon.state.kind, old)
    restored = beacon.open()
    assert restored.tip == tip
    assert restored.application.final == beacon.application.final
    write_snapshot(beacon.snapshot, beacon.state.kind, b"\x04" + body[1:])
    with pytest.raises(WireError, match="expected 3"):
        beacon.open()


def test_payloads_with_evidence_are_canonical() -> None:
    payload = encode_acceptances([], None, [FIRST, b"anything"])
    said = decode_acceptances(payload)
    assert (said.evidence, said.count, payload[0]) == ((FIRST, b"anything"), 2, EVIDENCE_VERSION)
    plain = encode_acceptances([])
    assert (plain, decode_acceptances(plain).evidence) == (b"\x02\0\0\0", ())
    assert plain[0] == PAYLOAD_VERSION
    for wrong in (
        b"\x03\0\0\0",
        b"\x03\0\0\0\0",
        b"\x02" + payload[1:],
        b"\x04" + payload[1:],
        payload + b"\0",
        *(payload[:length] for length in range(0, len(payload), 97)),
    ):
        with pytest.raises(WireError):
            decode_acceptances(wrong)
    with pytest.raises(ParameterError):
        encode_acceptances([], None, [b""] * 256)


def _written(state: FraudState) -> bytes:
    writer = Writer()
    write_fraud(writer, state)
    return writer.finish()


@pytest.mark.parametrize("scene", FRAUD_SCENES, ids=lambda scene: scene.name)
def test_any_state_of_fraud_survives_its_bytes(scene: FraudScene) -> None:
    model, rng = FraudModel(scene), random.Random(scene.name)  # noqa: S311 - a reproducible walk
    met: set[bytes] = set()
    for _ in range(20):
        world = model.start()
        for _ in range(25):
            events = list(model.events(world))
            if not events:
                break
            world = model.trial(world, rng.choice(events)).after
            data = _written(world.state)
            reader = Reader(data, "fraud")
            restored = read_fraud(reader)
            reader.finish()
            assert restored == world.state
            assert digest(restored) == digest(world.state)
            met.add(data)
    assert len(met) > 3
    longest = max(met, key=len)
    for length in range(0, len(longest), 13):
        with pytest.raises(WireError):
            read_fraud(Reader(longest[:length], "fraud"))


def test_a_state_whose_tables_are_not_in_order_is_refused(beacon: Beacon) -> None:
    fraud = beacon.application.final.fraud
    data = _written(fraud)
    first, second = list(fraud.books.pots)[:2]
    swapped = data.replace(first.owner, b"*" * 32).replace(second.owner, first.owner)
    swapped = swapped.replace(b"*" * 32, second.owner)
    with pytest.raises(WireError, match="keys do not rise"):
        read_fraud(Reader(swapped, "fraud"))
    unknown = data.replace(b"bond", b"bone", 1)
    with pytest.raises(WireError, match="none of kind"):
        read_fraud(Reader(unknown, "fraud"))
