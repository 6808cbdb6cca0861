"""A dictionary executor written from the rules' text alone: imports nothing of the ledger it checks."""

from __future__ import annotations

CAP = 2**60 - 1

Message = tuple[int, int, int, int]
"""Sender, recipient, amount and nonce of what went to or came from another shard."""


class NaiveLedger:
    """Balances and nonces in dictionaries, and what went to and came from other shards."""

    def __init__(self, chain: int, shard: int, minimum_fee: int, *, shards: int) -> None:
        self.chain, self.shard, self.minimum_fee, self.shards = chain, shard, minimum_fee, shards
        self.balance: dict[int, int] = {0: CAP // shards, 6: CAP - CAP // shards}
        self.sent: dict[int, tuple[Message, ...]] = {}
        self.arrived: dict[int, tuple[Message, ...]] = {}
        self.nonce: dict[int, int] = {}
        self.addresses: dict[bytes, int] = {}
        self.keys: set[bytes] = set()
        self.next_index = 16

    def execute(self, t: object, slot: int) -> str | None:
        """Returns why the transaction is invalid, or None after executing it."""
        kind = t.kind.name  # type: ignore[attr-defined]
        reason = self.refuse(t, kind, slot)
        if reason:
            return reason
        s, r = t.sender, t.recipient  # type: ignore[attr-defined]
        if kind == "INBOUND":
            self.receive(t)
            return None
        self.balance[s] = self.balance.get(s, 0) - t.amount - 1000 * t.fee  # type: ignore[attr-defined]
        self.nonce[s] = self.nonce.get(s, 0) + 1
        self.balance[1] = self.balance.get(1, 0) + 1000 * t.fee  # type: ignore[attr-defined]
        if kind == "REGISTER":
            self.addresses[t.address] = self.next_index  # type: ignore[attr-defined]
            self.keys.add(t.public_key)  # type: ignore[attr-defined]
            self.next_index += 1
        elif kind == "OUTBOUND":
            self.balance[6] += t.amount  # type: ignore[attr-defined]
            self.put(self.sent, t, s, r)
        else:
            self.balance[r] = self.balance.get(r, 0) + t.amount  # type: ignore[attr-defined]
        return None

    def receive(self, t: object) -> None:
        """Credits what came from another shard, or sends it back when nobody is there."""
        s, r, amount = t.sender, t.recipient, t.amount  # type: ignore[attr-defined]
        self.put(self.arrived, t, s, r)
        if r >= self.next_index:
            self.put(self.sent, t, r, s)
            return
        self.balance[6] -= amount
        self.balance[r] = self.balance.get(r, 0) + amount

    @staticmethod
    def put(lists: dict[int, tuple[Message, ...]], t: object, sender: int, recipient: int) -> None:
        """Puts a message at the end of the list with the other shard."""
        message = (sender, recipient, t.amount, t.nonce)  # type: ignore[attr-defined]
        lists[t.peer] = (*lists.get(t.peer, ()), message)  # type: ignore[attr-defined]

    def refuse(self, t: object, kind: str, slot: int) -> str | None:  # noqa: PLR0911, PLR0912
        """Returns why the transaction is invalid; None if it is not."""
        s, r, amount, fee = t.sender, t.recipient, t.amount, t.fee  # type: ignore[attr-defined]
        if kind not in ("TRANSFER", "REGISTER", "ISSUE", "OUTBOUND", "INBOUND"):
            return "kind_not_supported"
        if t.chain != self.chain:  # type: ignore[attr-defined]
            return "wrong_chain"
        if t.shard != self.shard:  # type: ignore[attr-defined]
            return "wrong_shard"
        if t.peer and kind not in ("OUTBOUND", "INBOUND"):  # type: ignore[attr-defined]
            return "non_canonical"
        if kind == "INBOUND" and (fee or t.expiry):  # type: ignore[attr-defined]
            return "non_canonical"
        if kind in ("OUTBOUND", "INBOUND") and t.peer not in set(range(self.shards)) - {self.shard}:  # type: ignore[attr-defined]
            return "unknown_shard"
        if kind == "INBOUND":
            if s < 16 or r < 16:
                return "reserved_account"
            if r < self.next_index and self.balance.get(r, 0) + amount > CAP:
                return "balance_overflow"
            return "overdraft" if r < self.next_index and self.balance[6] < amount else None
        if kind == "ISSUE" and s != 0:
            return "not_issuer"
        if s != 0 and fee < self.minimum_fee:
            return "fee_too_low"
        if t.expiry < slot:  # type: ignore[attr-defined]
            return "expired"
        if t.expiry - slot > 32767:  # type: ignore[attr-defined]
            return "expiry_too_far"
        if kind == "REGISTER":
            if t.address in self.addresses:  # type: ignore[attr-defined]
                return "duplicate_address"
            if t.public_key in self.keys:  # type: ignore[attr-defined]
                return "duplicate_key"
        if not (s == 0 and kind in ("ISSUE", "REGISTER")):
            if s < 16:
                return "reserved_account"
            if s >= self.next_index:
                return "unknown_account"
        nonce = self.nonce.get(s, 0)
        if t.nonce != nonce:  # type: ignore[attr-defined]
            return "nonce_replay" if t.nonce < nonce else "nonce_gap"  # type: ignore[attr-defined]
        if self.balance.get(s, 0) < amount + 1000 * fee:
            return "overdraft"
        if kind != "REGISTER":
            if r < 16:
                return "reserved_account"
            if r >= self.next_index and kind != "OUTBOUND":
                return "unknown_account"
        return None
