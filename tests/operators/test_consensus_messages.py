from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.consensus_messages import (
    Chain,
    Status,
    chains_of,
    decode_certificate,
    decode_evidence,
    decode_message,
    encode_certificate,
    encode_chain,
    encode_evidence,
    encode_status,
    message_kind,
)
from schemas.block import Certificate, Phase, block_ballot, make_evidence
from schemas.errors import WireError
from tests.operators.consensus_cases import Cast

CAST = Cast()
PARENT = CAST.block(1)
CHILD = CAST.block(3, PARENT)
FINAL = CAST.certificate(block_ballot(CHILD, Phase.FINALIZE), (0, 1, 3))
STATUS = Status(1, 2, 3, 4, 5, 9, 7, b"\x01" * 32, 8, 2, b"signature")
MESSAGES = {
    "proposal": CAST.propose(CHILD),
    "vote": CAST.vote(2, Phase.NOTARIZE, CHILD),
    "certificate": encode_certificate(FINAL),
    "status": encode_status(STATUS),
    "chain": encode_chain(Chain((PARENT, CHILD), FINAL)),
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_every_kind_of_message_is_named(kind: str) -> None:
    assert message_kind(MESSAGES[kind]) == kind


def test_messages_survive_their_bytes() -> None:
    assert decode_message(MESSAGES["status"]) == STATUS
    assert decode_message(MESSAGES["certificate"]) == FINAL
    assert decode_message(MESSAGES["chain"]) == Chain((PARENT, CHILD), FINAL)
    bare = Chain((PARENT,), None)
    assert decode_message(encode_chain(bare)) == bare


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_cut_or_lengthened_message_is_malformed(kind: str) -> None:
    data = MESSAGES[kind]
    for changed in [data[:length] for length in range(len(data))] + [data + b"\0"]:
        with pytest.raises(WireError):
            decode_message(changed)


@given(st.binary(max_size=400))
def test_random_bytes_are_malformed_and_nothing_else_happens(data: bytes) -> None:
    for decode in (decode_message, decode_certificate, decode_evidence):
        try:
            decode(data)
        except WireError:
            continue
        pytest.fail("random bytes were accepted")


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_changed_message_is_malformed_or_another_message(kind: str) -> None:
    rng, data = Random(3), MESSAGES[kind]  # noqa: S311
    original = decode_message(data)
    for _ in range(600):
        changed = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        try:
            decoded = decode_message(bytes(changed))
        except WireError:
            continue
        assert bytes(changed) == data or decoded != original


def test_a_chain_must_be_linked_and_end_in_the_certified_block() -> None:
    stranger = CAST.block(2)
    for chain in (
        Chain((PARENT, stranger), None),
        Chain((CHILD, PARENT), None),
        Chain((PARENT,), FINAL),
        Chain((PARENT, CHILD), CAST.certificate(block_ballot(CHILD, Phase.NOTARIZE), (0, 1, 2))),
        Chain((), None),
        Chain((PARENT,) * 65, None),
    ):
        with pytest.raises(WireError, match="chain"):
            decode_message(encode_chain(chain))


def test_evidence_survives_its_bytes() -> None:
    other = CAST.block(3, PARENT, tag=b"other")
    votes = [CAST.sign(1, block_ballot(block, Phase.NOTARIZE)) for block in (CHILD, other)]
    evidence = make_evidence(*votes)
    assert decode_evidence(encode_evidence(evidence)) == evidence
    with pytest.raises(WireError):
        decode_evidence(encode_evidence(evidence)[:-1])
    with pytest.raises(WireError):
        decode_message(encode_evidence(evidence))


def test_a_vote_is_not_a_certificate() -> None:
    with pytest.raises(WireError, match="another message"):
        decode_certificate(MESSAGES["vote"])


def test_final_blocks_of_the_log_are_packed_up_to_each_certificate_of_their_own() -> None:
    grandchild = CAST.block(4, CHILD)
    own = CAST.certificate(block_ballot(grandchild, Phase.FINALIZE), (0, 1, 2))
    rows: list[tuple[object, Certificate]] = [(PARENT, FINAL), (CHILD, FINAL), (grandchild, own)]
    decoded = [decode_message(data) for data in chains_of(rows)]  # type: ignore[arg-type]
    assert decoded == [Chain((PARENT, CHILD), FINAL), Chain((grandchild,), own)]
    assert chains_of([(PARENT, FINAL)]) == []
