"""Evidence of faults: each sort is found and accepted, each refusal has its case, and good blocks are never convicted."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from operators.block_payload import LinkEntry, TransactionReference, encode_payload
from operators.fault_entries import entry_word
from operators.fault_evidence import SeenBlock, UnprovableFault, make_fault
from operators.fault_judge import FaultVerdict, claim_for, claim_id, judge_fault, kind_of
from operators.fraud_state import FaultKind
from proving.ledger.partial_state import open_cells, open_state
from schemas.block import Phase
from schemas.errors import ParameterError
from schemas.fault import (
    CLAIMS,
    MAX_EVIDENCE_BYTES,
    Accused,
    BlockFlaw,
    Evidence,
    OpenedState,
    TransactionFault,
    TransitionFault,
    decode_evidence,
    encode_evidence,
)
from schemas.refusal import EvidenceRefusal
from schemas.rejection import RejectionReason
from schemas.transactions import Transaction
from schemas.units import BLOCK_TRANSACTIONS_LIMIT, SIGNATURE_BYTES, ZERO_WORD, Array
from tests.operators.fault_cases import (
    CHAIN,
    FEE,
    GENESIS,
    PARAMETERS,
    SHARD,
    Shard,
    certify,
    context,
    issue,
    maker,
    outbound,
    pair,
    register,
    shown,
    small_shard,
    transfer,
)
from tests.operators.fault_mutation import mutated, random_entries

R = RejectionReason
GOOD = (transfer(16, 17, 5, 0), transfer(16, 18, 5, 1), outbound(18, 20, 3, 0), register(9, 7))
TAKEN = (LinkEntry(1, 16, 17, 55, 0), LinkEntry(1, 17, 99, 55, 0))
SLOTS = (5, 9)
"""A slot of the window that the chain stands in, and one that opens a window."""

BAD_ENTRIES: dict[str, Transaction] = {
    "fee_too_low": transfer(16, 17, 1, 0, fee=FEE - 1),
    "expired": transfer(16, 17, 1, 0, expiry=4),
    "expiry_too_far": transfer(16, 17, 1, 0, expiry=2**20),
    "not_issuer": replace(issue(16, 5, 0), sender=16),
    "unknown_shard": outbound(16, 17, 1, 0, peer=5),
    "reserved_account": transfer(16, 3, 1, 0),
    "nonce_gap": transfer(16, 17, 1, 9),
    "nonce_replay": transfer(17, 16, 1, 0),
    "unknown_account": transfer(44, 17, 1, 0),
    "overdraft": transfer(16, 17, 10**13, 0),
    "duplicate_address": register(50, 7, address=(1).to_bytes(20, "little")),
    "duplicate_key": register(50, 7, public_key=pair(2).public_key),
    "wrong_chain": transfer(16, 17, 1, 0, chain=CHAIN + 1),
    "wrong_shard": transfer(16, 17, 1, 0, shard=SHARD + 1),
}


@pytest.fixture(scope="module")
def shard() -> Shard:
    return small_shard()


def judged(data: bytes, **facts: object) -> FaultVerdict:
    here = context(**facts)
    return judge_fault(data, claim_for(data, b"reporter", here), here)


def convict(shard: Shard, seen: SeenBlock, **facts: object) -> Evidence:
    """Returns the evidence that a watcher makes of a block, after the judge has convicted by it."""
    data = make_fault(seen, shard.ledger, context(**facts))
    assert data is not None
    assert len(data) <= MAX_EVIDENCE_BYTES
    evidence = decode_evidence(data)
    verdict = judged(data, **facts)
    assert verdict.is_fault, verdict
    assert (verdict.block, verdict.claim) == (seen.header.block_hash(), evidence.claim)
    assert (verdict.proposer, verdict.committee_epoch) == (1, 0)
    return evidence


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_a_transaction_that_is_invalid_where_it_stands_convicts_its_block(
    shard: Shard, name: str
) -> None:
    seen = shard.seal(5, [transfer(17, 16, 7, 0), BAD_ENTRIES[name]])
    evidence = convict(shard, seen)
    assert evidence.claim == name
    is_bound = name not in ("wrong_chain", "wrong_shard")  # the list's words name neither
    assert isinstance(evidence, TransactionFault if is_bound else TransitionFault)
    assert kind_of(evidence.claim) is FaultKind.TRANSACTION


def test_two_accounts_opened_alike_by_one_block_convict_it(shard: Shard) -> None:
    twin = register(51, 8, address=(50).to_bytes(20, "little"))
    assert convict(shard, shard.seal(9, [register(50, 7), twin])).claim is R.DUPLICATE_ADDRESS
    twin = register(51, 8, public_key=pair(50).public_key)
    assert convict(shard, shard.seal(9, [register(50, 7), twin])).claim is R.DUPLICATE_KEY
    issuer = register(52, 7, public_key=GENESIS.issuer_key)
    assert convict(shard, shard.seal(9, [issuer])).claim is R.DUPLICATE_KEY


def test_an_account_may_have_the_address_of_zeros(shard: Shard) -> None:
    seen = shard.seal(5, [register(0, 7)])
    assert make_fault(seen, shard.ledger, context()) is None
    data = forged_duplicate(shard, seen, 0)
    assert judged(data).refusal is EvidenceRefusal.NO_FAULT


def forged_duplicate(shard: Shard, seen: SeenBlock, old: int) -> bytes:
    """Returns evidence that the first account opened by a block is like an old one, true or not."""
    after = shard.ledger.branch()
    header = seen.header
    made = maker(seen, shard.ledger, context())
    bodies = list(made.bodies)
    after.execute_block(bodies, header.height, header.slot, GENESIS.window_of(header.slot))
    demand = made.demand(0, after)
    accounts = [a for a in demand.accounts if a.index in (old, shard.ledger.num_keys)]
    assert len(accounts) == 2
    return encode_evidence(replace(demand, claim=R.DUPLICATE_ADDRESS, body=b""))


def test_what_another_shard_cannot_have_sent_convicts(shard: Shard) -> None:
    reserved = shard.seal(5, GOOD, [LinkEntry(1, 16, 3, 55, 0)])
    assert convict(shard, reserved).claim is R.RESERVED_ACCOUNT
    foreign = shard.seal(5, GOOD, [LinkEntry(6, 16, 17, 55, 0)])
    assert convict(shard, foreign).claim is R.UNKNOWN_SHARD


def test_a_body_that_is_no_transaction_convicts(shard: Shard) -> None:
    seen = shard.seal(5, GOOD)
    body = b"\x01\x05" + GOOD[0].body()[2:]
    references = [TransactionReference(9, 0, hashlib.sha256(body).digest())]
    seen = replace(seen, payload=encode_payload(references), bodies=(body,), signatures=(b"",))
    assert convict(shard, resealed(seen)).claim is R.NON_CANONICAL


def resealed(seen: SeenBlock, **changes: object) -> SeenBlock:
    """Returns a block with another header, which the same corrupt quorum signs."""
    payload_hash = hashlib.sha256(seen.payload).digest()
    header = replace(seen.header, payload_hash=payload_hash, **changes)  # type: ignore[arg-type]
    return replace(seen, header=header, certificate=certify(header))


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        (BlockFlaw.WRONG_POST_STATE_ROOT, {"post_state_root": ZERO_WORD}),
        (BlockFlaw.WRONG_TRANSACTIONS_ROOT, {"transactions_root": ZERO_WORD}),
        (BlockFlaw.WRONG_COUNT, {"transaction_count": 99}),
        (BlockFlaw.WRONG_PLACE, {"slot": 3}),
        (BlockFlaw.WRONG_PLACE, {"slot": 2**40}),
        (BlockFlaw.WRONG_PLACE, {"height": 2}),
    ],
)
def test_a_header_that_says_something_else_convicts(
    shard: Shard, slot: int, claim: BlockFlaw, changes: dict[str, object]
) -> None:
    evidence = convict(shard, resealed(shard.seal(slot, GOOD, TAKEN), **changes))
    assert evidence.claim is claim
    is_root = claim is BlockFlaw.WRONG_POST_STATE_ROOT
    assert kind_of(claim) is (FaultKind.TRANSITION if is_root else FaultKind.TRANSACTION)


def test_a_payload_that_says_it_sends_something_else_convicts(shard: Shard) -> None:
    seen = shard.seal(5, GOOD, TAKEN)
    payload = encode_payload(
        [TransactionReference(9, i, b.digest()) for i, b in enumerate(GOOD)], TAKEN
    )
    assert convict(shard, resealed(replace(seen, payload=payload))).claim is BlockFlaw.WRONG_SENT
    seen = resealed(replace(seen, payload=seen.payload + b"\0"))
    assert convict(shard, seen).claim is BlockFlaw.MALFORMED_PAYLOAD


def test_a_shards_first_block_is_judged_against_the_genesis() -> None:
    first = Shard()
    good = first.seal(0, [register(1, 0), register(2, 1)])
    assert make_fault(good, first.ledger, context()) is None
    bad = first.seal(0, [register(1, 0), register(2, 3)])
    assert convict(first, bad).claim is R.NONCE_GAP
    bad = resealed(good, post_state_root=ZERO_WORD)
    assert convict(first, bad).claim is BlockFlaw.WRONG_POST_STATE_ROOT


def test_a_height_above_the_parents_is_no_fault_because_reverted_ones_are_not_used_again(
    shard: Shard,
) -> None:
    seen = shard.seal(5, GOOD)
    evidence = TransitionFault(
        Accused(replace(seen.header, height=9), seen.parent),
        BlockFlaw.WRONG_PLACE,
        b"",
        (),
        0,
        b"",
        (),
        None,
    )
    header = evidence.accused.header
    verdict = judged(encode_evidence(evidence), final_blocks={header.block_hash()})
    assert verdict.refusal is EvidenceRefusal.NO_FAULT


@pytest.mark.parametrize("place", [0, 3])
def test_a_signature_that_nobody_shows_in_time_convicts_and_one_that_is_shown_does_not(
    shard: Shard, place: int
) -> None:
    seen = shard.seal(5, GOOD, TAKEN)
    forged = list(seen.signatures)
    forged[place] = bytes(SIGNATURE_BYTES)
    bad = replace(seen, signatures=tuple(forged))
    data = make_fault(bad, shard.ledger, context())
    assert data is not None
    assert judged(data).is_open
    assert judged(data, is_answer_time_over=True).is_fault
    for is_over in (False, True):
        verdict = judged(data, is_answer_time_over=is_over, shown_signatures=shown(seen))
        assert verdict.refusal is EvidenceRefusal.ANSWERED
    still_bad = judged(data, is_answer_time_over=True, shown_signatures=shown(bad))
    assert still_bad.is_fault
    assert make_fault(bad, shard.ledger, context(shown_signatures=shown(seen))) is None


def test_a_sender_that_its_own_block_opened_is_asked_for_a_signature_too(shard: Shard) -> None:
    seen = shard.seal(5, [register(9, 7), transfer(16, 20, 10**8, 0), transfer(20, 16, 5, 0)])
    assert make_fault(seen, shard.ledger, context()) is None
    bad = replace(seen, signatures=(*seen.signatures[:2], bytes(SIGNATURE_BYTES)))
    evidence = convict(shard, bad, is_answer_time_over=True)
    assert isinstance(evidence, TransactionFault)
    assert evidence.state is OpenedState.AFTER


def test_what_does_not_fit_64_kilobytes_is_refused_by_name(shard: Shard) -> None:
    seen = shard.seal(5, [register(100 + i, 7 + i) for i in range(50)])
    bad = resealed(seen, post_state_root=ZERO_WORD)
    with pytest.raises(UnprovableFault) as caught:
        make_fault(bad, shard.ledger, context())
    assert caught.value.claim is BlockFlaw.WRONG_POST_STATE_ROOT
    assert caught.value.refusal is EvidenceRefusal.OVERSIZED
    far = [*(register(100 + i, 7 + i) for i in range(50)), transfer(16, 17, 1, 9)]
    small = convict(shard, shard.seal(5, far))  # one entry of the same block fits
    assert small.claim is R.NONCE_GAP


def test_a_watcher_is_told_when_what_it_brings_is_not_the_blocks(shard: Shard) -> None:
    seen = shard.seal(5, GOOD)
    for wrong in (
        replace(seen, payload=seen.payload + b"\0"),
        replace(seen, bodies=seen.bodies[1:]),
        replace(seen, parent=None),
    ):
        with pytest.raises(ParameterError):
            make_fault(wrong, shard.ledger, context())


def bad_root(shard: Shard, slot: int = 5) -> tuple[SeenBlock, bytes]:
    seen = shard.seal(slot, GOOD, TAKEN, post_state_root=ZERO_WORD)
    data = make_fault(seen, shard.ledger, context())
    assert data is not None
    return seen, data


def changed(data: bytes, **changes: object) -> bytes:
    return encode_evidence(replace(decode_evidence(data), **changes))  # type: ignore[arg-type]


def accused(data: bytes, **changes: object) -> bytes:
    return changed(data, accused=replace(decode_evidence(data).accused, **changes))  # type: ignore[arg-type]


def _oversized(_: Shard) -> FaultVerdict:
    data = bytes(MAX_EVIDENCE_BYTES + 1)
    claim = claim_for(bad_root(small_shard())[1], b"r", context())
    verdict = judge_fault(data, claim, context())
    assert verdict.evidence == b""  # not even hashed
    return verdict


def _malformed(shard: Shard) -> FaultVerdict:
    _, data = bad_root(shard)
    return judge_fault(data[:-1], claim_for(data, b"r", context()), context())


def _replayed(shard: Shard) -> FaultVerdict:
    _, data = bad_root(shard)
    return judged(data, judged={judged(data).evidence})


def _wrong_chain(shard: Shard) -> FaultVerdict:
    return judged(bad_root(shard)[1], parameters=replace(PARAMETERS, shard=1))


def _wrong_block(shard: Shard) -> FaultVerdict:
    _, data = bad_root(shard)
    other = claim_for(bad_root(shard, 9)[1], b"r", context())
    return judge_fault(data, other, context())


def _wrong_epoch(shard: Shard) -> FaultVerdict:
    _, data = bad_root(shard)
    claim = claim_for(data, b"r", context())
    return judge_fault(data, replace(claim, epoch=claim.epoch + 1), context())


def _wrong_parent(shard: Shard) -> FaultVerdict:
    seen, data = bad_root(shard)
    return judged(accused(data, parent=seen.header))


def _wrong_claim(shard: Shard) -> FaultVerdict:
    return judged(changed(bad_root(shard)[1], claim=BlockFlaw.WRONG_COUNT))


def _uncertified(shard: Shard) -> FaultVerdict:
    return judged(accused(bad_root(shard)[1], certificate=b""))


def _foreign_certificate(shard: Shard) -> FaultVerdict:
    seen, data = bad_root(shard)
    other = shard.seal(9, GOOD)
    assert other.header != seen.header
    return judged(accused(data, certificate=other.certificate))


def _wrong_path(shard: Shard) -> FaultVerdict:
    _, data = bad_root(shard)
    evidence = decode_evidence(data)
    return judged(changed(data, siblings=evidence.siblings[::-1]))


def _incomplete(shard: Shard) -> FaultVerdict:
    return judged(changed(bad_root(shard)[1], opening=None))


def _no_fault(shard: Shard) -> FaultVerdict:
    made = maker(shard.seal(5, GOOD, TAKEN), shard.ledger, context())
    return judged(encode_evidence(made.whole_block(BlockFlaw.WRONG_POST_STATE_ROOT)))


def _unsigned(shard: Shard) -> tuple[SeenBlock, bytes]:
    seen = shard.seal(5, GOOD)
    bad = replace(seen, signatures=(bytes(SIGNATURE_BYTES), *seen.signatures[1:]))
    data = make_fault(bad, shard.ledger, context())
    assert data is not None
    return seen, data


def _answered(shard: Shard) -> FaultVerdict:
    seen, data = _unsigned(shard)
    return judged(data, shown_signatures=shown(seen))


def _answer_awaited(shard: Shard) -> FaultVerdict:
    return judged(_unsigned(shard)[1])


REFUSALS: dict[str, Callable[[Shard], FaultVerdict]] = {
    "oversized": _oversized,
    "malformed": _malformed,
    "replayed": _replayed,
    "wrong_chain": _wrong_chain,
    "wrong_block": _wrong_block,
    "wrong_epoch": _wrong_epoch,
    "wrong_parent": _wrong_parent,
    "wrong_claim": _wrong_claim,
    "uncertified": _uncertified,
    "foreign_certificate": _foreign_certificate,
    "wrong_path": _wrong_path,
    "incomplete": _incomplete,
    "no_fault": _no_fault,
    "answered": _answered,
    "answer_awaited": _answer_awaited,
}


@pytest.mark.parametrize("refusal", EvidenceRefusal)
def test_each_refusal_has_evidence_that_meets_it(shard: Shard, refusal: EvidenceRefusal) -> None:
    verdict = REFUSALS[refusal](shard)
    assert verdict.refusal is refusal, verdict
    assert not verdict.is_fault
    assert verdict.is_open is (refusal is EvidenceRefusal.ANSWER_AWAITED)


def test_a_certificate_counts_only_if_a_quorum_of_the_committee_made_the_block_final(
    shard: Shard,
) -> None:
    seen, data = bad_root(shard)
    assert judged(data).is_fault
    good = certify(seen.header)
    broken = good[:-1] + bytes([good[-1] ^ 1])
    for certificate in (
        certify(seen.header, (0, 1)),
        certify(seen.header, phase=Phase.NOTARIZE),
        broken,
        b"certificate",
    ):
        verdict = judged(accused(data, certificate=certificate))
        assert verdict.refusal is EvidenceRefusal.FOREIGN_CERTIFICATE
    recorded = {seen.header.block_hash()}
    assert judged(accused(data, certificate=b""), final_blocks=recorded).is_fault
    assert judged(data, committees={}).refusal is EvidenceRefusal.FOREIGN_CERTIFICATE


def test_a_claim_is_tied_to_its_evidence_and_reporter(shard: Shard) -> None:
    _, data = bad_root(shard)
    claim = claim_for(data, b"one", context())
    stolen = replace(claim, reporter=b"two")
    assert judge_fault(data, stolen, context()).refusal is EvidenceRefusal.WRONG_CLAIM
    short = replace(claim, evidence_bytes=len(data) - 1)
    assert judge_fault(data, short, context()).refusal is EvidenceRefusal.WRONG_CLAIM
    kind = FaultKind.TRANSACTION
    other = replace(claim, kind=kind, id=claim_id(b"one", kind, claim.block, data))
    assert judge_fault(data, other, context()).refusal is EvidenceRefusal.WRONG_CLAIM


def test_state_dependent_claims_need_every_entry_before(shard: Shard) -> None:
    """With an entry before left out, an honest nonce would look like a gap."""
    seen = shard.seal(5, [transfer(16, 17, 1, 0), transfer(16, 17, 1, 1), transfer(16, 17, 1, 2)])
    made = maker(seen, shard.ledger, context())
    _, whole, _ = made.of_entry((2, R.NONCE_GAP))
    assert judged(encode_evidence(whole)).refusal is EvidenceRefusal.NO_FAULT
    bad = shard.seal(5, [transfer(16, 17, 1, 0), transfer(16, 17, 1, 1), transfer(16, 17, 1, 7)])
    made = maker(bad, shard.ledger, context())
    alone, whole, _ = made.of_entry((2, R.NONCE_GAP))
    assert isinstance(alone, TransactionFault)
    assert isinstance(whole, TransactionFault)
    assert judged(encode_evidence(whole)).is_fault
    forged = replace(alone, state=whole.state, opening=whole.opening)
    assert judged(encode_evidence(forged)).refusal is EvidenceRefusal.INCOMPLETE


def test_a_demand_for_a_body_of_another_chain_is_refused(shard: Shard) -> None:
    """Nobody has its signature, and the words of the list do not say which chain."""
    _, data = _unsigned(shard)
    for change in ({"chain": CHAIN + 1}, {"shard": SHARD + 1}):
        body = replace(GOOD[0], **change).body()  # type: ignore[arg-type]
        verdict = judged(changed(data, body=body), is_answer_time_over=True)
        assert verdict.refusal is EvidenceRefusal.WRONG_PATH


def no_conviction(shard: Shard, seen: SeenBlock, rng: random.Random, rounds: int) -> int:
    """Brings every claim against a good block, true in form, and then mutations of those; returns how many."""
    header = seen.header
    facts = context(
        is_answer_time_over=True,
        shown_signatures=shown(seen),
        final_blocks={header.block_hash()},
    )
    assert make_fault(seen, shard.ledger, facts) is None
    made = maker(seen, shard.ledger, facts)
    after = shard.ledger.branch()
    window = GENESIS.window_of(header.slot)
    after.execute_block(made.entries, header.height, header.slot, window)
    places = range(len(made.entries))
    seeds: list[Evidence] = [made.whole_block(claim) for claim in CLAIMS.values()]
    for place in rng.sample(places, min(len(places), 3)):
        for claim in RejectionReason:
            seeds += list(made.of_entry((place, claim)))[:-1]
        if place >= len(made.entries) - len(made.bodies):
            seeds.append(made.demand(place, after))
    count = 0
    for evidence in seeds:
        data = encode_evidence(evidence)
        assert not judge_fault(data, claim_for(data, b"r", facts), facts).is_fault
        count += 1
    for _ in range(rounds):
        claim_data, data = mutated(rng, seeds)
        verdict = judge_fault(data, claim_for(claim_data, b"r", facts), facts)
        assert not verdict.is_fault, (data.hex(), verdict)
        count += 1
    return count


@pytest.mark.parametrize("seed", [0])
def test_no_evidence_convicts_a_good_block(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - reproducible
    shard = small_shard()
    entries, received = random_entries(rng, shard, 5, 8)
    assert no_conviction(shard, shard.seal(5, entries, received), rng, 100) > 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_no_evidence_convicts_a_long_chain_of_good_blocks(seed: int) -> None:
    rng = random.Random(100 + seed)  # noqa: S311 - reproducible
    shard = small_shard()
    slot = 5
    for _ in range(6):
        slot += rng.choice((0, 1, 1, 5))
        entries, received = random_entries(rng, shard, slot, 12)
        no_conviction(shard, shard.seal(slot, entries, received), rng, 500)
        shard.extend(slot, entries, received)


@pytest.mark.parametrize("seed", [0])
def test_mutations_of_true_evidence_convict_no_other_block(shard: Shard, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - reproducible
    seen, data = bad_root(shard)
    other = make_fault(shard.seal(5, [BAD_ENTRIES["nonce_gap"]]), shard.ledger, context())
    assert other is not None
    seeds = [decode_evidence(data), decode_evidence(other)]
    guilty = {one.accused.header.block_hash() for one in seeds}
    for _ in range(60):
        claim_data, changed_data = mutated(rng, seeds)
        verdict = judge_fault(changed_data, claim_for(claim_data, b"r", context()), context())
        assert not verdict.is_fault or verdict.block in guilty
    assert seen.header.block_hash() in guilty
    assert len(seen.bodies) < BLOCK_TRANSACTIONS_LIMIT


def test_forged_parts_against_a_good_block_are_each_refused(shard: Shard) -> None:
    """Each of these would convict if one check were left out."""
    entries = [transfer(16, 17, 5, 0), transfer(17, 18, 5, 0)]
    seen = shard.seal(5, entries)
    facts = context(is_answer_time_over=True, shown_signatures=shown(seen))
    made = maker(seen, shard.ledger, facts)
    alone, in_state, _ = made.of_entry((0, R.EXPIRED))
    whole = made.whole_block(BlockFlaw.WRONG_TRANSACTIONS_ROOT)
    demand = made.demand(0, shard.ledger.branch())
    assert isinstance(alone, TransactionFault)
    assert isinstance(in_state, TransactionFault)
    assert in_state.opening is not None
    assert whole.opening is not None
    path, lacking = EvidenceRefusal.WRONG_PATH, EvidenceRefusal.INCOMPLETE
    expired = entry_word(replace(entries[0], expiry=4), 17)
    cheap = replace(entries[0], fee=0).body()
    other = replace(demand.accounts[0], public_key=pair(2).public_key)
    end = alone.start + len(entries)
    tree = made._list
    earlier = replace(
        alone,
        claim=R.KIND_NOT_SUPPORTED,
        start=alone.start - 1,
        closing=tree.cell(end - 1),
        words=((0, tree.cell(alone.start - 1)),),
        siblings=tuple(tree.multiproof([alone.start - 1, end - 1])),
    )
    parents = replace(  # an entry of the block before, met by the state after it
        alone,
        claim=R.NONCE_REPLAY,
        start=alone.start - 3,
        closing=tree.cell(alone.start - 1),
        words=((0, tree.cell(alone.start - 3)),),
        siblings=tuple(tree.multiproof([alone.start - 3, alone.start - 1])),
        state=OpenedState.BEFORE,
        opening=open_state(shard.ledger, {Array.ACC: [0, 17]}),
    )
    behind = replace(
        whole,
        sequence=end + 2,
        closing=ZERO_WORD,
        siblings=tuple(
            shard.ledger.trees[Array.TXS].multiproof(range(end + 1, end + 3 + len(entries)))
        ),
    )
    account = whole.opening.array(Array.ACC)
    fewer = open_cells(shard.ledger, Array.ACC, [index for index, _ in account.cells][:-1])
    few = replace(whole.opening, arrays=(fewer, *whole.opening.arrays[1:]))
    forged: list[tuple[Evidence, EvidenceRefusal]] = [
        (earlier, path),
        (parents, path),
        (replace(alone, words=((0, expired),)), path),
        (
            replace(in_state, claim=R.UNKNOWN_ACCOUNT, opening=replace(in_state.opening, keys=16)),
            path,
        ),
        (replace(in_state, state=OpenedState.AFTER), lacking),
        (replace(demand, accounts=(other,)), path),
        (replace(whole, claim=R.FEE_TOO_LOW, bodies=(cheap, *whole.bodies[1:])), path),
        (replace(whole, opening=few), lacking),
        (behind, path),
    ]
    for evidence, refusal in forged:
        data = encode_evidence(evidence)
        verdict = judge_fault(data, claim_for(data, b"r", facts), facts)
        assert verdict.refusal is refusal, (evidence.claim, verdict)
