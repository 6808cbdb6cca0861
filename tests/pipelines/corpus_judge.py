"""Judges a corpus row by row as the ledger would: bytes, signature, then the rules on a dictionary state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipelines.corpus import ADMITTED, CorpusRow
from proving.ledger.rules import EMPTY_ACCOUNT, Account, LedgerParameters, apply
from proving.signatures import verify_many
from schemas.errors import WireError
from schemas.rejection import RejectionReason
from schemas.transactions import SIGNATURE_CONTEXT, TransactionKind, decode_body
from schemas.units import FIRST_ACCOUNT, SIGNATURE_BYTES, SUPPLY_CAP


@dataclass
class Judge:
    """A ledger of dictionaries.

    It looks at bytes first, then at the transaction and the state, and at signatures of what is known.
    """

    parameters: LedgerParameters
    issuer_key: bytes
    slot: int = 1
    accounts: dict[int, Account] = field(default_factory=lambda: {0: Account(SUPPLY_CAP, 0)})
    keys: list[bytes] = field(default_factory=list)
    addresses: list[bytes] = field(default_factory=list)

    @property
    def num_keys(self) -> int:
        return FIRST_ACCOUNT + len(self.keys)

    def account(self, index: int) -> Account:
        return self.accounts.get(index, EMPTY_ACCOUNT)

    def has_address(self, address: bytes) -> bool:
        return address in self.addresses

    def has_public_key(self, public_key: bytes) -> bool:
        return public_key in self.keys

    def verdicts(self, rows: Iterable[CorpusRow]) -> list[str]:
        return [self.verdict(row) for row in rows]

    def verdict(self, row: CorpusRow) -> str:
        return self.judge(row.body, row.signature)

    def judge(self, body: bytes, signature: bytes) -> str:
        try:
            transaction = decode_body(body)
        except WireError as error:
            return _byte_reason(error)
        if len(signature) != SIGNATURE_BYTES:
            return RejectionReason.WRONG_LENGTH
        key = self._key(transaction.sender)
        if key and not verify_many([key], [body], [signature], SIGNATURE_CONTEXT)[0]:
            return RejectionReason.BAD_SIGNATURE
        effects = apply(self, transaction, self.slot, self.parameters)
        if isinstance(effects, RejectionReason):
            return effects
        for touch in effects.touches:
            if touch.step.moves:
                self.accounts[touch.cell] = touch.new
        if transaction.kind is TransactionKind.REGISTER:
            self.keys.append(transaction.public_key)
            self.addresses.append(transaction.address)
        return ADMITTED

    def _key(self, index: int) -> bytes | None:
        if index == 0:
            return self.issuer_key
        place = index - FIRST_ACCOUNT
        return self.keys[place] if 0 <= place < len(self.keys) else None


def _byte_reason(error: WireError) -> str:
    if error.where == "transaction.kind":
        unknown = "unknown" in str(error)
        return RejectionReason.UNKNOWN_KIND if unknown else RejectionReason.KIND_NOT_SUPPORTED
    return {
        "transaction.version": RejectionReason.WRONG_VERSION,
        "transaction.amount": RejectionReason.AMOUNT_TOO_LARGE,
    }.get(error.where, RejectionReason.WRONG_LENGTH)
