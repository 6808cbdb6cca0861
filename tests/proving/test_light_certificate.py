"""The certificate of a day: what a quorum signed is accepted, and every other thing refused by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipelines.sample_votes import COUNT, QUORUM, Voted, committee, pair
from proving.light.certificate import (
    MAX_HEADERS,
    CertifiedDay,
    DayCertificate,
    check_certificate,
    decode_certificate,
)
from proving.light.checkpoint import Checkpoint, check_link, checkpoint_of, decode_checkpoint
from proving.light.errors import ProofError, ProofMalformed, ProofRejected
from proving.light.flaws import DayFlaw
from proving.light.signature_check import PLAIN_PYTHON, SignatureCheck, best_signature_check
from schemas.block import Phase, ValidatorSet
from schemas.errors import ParameterError
from schemas.run import RunStatement
from schemas.topics import BEACON_SHARD
from schemas.validators import validators_word
from tests.suites.day_votes import statement
from tests.suites.proven_days import HASHER

FAST = best_signature_check()
RUN = RunStatement.from_bytes(statement().to_bytes())
WORD = statement().digest(HASHER)
GOOD = Voted(RUN)
MUTATIONS = 300
"""Random mutations in the default tier; the slow tier makes thousands."""


def refused(certificate: DayCertificate, flaw: DayFlaw) -> None:
    """Checks that a certificate is refused for a reason, also after a way through its bytes."""
    with pytest.raises(ProofRejected) as error:
        check_certificate(decode_certificate(certificate.to_bytes()), FAST, WORD)
    assert error.value.reason is flaw


@pytest.mark.parametrize("above", [0, 1, 3])
@pytest.mark.parametrize("signatures", [FAST, PLAIN_PYTHON], ids=lambda one: one.name)
def test_a_quorums_certificate_holds(above: int, signatures: SignatureCheck) -> None:
    certificate = Voted(RUN, above=above).certificate()
    data = certificate.to_bytes()
    assert decode_certificate(data) == certificate
    assert certificate.to_bytes() == data
    found = check_certificate(decode_certificate(data), signatures, WORD)
    assert found == CertifiedDay(RUN, 5, COUNT, QUORUM)
    assert committee().quorum == QUORUM


def test_plain_python_checks_the_same() -> None:
    certificate = GOOD.certificate()
    assert check_certificate(certificate, PLAIN_PYTHON, WORD).votes == QUORUM
    votes = (*certificate.votes[:-1], (3, certificate.votes[0][1]))
    with pytest.raises(ProofRejected) as error:
        check_certificate(replace(certificate, votes=votes), PLAIN_PYTHON, WORD)
    assert error.value.reason is DayFlaw.BAD_SIGNATURE


def test_a_foreign_committee_is_refused() -> None:
    """Other keys that sign everything rightly: the statement names other validators."""
    refused(Voted(RUN, first=COUNT).certificate(), DayFlaw.FOREIGN_VALIDATORS)
    certificate = GOOD.certificate()
    keys = (*committee().keys[:-1], pair(99).public_key)
    refused(replace(certificate, validators=ValidatorSet(keys)), DayFlaw.FOREIGN_VALIDATORS)
    turned = ValidatorSet(committee().keys[::-1])
    refused(replace(certificate, validators=turned), DayFlaw.FOREIGN_VALIDATORS)


def test_a_foreign_committees_own_statement_is_not_the_proofs() -> None:
    foreign = replace(RUN, validators=validators_word(committee(COUNT).keys))
    refused(Voted(foreign, first=COUNT).certificate(), DayFlaw.OTHER_STATEMENT)


def test_too_few_votes_are_refused() -> None:
    for signers in ((), (0,), (1, 2)):
        refused(replace(GOOD.certificate(), votes=GOOD.votes(signers)), DayFlaw.TOO_FEW_VOTES)


def test_duplicate_votes_are_no_certificate() -> None:
    first, second, third = GOOD.votes()
    for votes in ((first, first, second), (second, first, third), (first, second, second)):
        data = replace(GOOD.certificate(), votes=votes).to_bytes()
        with pytest.raises(ProofMalformed) as error:
            decode_certificate(data)
        assert error.value.reason is DayFlaw.MALFORMED
        assert error.value.where == "certificate.signer"


def test_a_vote_counts_for_its_signer_alone() -> None:
    first, second, third = GOOD.votes()
    refused(
        replace(GOOD.certificate(), votes=(first, second, (3, second[1]))), DayFlaw.BAD_SIGNATURE
    )
    refused(
        replace(GOOD.certificate(), votes=(first, second, (4, third[1]))), DayFlaw.UNKNOWN_SIGNER
    )
    with_a_bad_fourth = (first, second, (2, third[1]), third)
    refused(replace(GOOD.certificate(), votes=with_a_bad_fourth), DayFlaw.BAD_SIGNATURE)


@pytest.mark.parametrize(
    "other",
    [
        replace(GOOD, height=6),
        replace(GOOD, chain=8),
        replace(GOOD, shard=0),
        replace(GOOD, above=0),
        replace(GOOD, above=2),
        replace(GOOD, run=None),
    ],
    ids=["height", "chain", "shard", "block below", "block above", "block that accepts nothing"],
)
def test_votes_of_something_else_are_refused(other: Voted) -> None:
    refused(replace(GOOD.certificate(), votes=other.votes()), DayFlaw.BAD_SIGNATURE)


def test_votes_of_another_phase_are_refused() -> None:
    for phase in (Phase.PROPOSE, Phase.NOTARIZE):
        votes = GOOD.votes(phase=phase)
        refused(replace(GOOD.certificate(), votes=votes), DayFlaw.BAD_SIGNATURE)


def test_a_block_of_another_place_is_refused() -> None:
    refused(Voted(RUN, shard=0).certificate(), DayFlaw.WRONG_PLACE)
    refused(Voted(RUN, chain=8).certificate(), DayFlaw.WRONG_PLACE)
    headers = list(GOOD.headers())
    headers[1] = replace(headers[1], shard=BEACON_SHARD - 1)
    refused(replace(GOOD.certificate(), headers=tuple(headers)), DayFlaw.WRONG_PLACE)


def test_headers_that_do_not_follow_are_refused() -> None:
    first, second = GOOD.headers()
    third = Voted(RUN, above=2).headers()[2]
    for headers in (
        (second, first),
        (first, third),
        (first, first),
        (first, replace(second, height=9)),
        (first, replace(second, parent_view=3)),
        (replace(first, parent_view=first.view), second),
    ):
        refused(replace(GOOD.certificate(), headers=headers), DayFlaw.HEADERS_NOT_LINKED)


def test_a_payload_that_is_not_the_headers_is_refused() -> None:
    other = Voted(replace(RUN, history=RUN.before)).payload
    refused(replace(GOOD.certificate(), payload=other), DayFlaw.WRONG_PAYLOAD)
    refused(replace(GOOD.certificate(), payload=b""), DayFlaw.WRONG_PAYLOAD)
    refused(replace(GOOD.certificate(), headers=GOOD.headers()[1:]), DayFlaw.WRONG_PAYLOAD)


def test_a_block_that_accepts_no_day_is_refused() -> None:
    refused(Voted(None).certificate(), DayFlaw.NO_RUN)


def test_a_run_out_of_range_is_refused() -> None:
    wrong = replace(RUN, end_window=RUN.first_window)
    refused(Voted(wrong).certificate(), DayFlaw.BAD_RUN)


@pytest.mark.parametrize("field", ["before", "after", "history"])
def test_a_certificate_of_another_statement_is_refused(field: str) -> None:
    word = getattr(RUN, field)
    changed: dict[str, Any] = {field: (word[0] ^ 1, *word[1:])}
    other = replace(RUN, **changed)
    refused(Voted(other).certificate(), DayFlaw.OTHER_STATEMENT)


def test_the_other_days_certificate_is_refused() -> None:
    other = RunStatement.from_bytes(statement(1).to_bytes())
    refused(Voted(other).certificate(), DayFlaw.OTHER_STATEMENT)


def test_truncated_bytes_are_no_certificate() -> None:
    data = GOOD.certificate().to_bytes()
    cuts = [*range(64), *range(64, len(data), 97), len(data) - 1]
    for wrong in [*(data[:cut] for cut in cuts), data + b"\0", b"\0" * len(data), b"\xff" * 999]:
        with pytest.raises(ProofMalformed) as error:
            decode_certificate(wrong)
        assert error.value.reason is DayFlaw.MALFORMED


def test_what_does_not_fit_is_not_written() -> None:
    certificate = GOOD.certificate()
    with pytest.raises(ParameterError):
        replace(certificate, headers=certificate.headers * MAX_HEADERS).to_bytes()
    with pytest.raises(ParameterError):
        replace(certificate, votes=((0, b"short"),)).to_bytes()


def test_any_change_of_a_certificate_ends_in_one_of_two_errors() -> None:
    data, rng = GOOD.certificate().to_bytes(), random.Random(1)  # noqa: S311 - a seed, no secret
    for _ in range(MUTATIONS):
        changed = bytearray(data)
        at = rng.randrange(len(data))
        changed[at] ^= 1 << rng.randrange(8)
        with pytest.raises(ProofError):
            check_certificate(decode_certificate(bytes(changed)), FAST, WORD)


def test_a_day_follows_the_one_before() -> None:
    second = RunStatement.from_bytes(statement(1).to_bytes())
    before = checkpoint_of(RUN)
    check_link(second, before)
    assert decode_checkpoint(before.to_bytes()) == before
    changes: list[tuple[Callable[[Checkpoint], Checkpoint], DayFlaw]] = [
        (lambda one: replace(one, chain=8), DayFlaw.OTHER_CHAIN),
        (lambda one: replace(one, shards=3), DayFlaw.OTHER_CHAIN),
        (lambda one: replace(one, validators=RUN.before), DayFlaw.FOREIGN_VALIDATORS),
        (lambda one: replace(one, end_window=4), DayFlaw.NOT_THE_NEXT_DAY),
        (lambda one: replace(one, state=RUN.before), DayFlaw.NOT_THE_NEXT_DAY),
    ]
    for change, flaw in changes:
        with pytest.raises(ProofRejected) as error:
            check_link(second, change(before))
        assert error.value.reason is flaw
    with pytest.raises(ProofRejected):
        check_link(RUN, before)


def test_bytes_that_are_no_checkpoint_are_refused() -> None:
    data = checkpoint_of(RUN).to_bytes()
    for wrong in [*(data[:cut] for cut in range(len(data))), data + b"\0", b"\xff" * len(data)]:
        with pytest.raises(ProofMalformed):
            decode_checkpoint(wrong)
