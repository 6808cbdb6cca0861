"""The safety properties of consensus: S1, S3 to S8, V1, V2, R1. Quorum arithmetic (S2) is in test_block."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from operators import consensus_votes
from operators.application import CheckState
from operators.consensus import Simplex
from operators.consensus_campaign import SCHEDULE_CONFIG, run_schedule, run_schedules
from operators.consensus_chain import BlockTree
from operators.consensus_messages import (
    decode_certificate,
    decode_evidence,
    encode_certificate,
    encode_evidence,
    encode_vote,
)
from operators.consensus_ports import Broadcast, Event, Evidence, Finalized
from operators.consensus_simulation import Medium, World
from operators.consensus_votes import (
    CertificateFlaw,
    CertificateRejected,
    check_certificate,
    check_evidence,
    evidence_between,
)
from schemas.block import Certificate, Phase, block_ballot, fault_bound
from schemas.errors import WireError
from tests.operators.consensus_cases import CONFIG, TICK, WORK, Cast, drive, of

CAST = Cast()
CLEAN = {
    "schedules_with_disagreement": 0,
    "schedules_with_violation": 0,
    "schedules_unfinished": 0,
    "violations": [],
    "unfinished": [],
    "disagreements": [],
}


def votes_of(actions: list[Broadcast]) -> list[bytes]:
    return [action.message for action in actions if action.kind == "vote"]


@pytest.mark.parametrize(
    ("n", "count"),
    [(1, 50), (2, 300), (3, 200), (4, 1000), (5, 120), (6, 80), (7, 60), (10, 15)],
)
def test_s1_no_disagreement_with_f_byzantine_validators(n: int, count: int) -> None:
    report = run_schedules(2026, count, n)
    assert {key: report[key] for key in CLEAN} == CLEAN
    assert report["schedules"] == count
    assert report["byzantine"] == fault_bound(n)
    # The campaign has teeth: Byzantine validators were caught in many schedules.
    assert fault_bound(n) == 0 or int(str(report["schedules_with_evidence"])) > count // 5


@pytest.mark.slow
@pytest.mark.parametrize(("n", "count"), [(4, 20_000), (7, 2_000), (10, 500)])
def test_s1_no_disagreement_in_a_long_campaign(n: int, count: int) -> None:
    report = run_schedules(77, count, n)
    assert {key: report[key] for key in CLEAN} == CLEAN


def certificate(phase: Phase = Phase.FINALIZE) -> Certificate:
    return CAST.certificate(block_ballot(CAST.block(3), phase), (0, 2, 3))


def flaw_of(candidate: Certificate, cast: Cast = CAST) -> CertificateFlaw | None:
    try:
        check_certificate(candidate, cast.committee, cast.keys)
    except CertificateRejected as error:
        return error.flaw
    return None


def test_s3_a_flipped_byte_anywhere_makes_a_certificate_worthless() -> None:
    data = encode_certificate(certificate())
    assert flaw_of(decode_certificate(data)) is None
    for index in range(len(data)):
        for bit in (0, 7):
            changed = bytearray(data)
            changed[index] ^= 1 << bit
            try:
                candidate = decode_certificate(bytes(changed))
            except WireError:
                continue
            assert flaw_of(candidate) is not None, index


def test_s3_a_cut_or_lengthened_certificate_is_malformed() -> None:
    data = encode_certificate(certificate())
    for changed in [data[:length] for length in range(len(data))] + [data + b"\0"]:
        with pytest.raises(WireError):
            decode_certificate(changed)


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"chain": 2}, CertificateFlaw.WRONG_CHAIN),
        ({"shard": 2}, CertificateFlaw.WRONG_SHARD),
        ({"epoch": 2}, CertificateFlaw.WRONG_EPOCH),
        ({"view": 4}, CertificateFlaw.BAD_SIGNATURE),
        ({"phase": Phase.NOTARIZE}, CertificateFlaw.BAD_SIGNATURE),
        ({"block_hash": b"\x07" * 32}, CertificateFlaw.BAD_SIGNATURE),
        ({"parent_view": 1}, CertificateFlaw.BAD_SIGNATURE),
        ({"parent_hash": b"\x07" * 32}, CertificateFlaw.BAD_SIGNATURE),
    ],
)
def test_s3_signatures_cannot_be_carried_to_another_place(
    change: dict[str, object], flaw: CertificateFlaw
) -> None:
    good = certificate()
    moved = Certificate(replace(good.ballot, **change), good.signatures)  # type: ignore[arg-type]
    assert flaw_of(moved) is flaw


def test_s3_mixed_phases_short_lists_and_strangers_are_refused() -> None:
    final, notarized = certificate(), certificate(Phase.NOTARIZE)
    mixed = Certificate(final.ballot, (*final.signatures[:2], notarized.signatures[2]))
    assert flaw_of(mixed) is CertificateFlaw.BAD_SIGNATURE
    short = Certificate(final.ballot, final.signatures[:2])
    assert flaw_of(short) is CertificateFlaw.TOO_FEW_SIGNERS
    stranger = Certificate(final.ballot, (*final.signatures, (4, b"s" * 32)))
    assert flaw_of(stranger) is CertificateFlaw.UNKNOWN_SIGNER
    borrowed = Certificate(final.ballot, (*final.signatures[:2], (3, final.signatures[1][1])))
    assert flaw_of(borrowed) is CertificateFlaw.BAD_SIGNATURE
    everybody = CAST.certificate(final.ballot, range(4))
    assert flaw_of(everybody) is None


def test_s3_the_core_takes_no_forged_certificate() -> None:
    core, good = CAST.core(1), certificate()
    core.step([], 0)
    forged = [
        Certificate(replace(good.ballot, view=9), good.signatures),
        Certificate(good.ballot, good.signatures[:2]),
        Certificate(replace(good.ballot, epoch=4), good.signatures),
    ]
    drive(core, *(encode_certificate(candidate) for candidate in forged))
    assert core.view == 1
    assert core.dropped == {"bad_signature": 1, "too_few_signers": 1, "wrong_epoch": 1}


def test_s4_votes_of_an_old_view_epoch_shard_or_chain_change_nothing() -> None:
    core, block = CAST.core(0), CAST.block(1)
    drive(core, CAST.propose(block), CAST.certify(Phase.FINALIZE, block))
    before = (core.view, core.durable_records(), core.tip)
    other_places = [Cast(chain=2), Cast(shard=1), Cast(epoch=1)]
    replays = [CAST.vote(1, Phase.NOTARIZE, block), CAST.nullify(1, 1), CAST.propose(block)]
    replays += [cast.nullify(signer, 2) for cast in other_places for signer in (1, 2, 3)]
    actions = drive(core, *replays)
    assert of(Broadcast, actions) == []
    assert (core.view, core.durable_records(), core.tip) == before
    expected = {"old_view": 3, "wrong_chain": 3, "wrong_shard": 3, "wrong_epoch": 3}
    assert core.dropped == expected


def test_s4_a_vote_from_before_a_restart_is_neither_doubled_nor_contradicted() -> None:
    block, other = CAST.block(1), CAST.block(1, tag=b"other")
    first = CAST.core(0)
    drive(first, CAST.propose(block))
    again = CAST.core(0, journal=first.durable_records())
    actions = drive(again, CAST.vote(0, Phase.NOTARIZE, block), CAST.propose(other))
    assert votes_of(of(Broadcast, actions)) == []
    assert again.dropped == {"duplicate": 1}


def test_s5_never_notarize_after_nullify() -> None:
    core = CAST.core(0)
    drive(core, WORK)
    assert (
        votes_of(of(Broadcast, drive(core, TICK, at=CONFIG.view_timeout_millis)))
        == [CAST.nullify(0, 1)] * 2
    )
    actions = drive(core, CAST.propose(CAST.block(1)), at=2000)
    assert votes_of(of(Broadcast, actions)) == []


def test_s5_never_finalize_after_nullify() -> None:
    core, block = CAST.core(0), CAST.block(1)
    drive(core, WORK)
    drive(core, TICK, at=CONFIG.view_timeout_millis)
    actions = drive(core, CAST.propose(block), CAST.certify(Phase.NOTARIZE, block), at=2000)
    assert core.view == 2
    assert votes_of(of(Broadcast, actions)) == []


def test_s5_never_nullify_after_finalize() -> None:
    core, block = CAST.core(0), CAST.block(1)
    drive(core, CAST.propose(block), CAST.certify(Phase.NOTARIZE, block))
    actions = drive(core, CAST.nullify(1, 1), CAST.nullify(2, 1), CAST.nullify(3, 1), TICK)
    assert CAST.nullify(0, 1) not in votes_of(of(Broadcast, actions))


def test_s5_one_notarize_vote_per_view() -> None:
    core = CAST.core(0)
    actions = drive(core, *(CAST.propose(CAST.block(1, tag=t)) for t in (b"a", b"b")))
    assert len(votes_of(of(Broadcast, actions))) == 1


def test_s6_evidence_is_transferable_and_names_only_the_offender() -> None:
    core = CAST.core(0)
    one, other = CAST.block(1, tag=b"a"), CAST.block(1, tag=b"b")
    actions = drive(
        core,
        CAST.vote(3, Phase.NOTARIZE, one),
        CAST.vote(3, Phase.NOTARIZE, other),
        CAST.vote(3, Phase.FINALIZE, other),
        CAST.nullify(3, 1),
    )
    (found,) = of(Evidence, actions)
    received = decode_evidence(encode_evidence(found.equivocation))
    assert received == found.equivocation
    check_evidence(received, CAST.committee, CAST.keys)
    framed = replace(
        received, first=replace(received.first, signer=2), second=replace(received.second, signer=2)
    )
    with pytest.raises(CertificateRejected, match="bad_signature"):
        check_evidence(framed, CAST.committee, CAST.keys)
    with pytest.raises(CertificateRejected, match="wrong_shard"):
        check_evidence(received, Cast(shard=1).committee, CAST.keys)


def quiet_world(seed: int, n: int = 4, target: int = 2) -> World:
    rng = Random(seed)  # noqa: S311
    return World(rng, n, config=SCHEDULE_CONFIG, target=target)


def test_s6_a_kill_at_any_action_leaves_no_contradiction_and_costs_no_block() -> None:
    kills = 0
    for victim in range(4):
        for point in range(24):
            world = quiet_world(point)
            world.start_all()
            world.nodes[victim].kill_in = point
            assert world.run(2, 3000), (victim, point)
            assert world.checker.violations == []
            kills += world.nodes[victim].kill_in is None
    assert kills > 50


def test_s6_a_kill_of_everybody_at_once_leaves_no_contradiction_and_costs_no_block() -> None:
    for point in range(25):
        world = quiet_world(point)
        world.start_all()
        for node in world.nodes:
            node.kill_in = point
        assert world.run(2, 5000), point
        assert world.checker.violations == []


def test_s6_a_lost_journal_is_what_the_checker_would_notice() -> None:
    """Test of the test: validators that forget their votes contradict themselves."""
    broken = []
    for seed in range(60):
        world = quiet_world(seed)
        world.medium = Medium(drop=0.4, storm_delay=(1, 150), calm_at=1500, crash=0.05)
        world.start_all()
        for _ in range(1500):
            for node in world.nodes:
                if node.core is None:
                    node.disk.clear()
            if not world.advance():
                break
        broken += world.checker.violations
    assert any(violation.startswith("S6") for violation in broken)


def test_s7_with_one_byzantine_validator_too_many_the_checker_finds_disagreement() -> None:
    for number in range(400):
        result = run_schedule(1, number, 4, 2, max_events=1200)
        if result.disagreements:
            break
    assert result.disagreements
    first = result.disagreements[0]
    blocks, both = first["blocks"], first["signed_both"]
    assert isinstance(blocks, list)
    assert isinstance(both, list)
    assert blocks[0] != blocks[1]
    assert len(both) >= 2
    assert any(violation.startswith("S1") for violation in result.violations)


def test_s7_two_final_certificates_of_one_view_convict_more_than_f_validators() -> None:
    one, other = CAST.block(1, tag=b"a"), CAST.block(1, tag=b"b")
    first = CAST.certificate(block_ballot(one, Phase.FINALIZE), (0, 1, 2))
    second = CAST.certificate(block_ballot(other, Phase.FINALIZE), (1, 2, 3))
    assert [e.first.signer for e in evidence_between(first, second)] == [1, 2]


def test_s7_a_quorum_of_two_thirds_plus_one_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test of the test: with 2f + 1 of 6 instead of n - f, f Byzantine validators can split the rest."""
    original = Simplex.__init__

    def small_quorum(self: Simplex, *arguments: object, **more: object) -> None:
        original(self, *arguments, **more)  # type: ignore[arg-type]
        self._quorum = 3

    monkeypatch.setattr(Simplex, "__init__", small_quorum)
    assert any(run_schedule(3, number, 6, 1).violations for number in range(60))


def test_s5_a_core_that_finalises_skipped_views_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Test of the test: the rule of Simplex taken away."""
    lax = dict.fromkeys(Phase, Phase.STATUS)
    monkeypatch.setattr(consensus_votes, "_CONTRADICTED_BY", lax)
    found = [v for number in range(150) for v in run_schedule(3, number, 4, 1).violations]
    assert any(violation.startswith("S5") for violation in found)


def test_v1_a_core_that_does_not_wait_for_the_verdict_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Test of the test: every block counted as valid."""

    original = BlockTree.record_verdict

    def credulous(self: BlockTree, block_hash: bytes, _: CheckState) -> None:
        original(self, block_hash, CheckState.VALID)

    monkeypatch.setattr(BlockTree, "record_verdict", credulous)
    found = [v for number in range(40) for v in run_schedule(3, number, 4, 1).violations]
    assert any(violation.startswith("V1") for violation in found)


@pytest.mark.parametrize(
    "medium",
    [
        Medium(drop=0.5, calm_at=800),
        Medium(duplicate=1.0, storm_delay=(1, 300), calm_at=800),
        Medium(replay=0.5, calm_at=800),
        Medium(partition_millis=100, calm_at=1500),
        Medium(
            drop=0.3,
            duplicate=0.3,
            storm_delay=(1, 300),
            replay=0.3,
            partition_millis=200,
            calm_at=1500,
        ),
    ],
)
def test_s8_the_log_itself_may_be_the_adversary(medium: Medium) -> None:
    for seed in range(25):
        world = quiet_world(seed)
        world.medium = medium
        world.start_all()
        assert world.run(2, 6000), seed
        assert world.checker.violations == []


def test_v1_an_invalid_block_is_skipped_at_once() -> None:
    core, block = CAST.core(0), CAST.block(1)
    actions = drive(core, CAST.propose(block), valid=False)
    assert votes_of(of(Broadcast, actions)) == [CAST.nullify(0, 1)]


@pytest.mark.parametrize("changes", [{"height": 7}, {"slot": 4}])
def test_v1_a_block_with_a_wrong_height_or_a_falling_slot_is_not_notarised(
    changes: dict[str, int],
) -> None:
    parent = CAST.block(1, slot=5)
    core = CAST.core(0)
    drive(core, CAST.propose(parent), CAST.certify(Phase.FINALIZE, parent))
    actions = drive(core, CAST.propose(CAST.block(2, parent, b"", **changes)))
    assert votes_of(of(Broadcast, actions)) == [CAST.nullify(0, 2)]


def test_v2_the_same_events_give_the_same_actions() -> None:
    block = CAST.block(1)
    events: list[Event | bytes] = [TICK, WORK, CAST.propose(block), CAST.nullify(3, 1)]
    events += [CAST.vote(i, p, block) for p in (Phase.NOTARIZE, Phase.FINALIZE) for i in (1, 2, 3)]
    assert drive(CAST.core(0), *events, at=5) == drive(CAST.core(0), *events, at=5)
    assert run_schedule(9, 3, 4, 1) == run_schedule(9, 3, 4, 1)


def test_r1_votes_under_an_old_set_are_rejected_after_reconfiguration() -> None:
    old, new = Cast(4, epoch=0), Cast(5, epoch=1)
    block = old.block(1)
    before = old.core(0)
    drive(before, old.propose(block), old.certify(Phase.FINALIZE, block))
    after = new.core(0, tip=before.tip, journal=before.durable_records())
    drive(after, *(old.nullify(i, 2) for i in (1, 2, 3)), old.certify_skip(2))
    assert after.view == 2
    assert after.dropped == {"wrong_epoch": 4}
    drive(after, new.certify_skip(2, (0, 1, 2, 3)))
    assert after.view == 3


def test_r1_another_set_under_the_same_epoch_number_does_not_verify() -> None:
    impostor = Cast(5)
    core = CAST.core(0)
    drive(core, *(impostor.nullify(i, 1) for i in (1, 2, 3)))
    assert core.dropped == {"bad_signature": 3}


def test_r1_the_new_committee_builds_on_the_last_final_block_of_the_old_one() -> None:
    old, new = Cast(4, epoch=0), Cast(4, epoch=1)
    block = old.block(1)
    before = old.core(0)
    drive(before, old.propose(block), old.certify(Phase.FINALIZE, block))
    child = new.block(2, before.tip)
    after = new.core(0, tip=before.tip)
    actions = drive(after, new.propose(child), new.certify(Phase.FINALIZE, child))
    assert [a.block.header.height for a in of(Finalized, actions)] == [2]
    assert encode_vote(new.sign(0, block_ballot(child, Phase.NOTARIZE))) in votes_of(
        of(Broadcast, actions)
    )
