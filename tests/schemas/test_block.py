from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from schemas.block import (
    HEADER_BYTES,
    ZERO_HASH,
    Ballot,
    Block,
    BlockHeader,
    Certificate,
    Equivocation,
    Offence,
    Phase,
    ValidatorSet,
    Vote,
    ballot_from_bytes,
    block_ballot,
    fault_bound,
    header_from_bytes,
    make_evidence,
    nullify_ballot,
    offence_of,
    quorum_size,
)
from schemas.errors import ParameterError, WireError

PAYLOAD = b"references"
HEADER = BlockHeader(
    chain=1,
    shard=2,
    epoch=3,
    height=4,
    slot=5,
    view=7,
    parent_view=6,
    parent_hash=b"\x01" * 32,
    payload_hash=sha256(PAYLOAD).digest(),
    post_state_root=b"\x03" * 32,
    transactions_root=b"\x04" * 32,
    transaction_count=8,
    proposer=1,
)


def ballot(phase: Phase = Phase.NOTARIZE, view: int = 7, block: bytes = b"\x09" * 32) -> Ballot:
    return Ballot(1, 2, 3, phase, view, block, 6, b"\x01" * 32)


def test_s2_two_quorums_share_an_honest_validator_for_every_committee_up_to_200() -> None:
    for n in range(1, 201):
        quorum, faults = quorum_size(n), fault_bound(n)
        assert faults == (n - 1) // 3
        assert 2 * quorum - n > faults
        assert n - faults >= quorum


def test_s2_two_thirds_plus_one_would_not_do_for_every_committee() -> None:
    # 96 validators: two sets of 63 may meet in 30 only, and 31 may be Byzantine.
    assert 2 * (2 * fault_bound(96) + 1) - 96 <= fault_bound(96)
    assert quorum_size(96) == 65


def test_an_empty_committee_has_no_quorum() -> None:
    with pytest.raises(ParameterError):
        quorum_size(0)


@pytest.mark.parametrize(
    "keys", [(), (b"a", b"a"), (b"",), (b"x" * 1313,), tuple(b"%d" % i for i in range(1025))]
)
def test_a_validator_set_has_distinct_bounded_keys(keys: tuple[bytes, ...]) -> None:
    with pytest.raises(ParameterError):
        ValidatorSet(keys)


def test_the_digest_of_a_validator_set_depends_on_order_and_lengths() -> None:
    digests = {
        ValidatorSet(keys).digest
        for keys in [(b"a", b"bc"), (b"bc", b"a"), (b"ab", b"c"), (b"abc",)]
    }
    assert len(digests) == 4


def test_a_header_survives_its_bytes_and_every_byte_counts() -> None:
    data = HEADER.to_bytes()
    assert len(data) == HEADER_BYTES
    assert header_from_bytes(data) == HEADER
    hashes = set()
    for index in range(len(data)):
        changed = bytearray(data)
        changed[index] ^= 1
        hashes.add(header_from_bytes(bytes(changed)).block_hash())
    assert len(hashes) == len(data)
    assert HEADER.block_hash() not in hashes


@pytest.mark.parametrize("length", [0, HEADER_BYTES - 1, HEADER_BYTES + 1])
def test_a_header_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(WireError, match="header"):
        header_from_bytes(bytes(length))


@pytest.mark.parametrize("field", ["chain", "height", "transaction_count"])
@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_a_number_that_does_not_fit_is_refused(field: str, value: int) -> None:
    changed = {field: value}
    with pytest.raises(ParameterError):
        replace(HEADER, **changed).to_bytes()  # type: ignore[arg-type]


def test_a_block_commits_to_its_payload() -> None:
    with pytest.raises(WireError, match="payload_hash"):
        Block(HEADER, PAYLOAD + b"!")


def test_a_ballot_survives_its_bytes() -> None:
    for phase in (Phase.PROPOSE, Phase.NOTARIZE, Phase.FINALIZE):
        assert ballot_from_bytes(ballot(phase).to_bytes()) == ballot(phase)
    skip = nullify_ballot(1, 2, 3, 9)
    assert ballot_from_bytes(skip.to_bytes()) == skip


def test_a_nullify_ballot_names_no_block_and_the_others_name_one() -> None:
    with pytest.raises(WireError):
        ballot(Phase.NULLIFY)
    with pytest.raises(WireError):
        ballot(Phase.FINALIZE, block=ZERO_HASH)
    with pytest.raises(WireError):
        ballot(view=6)
    with pytest.raises(WireError):
        ballot_from_bytes(nullify_ballot(1, 2, 3, 9).to_bytes()[:-1])
    data = bytearray(ballot().to_bytes())
    data[16] = 9
    with pytest.raises(WireError, match="phase"):
        ballot_from_bytes(bytes(data))


def test_signed_bytes_differ_in_every_coordinate() -> None:
    validators, others = ValidatorSet((b"a", b"b")), ValidatorSet((b"a", b"c"))
    base = ballot()
    variants = [
        replace(base, chain=9),
        replace(base, shard=9),
        replace(base, epoch=9),
        replace(base, view=9),
        replace(base, phase=Phase.FINALIZE),
        replace(base, block_hash=b"\x08" * 32),
        replace(base, parent_view=5),
        replace(base, parent_hash=b"\x08" * 32),
    ]
    signed = {variant.signed_bytes(validators) for variant in (base, *variants)}
    assert len(signed) == 9
    assert base.signed_bytes(others) not in signed


@pytest.mark.parametrize(
    "signatures",
    [
        (),
        ((1, b"s"), (0, b"s")),
        ((0, b"s"), (0, b"s")),
        ((0, b""),),
        ((1024, b"s"),),
        ((0, b"s" * 2421),),
    ],
)
def test_a_certificate_lists_distinct_signers_in_order(
    signatures: tuple[tuple[int, bytes], ...],
) -> None:
    with pytest.raises(WireError):
        Certificate(ballot(), signatures)


def test_a_proposal_has_no_certificate() -> None:
    with pytest.raises(WireError, match="phase"):
        Certificate(ballot(Phase.PROPOSE), ((0, b"s"),))


@pytest.mark.parametrize(
    ("first", "second", "offence"),
    [
        (ballot(Phase.PROPOSE), ballot(Phase.PROPOSE, block=b"\x08" * 32), Offence.TWO_PROPOSALS),
        (ballot(), ballot(block=b"\x08" * 32), Offence.TWO_NOTARIZATIONS),
        (
            ballot(Phase.FINALIZE),
            ballot(Phase.FINALIZE, block=b"\x08" * 32),
            Offence.TWO_FINALIZATIONS,
        ),
        (ballot(Phase.FINALIZE), nullify_ballot(1, 2, 3, 7), Offence.NULLIFY_AND_FINALIZE),
    ],
)
def test_s6_two_contradicting_votes_are_evidence_in_either_order(
    first: Ballot, second: Ballot, offence: Offence
) -> None:
    one, other = Vote(first, 3, b"s"), Vote(second, 3, b"t")
    evidence = make_evidence(one, other)
    assert evidence == make_evidence(other, one)
    assert evidence.offence is offence
    assert evidence.key == (1, 2, 3, 7, 3)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ballot(), nullify_ballot(1, 2, 3, 7)),
        (ballot(), ballot(Phase.FINALIZE)),
        (ballot(), ballot()),
        (ballot(), ballot(view=8, block=b"\x08" * 32)),
    ],
)
def test_s6_votes_that_an_honest_validator_may_cast_are_no_evidence(
    first: Ballot, second: Ballot
) -> None:
    one, other = Vote(first, 3, b"s"), Vote(second, 3, b"t")
    assert offence_of(one, other) is None
    for pair in ((one, other), (other, one)):
        with pytest.raises(WireError):
            Equivocation(*pair)


def test_s6_votes_of_two_validators_are_no_evidence() -> None:
    one, other = Vote(ballot(), 3, b"s"), Vote(ballot(block=b"\x08" * 32), 4, b"t")
    assert offence_of(one, other) is None


def test_a_block_ballot_repeats_the_header() -> None:
    block = Block(HEADER, PAYLOAD)
    expected = Ballot(1, 2, 3, Phase.NOTARIZE, 7, block.hash, 6, b"\x01" * 32)
    assert block_ballot(block, Phase.NOTARIZE) == expected
