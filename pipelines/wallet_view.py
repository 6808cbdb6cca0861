"""What a wallet reads from the log: its account's index and nonce, and how certain a transaction is.

The views are computed from the records of `tx.<shard>` and `receipts` alone, from the start of the log: the
cost is that of reading them once. Accounts count in the order in which their registrations became final:
by block height, then by their order on the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from operators.beacon_history import BeaconHistory
from pipelines.wallet_crossing import Crossing
from proving.light.poseidon2 import statement_word
from schemas.errors import WireError
from schemas.receipt import COVERED_BY_PROOF, COVERED_BY_QUORUM, ReceiptState
from schemas.transactions import Transaction, TransactionKind, decode_body
from schemas.units import FIRST_ACCOUNT, word_bytes

CERTAINTY = (
    ReceiptState.PENDING,
    ReceiptState.REJECTED,
    ReceiptState.BFT_FINAL,
    ReceiptState.PROVEN,
    ReceiptState.BEACON_FINAL,
)
"""States in rising order; a refusal of a second copy does not undo what the first has reached."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """How certain a transaction is.

    Attributes:
        digest: SHA-256 of its body, hex.
        state: The furthest state it has reached.
        shard: Shard.
        times: UTC milliseconds at which each state was reached, by state; of `proven` and `beacon_final` the begin of
            the beacon block's slot.
        submitted_millis: When it was sent, or None while it is pending.
        height: Block height, or None.
        signers: Validators whose signatures make the block final.
        window: Proof window, or None.
        epoch: Epoch, or None.
        proof_digest: Word of the day's statement that covers it, hex; None until it is `beacon_final`.
        reason: Why it was rejected, or None.
        covered_by_proof: What a proof shows about it, once the state is `proven`.
        covered_by_quorum: What rests on the validators' signatures.
        crossing: How far a final transfer to another shard has come; None for any other transaction.
    """

    digest: str
    state: str
    shard: int
    times: Mapping[str, int]
    submitted_millis: int | None
    height: int | None
    signers: tuple[int, ...]
    window: int | None
    epoch: int | None
    proof_digest: str | None
    reason: str | None
    covered_by_proof: tuple[str, ...] = COVERED_BY_PROOF
    covered_by_quorum: tuple[str, ...] = COVERED_BY_QUORUM
    crossing: Crossing | None = None


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account as the log shows it.

    Attributes:
        index: Account index.
        next_nonce: Nonce of the next transaction: all it has sent that was not rejected.
    """

    index: int
    next_nonce: int


@dataclass(slots=True)
class LedgerReader:
    """Collects transactions and receipts; rows are dictionaries with the columns of their tables.

    Memory is about 300 bytes per transaction.
    """

    shard: int
    _sent: dict[bytes, Transaction | None] = field(default_factory=dict)
    _receipts: dict[bytes, dict[ReceiptState, Mapping[str, Any]]] = field(default_factory=dict)

    def add_transactions(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Reads rows of `tx.<shard>` in log order; what is no transaction is admission's to refuse."""
        for row in rows:
            digest = hashlib.sha256(row["body"]).digest()
            if digest not in self._sent:
                self._sent[digest] = _decode(row["body"])

    def add_receipts(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Reads rows of `receipts`."""
        for row in rows:
            if row["shard"] == self.shard:
                states = self._receipts.setdefault(row["digest"], {})
                states.setdefault(ReceiptState(row["state"]), row)

    def receipt(self, digest: bytes) -> Receipt | None:
        """Returns the receipt of a transaction, or None when the log does not hold it."""
        states = self._receipts.get(digest, {})
        if not states:
            if digest not in self._sent:
                return None
            empty: dict[str, int] = {}
            pending = str(ReceiptState.PENDING)
            return Receipt(
                digest.hex(), pending, self.shard, empty, None, None, (), None, None, None, None
            )
        reached = [state for state in CERTAINTY if state in states]
        values = _merged(states[state] for state in reached)
        return Receipt(
            digest=digest.hex(),
            state=str(reached[-1]),
            shard=self.shard,
            times={str(state): states[state]["at_millis"] for state in reached},
            submitted_millis=values["submitted_millis"],
            height=values.get("height"),
            signers=tuple(values.get("signers") or ()),
            window=values.get("window"),
            epoch=values.get("epoch"),
            proof_digest=values["proof_digest"].hex() if values.get("proof_digest") else None,
            reason=values.get("reason") if reached[-1] is ReceiptState.REJECTED else None,
        )

    def transaction(self, digest: bytes) -> Transaction | None:
        """Returns a transaction of the log by its digest, or None."""
        return self._sent.get(digest)

    def account(self, address: bytes) -> AccountView | None:
        """Returns the account of an address, or None when no final block registers it."""
        index = self._index(address)
        if index is None:
            return None
        return AccountView(index, self.next_nonce(index))

    def next_nonce(self, index: int) -> int:
        """Returns the next nonce of an account index, the reserve's included."""
        sent = [
            transaction.nonce
            for digest, transaction in self._sent.items()
            if transaction and transaction.sender == index and not self._is_rejected(digest)
        ]
        return max(sent, default=-1) + 1

    def _index(self, address: bytes) -> int | None:
        registered = []
        for order, (digest, transaction) in enumerate(self._sent.items()):
            if transaction is not None and transaction.kind is TransactionKind.REGISTER:
                final = self._receipts.get(digest, {}).get(ReceiptState.BFT_FINAL)
                if final is not None:
                    registered.append((final["height"], order, transaction.address))
        ordered = [entry[2] for entry in sorted(registered)]
        return FIRST_ACCOUNT + ordered.index(address) if address in ordered else None

    def _is_rejected(self, digest: bytes) -> bool:
        states = self._receipts.get(digest, {})
        return ReceiptState.REJECTED in states and ReceiptState.BFT_FINAL not in states


def with_beacon(receipt: Receipt, history: BeaconHistory) -> Receipt:
    """Returns a receipt with the states that the beacon's final blocks give a final transaction.

    `proven`: the proofs of its window are accepted. `beacon_final`: so is the day that holds the window.
    """
    if receipt.state != ReceiptState.BFT_FINAL or receipt.window is None:
        return receipt
    window = history.windows.get((receipt.shard, receipt.window))
    if window is None:
        return receipt
    times = {**receipt.times, str(ReceiptState.PROVEN): window.at_millis}
    day = history.day_with(receipt.window)
    if day is None:
        return replace(receipt, state=str(ReceiptState.PROVEN), times=times)
    times[str(ReceiptState.BEACON_FINAL)] = day.at_millis
    digest = word_bytes(statement_word(day.run)).hex()
    state = str(ReceiptState.BEACON_FINAL)
    return replace(receipt, state=state, times=times, proof_digest=digest)


def _decode(body: bytes) -> Transaction | None:
    try:
        return decode_body(body)
    except WireError:
        return None


def _merged(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Columns of several rows; later rows win where they say something."""
    merged: dict[str, Any] = {}
    for row in rows:
        merged.update({name: value for name, value in row.items() if value is not None})
    return merged
