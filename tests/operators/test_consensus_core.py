from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from operators.application import BlockContent, Check, CheckState
from operators.consensus_messages import (
    Status,
    encode_proposal,
    encode_status,
    encode_vote,
)
from operators.consensus_ports import (
    Alarm,
    AlarmReason,
    BlockChecked,
    Broadcast,
    BuildProposal,
    CheckBlock,
    ConsensusConfig,
    Evidence,
    Finalized,
    Journal,
    MessageReceived,
    ProposalBuilt,
    ProposalUnavailable,
    SetTimer,
    WorkAvailable,
)
from schemas.block import Block, Phase, Proposal
from schemas.errors import ParameterError
from tests.operators.consensus_cases import CONFIG, TICK, WORK, Cast, drive, of

CAST = Cast()


def votes_of(actions: list[Broadcast]) -> list[bytes]:
    return [action.message for action in actions if action.kind == "vote"]


def test_a_committee_of_one_finalises_alone_at_once() -> None:
    cast = Cast(1)
    actions = drive(cast.core(0), TICK, WORK)
    assert [a.block.header.height for a in of(Finalized, actions)] == [1]


def test_a_committee_of_one_that_is_killed_before_it_reports_finality_reports_it_again() -> None:
    cast = Cast(1)
    first = cast.core(0)
    done = drive(first, TICK, WORK)
    records = [record for action in of(Journal, done) for record in action.records]
    again = drive(cast.core(0, journal=records), TICK)
    assert of(Finalized, again) == of(Finalized, done)


def test_four_votes_take_a_block_from_proposal_to_finality() -> None:
    core, block = CAST.core(0), CAST.block(1)
    actions = drive(core, CAST.propose(block))
    assert votes_of(of(Broadcast, actions)) == [CAST.vote(0, Phase.NOTARIZE, block)]
    actions = drive(core, *(CAST.vote(i, Phase.NOTARIZE, block) for i in (1, 2)))
    assert votes_of(of(Broadcast, actions)) == [CAST.vote(0, Phase.FINALIZE, block)]
    assert core.view == 2
    actions = drive(core, *(CAST.vote(i, Phase.FINALIZE, block) for i in (1, 2)))
    assert [(a.block, a.certificate.signers) for a in of(Finalized, actions)] == [
        (block, (0, 1, 2))
    ]
    assert core.tip.hash == block.hash


def test_every_own_signature_is_journaled_before_it_is_published() -> None:
    core, block = CAST.core(0), CAST.block(1)
    votes = [
        CAST.vote(i, phase, block) for phase in (Phase.NOTARIZE, Phase.FINALIZE) for i in (1, 2)
    ]
    actions = drive(core, CAST.propose(block), *votes)
    journaled: set[bytes] = set()
    published = 0
    for action in actions:
        if isinstance(action, Journal):
            journaled.update(action.records)
        elif isinstance(action, Broadcast) and action.kind == "vote":
            assert action.message in journaled
            published += 1
    assert published == 2


def test_a_forged_vote_in_a_batch_does_not_spoil_the_others() -> None:
    core, block = CAST.core(0), CAST.block(1)
    drive(core, CAST.propose(block))
    honest = [CAST.vote(i, Phase.NOTARIZE, block) for i in (1, 2)]
    forged = bytearray(CAST.vote(3, Phase.NOTARIZE, block))
    forged[-1] ^= 1
    batch = [MessageReceived(m) for m in (honest[0], bytes(forged), honest[1])]
    core.step(batch, 0)
    assert core.view == 2
    assert core.dropped == {"bad_signature": 1}


def test_garbage_is_counted_by_reason_and_changes_nothing() -> None:
    core, block, rng = CAST.core(0), CAST.block(1), Random(1)  # noqa: S311
    vote = CAST.sign(1, replace(CAST.skip(1), chain=9))
    far = CAST.nullify(1, 1 + CONFIG.view_lookahead + 1)
    block_2 = CAST.block(2)
    stolen = Block(replace(block_2.header, proposer=3), block_2.payload)
    wrong_leader = Proposal(stolen, CAST.sign(1, CAST.skip(2)).signature)
    messages = [rng.randbytes(length) for length in range(64)]
    messages += [encode_vote(vote), far, encode_proposal(wrong_leader)]
    messages += [encode_vote(replace(CAST.sign(1, CAST.skip(1)), signer=77))]
    assert drive(core, *messages) == [SetTimer(CONFIG.resend_millis)]
    assert core.dropped == {
        "malformed": 64,
        "wrong_chain": 1,
        "far_view": 1,
        "not_leader": 1,
        "unknown_signer": 1,
    }
    assert core.view == 1
    assert core.durable_records() == ()
    assert of(Broadcast, drive(core, CAST.propose(block))) != []


def test_what_one_validator_can_make_others_keep_is_bounded() -> None:
    core = CAST.core(0)
    for view in range(1, 400):
        for tag in range(5):
            block = CAST.block(view, tag=b"%d" % tag)
            drive(core, CAST.vote(3, Phase.NOTARIZE, block), CAST.vote(3, Phase.FINALIZE, block))
            if CAST.committee.leader(view) == 3:
                drive(core, CAST.propose(block))
        drive(core, CAST.nullify(3, view))
    views = 1 + CONFIG.view_lookahead
    assert len(core.state_lines()) <= views * 8 + 8


def test_an_idle_validator_is_silent_after_its_first_questions() -> None:
    core = CAST.core(0)
    clock, sent = 0, 0
    for _ in range(50):
        actions = drive(core, TICK, at=clock)
        sent += len(of(Broadcast, actions))
        timers = of(SetTimer, actions)
        if timers and timers[-1].at_millis is None:
            break
        clock += 1000
    assert sent == 3
    assert drive(core, TICK, at=clock + 10**9) == []


def test_a_leader_waits_for_work_and_proposes_on_the_final_tip() -> None:
    core = CAST.core(1)
    assert of(BuildProposal, drive(core, TICK)) == []
    request = of(BuildProposal, core.step([WORK], 5))
    assert request == [BuildProposal(1, CAST.genesis.hash, 0, 0, required=False)]


def test_a_leader_is_asked_for_an_empty_block_when_its_parent_does_not_become_final() -> None:
    core, block = CAST.core(2), CAST.block(1)
    actions = drive(core, CAST.propose(block), CAST.certify(Phase.NOTARIZE, block, (0, 1, 3)))
    assert of(BuildProposal, actions) == []
    request = of(BuildProposal, core.step([TICK], CONFIG.empty_delay_millis))
    assert request == [BuildProposal(2, block.hash, 1, 0, required=True)]


def test_blocks_are_paced() -> None:
    core, block = CAST.core(2), CAST.block(1)
    drive(core, WORK, CAST.propose(block), at=100)
    actions = drive(core, CAST.certify(Phase.NOTARIZE, block, (0, 1, 3)), at=110)
    assert of(BuildProposal, actions) == []
    assert of(SetTimer, actions)[-1] == SetTimer(100 + CONFIG.block_interval_millis)
    assert len(of(BuildProposal, core.step([TICK], 150))) == 1


def test_a_leader_with_nothing_to_propose_gives_its_view_up_when_others_are_waiting() -> None:
    core = CAST.core(1)
    core.step([WORK], 0)
    core.step([MessageReceived(CAST.nullify(2, 1))], 1)
    actions = core.step([ProposalUnavailable(1)], 2)
    assert votes_of(of(Broadcast, actions)) == [CAST.nullify(1, 1)]


def test_an_answer_for_another_view_or_parent_is_ignored_and_a_falling_slot_is_an_error() -> None:
    core = CAST.core(1)
    (request,) = of(BuildProposal, core.step([WORK], 0))
    built = drive(CAST.core(1), WORK)
    content = next(iter(of(CheckBlock, built))).block
    answer = ProposalBuilt(
        request.view, b"\x05" * 32, 0, BlockContent(content.payload, bytes(32), bytes(32), 0)
    )
    assert of(Broadcast, core.step([answer], 0)) == []
    assert of(Broadcast, core.step([replace(answer, view=9)], 0)) == []
    low = replace(answer, parent_hash=request.parent_hash, slot=-1)
    with pytest.raises(ParameterError, match="slot"):
        core.step([low], 0)


def test_a_missing_block_is_checked_again_and_voted_for_when_it_is_complete() -> None:
    core, block = CAST.core(0), CAST.block(1)
    (check,) = of(CheckBlock, core.step([MessageReceived(CAST.propose(block))], 0))
    core.step([BlockChecked(check.block.hash, Check(CheckState.MISSING, "transactions"))], 1)
    again = of(CheckBlock, core.step([TICK], CONFIG.resend_millis))
    assert again == [check]
    actions = core.step([BlockChecked(block.hash, Check(CheckState.VALID))], 400)
    assert CAST.vote(0, Phase.NOTARIZE, block) in votes_of(of(Broadcast, actions))


def test_a_late_verdict_may_come_without_being_asked_again() -> None:
    core, block = CAST.core(0), CAST.block(1)
    core.step([MessageReceived(CAST.propose(block))], 0)
    core.step([BlockChecked(block.hash, Check(CheckState.MISSING))], 1)
    actions = core.step([BlockChecked(block.hash, Check(CheckState.VALID))], 2)
    assert votes_of(of(Broadcast, actions)) == [CAST.vote(0, Phase.NOTARIZE, block)]


def test_two_proposals_of_one_leader_are_evidence_once_and_one_vote() -> None:
    core = CAST.core(0)
    blocks = [CAST.block(1, tag=tag) for tag in (b"a", b"b", b"c")]
    actions = drive(core, *(CAST.propose(block) for block in blocks))
    assert [e.equivocation.first.signer for e in of(Evidence, actions)] == [1]
    assert votes_of(of(Broadcast, actions)) == [CAST.vote(0, Phase.NOTARIZE, blocks[0])]
    assert core.dropped == {"surplus_proposal": 1}


def test_conflicting_certificates_halt_the_core_with_both_in_hand() -> None:
    core = CAST.core(0)
    one, other = CAST.block(1, tag=b"a"), CAST.block(1, tag=b"b")
    actions = drive(core, CAST.certify(Phase.NOTARIZE, one), CAST.certify(Phase.NOTARIZE, other))
    (alarm,) = of(Alarm, actions)
    assert alarm.reason is AlarmReason.CONFLICTING_CERTIFICATES
    assert [c.ballot.block_hash for c in alarm.certificates] == [one.hash, other.hash]
    assert core.is_halted
    assert drive(core, TICK, WORK, at=10**6) == []


def test_a_final_block_that_the_application_refuses_halts_the_core() -> None:
    core, block = CAST.core(0), CAST.block(1)
    actions = drive(core, CAST.propose(block), CAST.certify(Phase.FINALIZE, block), valid=False)
    assert [a.reason for a in of(Alarm, actions)] == [AlarmReason.FINAL_BLOCK_INVALID]
    assert of(Finalized, actions) == []


def test_a_finality_beside_the_final_tip_halts_the_core() -> None:
    block = CAST.block(1)
    core, other = CAST.core(0), CAST.block(2, tag=b"fork")
    drive(core, CAST.propose(block), CAST.certify(Phase.FINALIZE, block))
    actions = drive(core, CAST.propose(other), CAST.certify(Phase.FINALIZE, other))
    assert [a.reason for a in of(Alarm, actions)] == [AlarmReason.FORKED_FINALITY]


def test_a_key_that_is_used_elsewhere_is_noticed() -> None:
    core, block = CAST.core(0), CAST.block(1)
    drive(core, CAST.propose(block))
    other = CAST.block(1, tag=b"other")
    actions = drive(core, CAST.vote(0, Phase.NOTARIZE, other))
    assert [a.reason for a in of(Alarm, actions)] == [AlarmReason.OWN_KEY_USED_ELSEWHERE]


def test_an_own_vote_that_the_journal_lost_binds_when_it_is_heard_again() -> None:
    core, block = CAST.core(0), CAST.block(1)
    actions = drive(core, CAST.nullify(0, 1), CAST.propose(block))
    assert votes_of(of(Broadcast, actions)) == []


def test_an_observer_follows_and_never_signs() -> None:
    core, block = CAST.core(None), CAST.block(1)
    actions = drive(
        core, TICK, WORK, CAST.propose(block), CAST.certify(Phase.FINALIZE, block), at=10**5
    )
    assert [a.block for a in of(Finalized, actions)] == [block]
    assert of(Broadcast, actions) == []
    assert of(Journal, actions) == []


def test_a_status_is_answered_once_per_interval_and_only_to_one_that_is_behind() -> None:
    core, block = CAST.core(0), CAST.block(1)
    drive(core, CAST.propose(block), CAST.certify(Phase.FINALIZE, block))
    behind = status_of(1, height=0, view=1)
    assert [a.kind for a in of(Broadcast, drive(core, behind, at=1000))] == ["chain"]
    assert of(Broadcast, drive(core, behind, at=1001)) == []
    assert of(Broadcast, drive(core, status_of(2, height=1, view=2), at=1002)) == []


def status_of(signer: int, height: int, view: int) -> bytes:
    status = Status(1, 0, 0, height, view - 1, view, view, bytes(32), 1, signer, b"")
    signed = status.signed_bytes(CAST.committee.validators)
    return encode_status(replace(status, signature=CAST.keys.sign(signer, signed)))


def test_work_that_is_gone_stops_the_view_timer_from_being_armed_again() -> None:
    core = CAST.core(0)
    core.step([WorkAvailable(available=False)], 0)
    assert of(Broadcast, core.step([TICK], 10)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"view_timeout_millis": 0},
        {"max_timeout_millis": 10},
        {"max_resend_millis": 10},
        {"chain_blocks": 65},
        {"block_interval_millis": -1},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ParameterError):
        ConsensusConfig(**changes)


def test_an_index_outside_the_committee_is_refused() -> None:
    with pytest.raises(ParameterError, match="validator 4"):
        CAST.core(4)
