"""Makes planned transactions, and breaks those that are planned to be invalid in exactly one way."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from pipelines.account_keys import KeyRing
from pipelines.forge import Forge, Signed, index_of, sign
from pipelines.traffic_plan import Planned
from schemas.rejection import RejectionReason
from schemas.transactions import (
    BODY_BYTES,
    BODY_VERSION,
    SIGNATURE_CONTEXT,
    Transaction,
    TransactionKind,
)
from schemas.units import AMOUNT_LIMIT, INDEX_LIMIT, SIGNATURE_BYTES, ReservedCell
from schemas.workload import Invalidity

EXPECTED: Mapping[Invalidity, RejectionReason] = MappingProxyType(
    {
        Invalidity.BAD_SIGNATURE: RejectionReason.BAD_SIGNATURE,
        Invalidity.WRONG_KEY: RejectionReason.BAD_SIGNATURE,
        Invalidity.NONCE_GAP: RejectionReason.NONCE_GAP,
        Invalidity.REPLAY: RejectionReason.NONCE_REPLAY,
        Invalidity.OVERDRAFT: RejectionReason.OVERDRAFT,
        Invalidity.EXPIRED: RejectionReason.EXPIRED,
        Invalidity.EXPIRY_TOO_FAR: RejectionReason.EXPIRY_TOO_FAR,
        Invalidity.UNKNOWN_SENDER: RejectionReason.UNKNOWN_ACCOUNT,
        Invalidity.UNKNOWN_RECIPIENT: RejectionReason.UNKNOWN_ACCOUNT,
        Invalidity.RESERVED_ACCOUNT: RejectionReason.RESERVED_ACCOUNT,
        Invalidity.NOT_ISSUER: RejectionReason.NOT_ISSUER,
        Invalidity.WRONG_CHAIN: RejectionReason.WRONG_CHAIN,
        Invalidity.WRONG_SHARD: RejectionReason.WRONG_SHARD,
        Invalidity.FEE_TOO_LOW: RejectionReason.FEE_TOO_LOW,
        Invalidity.AMOUNT_TOO_LARGE: RejectionReason.AMOUNT_TOO_LARGE,
        Invalidity.WRONG_LENGTH: RejectionReason.WRONG_LENGTH,
        Invalidity.SHORT_SIGNATURE: RejectionReason.WRONG_LENGTH,
        Invalidity.UNKNOWN_KIND: RejectionReason.UNKNOWN_KIND,
        Invalidity.UNSUPPORTED_KIND: RejectionReason.KIND_NOT_SUPPORTED,
        Invalidity.GARBAGE: RejectionReason.WRONG_VERSION,
    }
)
"""The reason for which each fault is refused, and no other."""

NONCE_JUMP = 1000
"""How far ahead a gap's nonce is."""

UNKNOWN_KIND_NUMBER = 250
KIND_AT = 1
"""Position of the kind in a body."""


@dataclass(frozen=True, slots=True)
class TransactionMaker:
    """Signs planned transactions; threads may share it.

    Attributes:
        forge: Signs for the chain.
        ring: Keys of the accounts.
        labels: Address of each account, by place.
        issued: Units issued in all.
    """

    forge: Forge
    ring: KeyRing
    labels: list[bytes]
    issued: int

    def valid(self, planned: Planned, away: tuple[int, int] | None = None) -> Signed:
        """Returns the planned transfer; `away` is the (shard, account index) of one that leaves the shard."""
        transfer = self._transfer(planned)
        if away is not None:
            peer, recipient = away
            kind = TransactionKind.OUTBOUND
            transfer = replace(transfer, kind=kind, peer=peer, recipient=recipient)
        return sign(self.ring.pair(self.labels[planned.sender]), transfer)

    def invalid(self, planned: Planned, fault: Invalidity) -> Signed:
        """Returns a transaction with one fault; of a replay only its pick, for whoever holds the bytes."""
        if fault is Invalidity.REPLAY:
            return Signed(planned.pick.to_bytes(4, "little"), b"")
        if fault is Invalidity.GARBAGE:
            return garbage(planned.pick)
        signer = planned.recipient if fault is Invalidity.WRONG_KEY else planned.sender
        body = self._body(planned, fault)
        signature = self.ring.pair(self.labels[signer]).sign(body, SIGNATURE_CONTEXT)
        if fault is Invalidity.BAD_SIGNATURE:
            signature = flip_bit(signature, planned.pick)
        elif fault is Invalidity.SHORT_SIGNATURE:
            signature = signature[:-1]
        return Signed(body, signature)

    def _body(self, planned: Planned, fault: Invalidity) -> bytes:
        """The body to sign; that of the valid transfer when the fault is not in the body."""
        body = bytearray(self._altered(self._transfer(planned), fault, planned.pick).body())
        if fault is Invalidity.UNKNOWN_KIND:
            body[KIND_AT] = UNKNOWN_KIND_NUMBER
        elif fault is Invalidity.UNSUPPORTED_KIND:
            body[KIND_AT] = TransactionKind.SHIELD
        elif fault is Invalidity.WRONG_LENGTH:
            del body[-1:]
        return bytes(body)

    def _transfer(self, planned: Planned) -> Transaction:
        return self.forge.transfer(planned.sender, planned.recipient, planned.amount, planned.nonce)

    def _altered(self, transfer: Transaction, fault: Invalidity, pick: int) -> Transaction:
        """The transfer, with one field changed when the fault is in a field."""
        unknown = index_of(len(self.labels)) + pick % 1000
        changes: dict[Invalidity, dict[str, int]] = {
            Invalidity.NONCE_GAP: {"nonce": transfer.nonce + NONCE_JUMP},
            Invalidity.OVERDRAFT: {"amount": min(self.issued + 1, AMOUNT_LIMIT - 1)},
            Invalidity.EXPIRED: {"expiry": 0},
            Invalidity.EXPIRY_TOO_FAR: {"expiry": INDEX_LIMIT - 1},
            Invalidity.UNKNOWN_SENDER: {"sender": unknown},
            Invalidity.UNKNOWN_RECIPIENT: {"recipient": unknown},
            Invalidity.RESERVED_ACCOUNT: {"recipient": ReservedCell.BURNED},
            Invalidity.NOT_ISSUER: {"kind": TransactionKind.ISSUE},
            Invalidity.WRONG_CHAIN: {"chain": transfer.chain + 1},
            Invalidity.WRONG_SHARD: {"shard": transfer.shard + 1},
            Invalidity.FEE_TOO_LOW: {"fee": 0},
            Invalidity.AMOUNT_TOO_LARGE: {"amount": AMOUNT_LIMIT},
        }
        return replace(transfer, **changes.get(fault, {}))  # type: ignore[arg-type]


def flip_bit(data: bytes, pick: int) -> bytes:
    """Returns the data with one bit flipped."""
    changed = bytearray(data)
    changed[pick % len(changed)] ^= 1 << (pick >> 16) % 8
    return bytes(changed)


def garbage(pick: int) -> Signed:
    """Returns random bytes of the usual lengths whose first byte is no version."""
    rng = random.Random(pick)  # noqa: S311 - reproducible draws, not secrets
    body = bytearray(rng.randbytes(BODY_BYTES))
    if body[0] == BODY_VERSION:
        body[0] += 1
    return Signed(bytes(body), rng.randbytes(SIGNATURE_BYTES))
