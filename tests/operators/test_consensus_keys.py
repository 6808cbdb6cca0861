from __future__ import annotations

from hashlib import sha256

from operators.application import BlockContent, Check, CheckState
from operators.consensus import Simplex
from operators.consensus_chain import genesis_tip
from operators.consensus_keys import CommitteeVerifier, ValidatorSigner
from operators.consensus_ports import (
    BlockChecked,
    Broadcast,
    BuildProposal,
    CheckBlock,
    ConsensusConfig,
    Event,
    Finalized,
    MessageReceived,
    ProposalBuilt,
    WorkAvailable,
)
from operators.consensus_votes import Committee, check_certificate
from proving.signatures import KeyPair
from schemas.block import ValidatorSet

PAIRS = [KeyPair.from_seed(sha256(b"validator %d" % index).digest()) for index in range(4)]
SET = ValidatorSet(tuple(pair.public_key for pair in PAIRS))
COMMITTEE = Committee(1, 0, 0, SET)
VERIFIER = CommitteeVerifier(SET)


def core(index: int) -> Simplex:
    return Simplex(
        COMMITTEE,
        index,
        ValidatorSigner(PAIRS[index]),
        VERIFIER,
        config=ConsensusConfig(block_interval_millis=0),
        tip=genesis_tip(1, 0),
    )


def test_four_validators_with_ml_dsa_keys_finalise_and_their_certificate_verifies() -> None:
    cores = [core(index) for index in range(4)]
    inboxes: list[list[Event]] = [[WorkAvailable(available=True)] for _ in cores]
    final: list[list[Finalized]] = [[] for _ in cores]
    while any(inboxes):
        for index, validator in enumerate(cores):
            batch, inboxes[index] = inboxes[index], []
            for action in validator.step(batch, 0):
                if isinstance(action, Broadcast):
                    for other in range(4):
                        if other != index:
                            inboxes[other].append(MessageReceived(action.message))
                elif isinstance(action, CheckBlock):
                    good = Check(CheckState.VALID)
                    inboxes[index].append(BlockChecked(action.block.hash, good))
                elif isinstance(action, BuildProposal) and action.parent_height < 3:
                    content = BlockContent(b"references", bytes(32), bytes(32), 1)
                    built = ProposalBuilt(action.view, action.parent_hash, 0, content)
                    inboxes[index].append(built)
                elif isinstance(action, Finalized):
                    final[index].append(action)
    heights = [[done.block.header.height for done in chain] for chain in final]
    assert heights == [[1, 2, 3]] * 4
    assert len({done.block.hash for chain in final for done in chain}) == 3
    for done in final[0]:
        check_certificate(done.certificate, COMMITTEE, VERIFIER)
    assert all(not validator.dropped["bad_signature"] for validator in cores)


def test_a_batch_with_a_forgery_judges_each_claim() -> None:
    signature = ValidatorSigner(PAIRS[2]).sign(b"message")
    claims = [(2, b"message", signature), (1, b"message", signature), (2, b"other", signature)]
    assert VERIFIER.verify_many(claims) == [True, False, False]
