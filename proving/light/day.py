"""What a light client says of a day: its proof, the quorum behind it, the day before, and one transaction.

The proof shows that the ledger went from one state to another by its rules, and nothing of who wanted it; the
certificate shows that a quorum of a committee accepted exactly that; the link shows that state and committee are those
of a day, or of a genesis, that the reader trusts. Each is worth little without the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from proving.light.certificate import MAGIC as CERTIFICATE_MAGIC
from proving.light.certificate import CertifiedDay, check_certificate, decode_certificate
from proving.light.checkpoint import (
    MAGIC as CHECKPOINT_MAGIC,
)
from proving.light.checkpoint import (
    Checkpoint,
    check_link,
    checkpoint_of,
    decode_checkpoint,
)
from proving.light.errors import ProofMalformed
from proving.light.flaws import DayFlaw
from proving.light.inclusion import IncludedTransaction, check_inclusion, decode_inclusion
from proving.light.signature_check import SignatureCheck
from proving.light.wrap import verify_wrap
from schemas.errors import WireError
from schemas.run import RunStatement
from schemas.units import word_elements

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DayFiles:
    """What is looked at, any bytes.

    Attributes:
        proof: The day's last proof.
        certificate: Its certificate.
        previous: Certificate or statement of the day before, or a checkpoint; None to leave the link unchecked.
        inclusion: Path of a transaction, or None.
    """

    proof: bytes
    certificate: bytes
    previous: bytes | None = None
    inclusion: bytes | None = None


@dataclass(frozen=True, slots=True)
class VerifiedDay:
    """What holds.

    Attributes:
        statement: The word that the proof shows, hex.
        payee: Who is paid for the proof, hex.
        certified: The day's statement and the votes for it.
        signatures: How the votes were checked.
        linked: Whether it follows what is trusted; without that anybody may name a committee.
        transaction: The transaction of the path, or None.
        proof_millis: Time of the proof's check.
        certificate_millis: Time of the certificate's check.
        inclusion_millis: Time of the path's check, or None.
    """

    statement: str
    payee: str
    certified: CertifiedDay
    signatures: str
    linked: bool
    transaction: IncludedTransaction | None
    proof_millis: float
    certificate_millis: float
    inclusion_millis: float | None


def verify_day(
    files: DayFiles, signatures: SignatureCheck, clock: Callable[[], float] = time.perf_counter
) -> VerifiedDay:
    """Verifies a day.

    Args:
        files: Any bytes.
        signatures: How votes are checked.
        clock: Seconds, for the times.

    Raises:
        ProofMalformed: One of them is not the canonical form of what it should be.
        ProofRejected: One of them does not hold, or they do not belong together.
        KeyDamaged: The client's key file is not the one that it was made with.
    """
    shown, proof_millis = _timed(lambda: verify_wrap(files.proof), clock)
    word = word_elements(shown.statement)

    def certificate() -> CertifiedDay:
        return check_certificate(decode_certificate(files.certificate), signatures, word)

    certified, certificate_millis = _timed(certificate, clock)
    run = certified.run
    if files.previous is not None:
        check_link(run, trusted_checkpoint(files.previous, signatures))
    transaction, inclusion_millis = None, None
    if files.inclusion is not None:
        data = files.inclusion
        transaction, inclusion_millis = _timed(
            lambda: check_inclusion(decode_inclusion(data), run), clock
        )
    return VerifiedDay(
        statement=shown.statement.hex(),
        payee=shown.payee.hex(),
        certified=certified,
        signatures=signatures.name,
        linked=files.previous is not None,
        transaction=transaction,
        proof_millis=proof_millis,
        certificate_millis=certificate_millis,
        inclusion_millis=inclusion_millis,
    )


def trusted_checkpoint(data: bytes, signatures: SignatureCheck) -> Checkpoint:
    """Reads what is trusted: a checkpoint, the certificate of the day before, or its statement.

    A certificate's votes are checked again. That its committee is the right one is what the reader trusts.

    Raises:
        ProofMalformed: It is none of them.
        ProofRejected: It is a certificate that does not hold.
    """
    if data.startswith(CERTIFICATE_MAGIC):
        return checkpoint_of(check_certificate(decode_certificate(data), signatures).run)
    if data.startswith(CHECKPOINT_MAGIC):
        return decode_checkpoint(data)
    try:
        return checkpoint_of(RunStatement.from_bytes(data))
    except WireError as error:
        raise ProofMalformed(
            DayFlaw.MALFORMED, f"previous: {error.where}", "a day before", error
        ) from error


def _timed(work: Callable[[], T], clock: Callable[[], float]) -> tuple[T, float]:
    started = clock()
    found = work()
    return found, round(1000 * (clock() - started), 3)
