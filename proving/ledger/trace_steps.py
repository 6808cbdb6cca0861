"""Fills the transaction and memory lanes by executing the witness's entries again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from proving.arithmetic.modulus import P
from proving.backends.port import Hasher
from proving.errors import ProvingError
from proving.ledger.layout import Layout, span_limbs
from proving.ledger.rules import (
    Account,
    Touch,
    account_of,
    execute_steps,
    settle,
)
from proving.ledger.state import compress_words
from proving.ledger.witness import Entry, SegmentWitness
from proving.ledger.words import Elements, block_word, link_word, transaction_word
from proving.stark.air import FieldArray
from schemas.rejection import RejectionReason
from schemas.steps import RETURN_LINK, SEND_LINK, SETTLE, Cell, Existence
from schemas.transactions import TransactionKind
from schemas.units import (
    AMOUNT_LIMBS,
    FEE_UNIT,
    FIRST_ACCOUNT,
    LIMB_BITS,
    LIMB_LIMIT,
    SPAN_LIMIT,
    ZERO_WORD,
    Array,
    limbs_of,
    word_bytes,
    word_elements,
)

ZERO_ELEMENTS = word_elements(ZERO_WORD)
"""The zero word as elements."""


class SegmentRun:
    """Executes a segment's entries and writes one row per step.

    Args:
        trace: (num_main, height), changed in place.
        layout: Where the lanes are.
        witness: The segment.
        hasher: Where permutations run.

    Attributes:
        accounts: Account cells as they stand, by index.
        links: Links as they stand, by array and other shard.
        appended: Words appended, by array and index.
        hashes: Pairs whose compressions the steps use.
    """

    def __init__(
        self, trace: FieldArray, layout: Layout, witness: SegmentWitness, hasher: Hasher
    ) -> None:
        self._trace = trace
        self._layout = layout
        self._lane = layout.steps
        self._witness = witness
        self._hasher = hasher
        before = witness.statement.before
        self.accounts = {index: account_of(word) for index, word in witness.accounts}
        self.links = {(array, peer): word for array, peer, word in witness.links}
        self.appended: dict[Array, dict[int, bytes]] = {Array.KEY: {}, Array.TXS: {}}
        self.hashes: list[bytes] = []
        self._last_time: dict[tuple[Array, int], int] = {}
        self._height, self._slot = before.height, before.slot
        self._sequence, self._keys = before.sequence, before.keys
        self._count, self._fee_sum = before.block_transactions, before.fee_sum
        self._row = 0

    @property
    def num_keys(self) -> int:
        """Words in KEY so far."""
        return self._keys

    def account(self, index: int) -> Account:
        """Returns an account cell.

        Raises:
            ProvingError: The witness does not hold it.
        """
        found = self.accounts.get(index)
        if found is None:
            raise ProvingError(f"the witness lacks account cell {index}")
        return found

    def has_address(self, address: bytes) -> bool:
        """Addresses are no part of the circuit."""
        return not address

    def has_public_key(self, public_key: bytes) -> bool:
        """Public keys are no part of the circuit."""
        return not public_key

    def run(self) -> None:
        """Executes every entry and pads the lane.

        Raises:
            ProvingError: An entry is invalid, the rows do not suffice, or the end is not the statement's.
        """
        for entry in self._witness.entries:
            if entry.transaction is None:
                self._settle(entry.slot)
            else:
                self._transact(entry)
        after = self._witness.statement.after
        reached = (self._height, self._slot, self._sequence, self._keys, self._count, self._fee_sum)
        stated = (
            after.height,
            after.slot,
            after.sequence,
            after.keys,
            after.block_transactions,
            after.fee_sum,
        )
        if reached != stated:
            raise ProvingError(f"the segment ends at {reached}, its statement says {stated}")
        padding = slice(self._row, self._layout.height)
        self._trace[self._lane.column("padding"), padding] = 1
        for name, limbs in self._counters().items():
            for j, value in enumerate(limbs):
                self._trace[self._lane.column(name, j), padding] = value
        self._fill_memory()

    def _counters(self) -> Mapping[str, Sequence[int]]:
        return {
            "height": (self._height,),
            "slot": (self._slot,),
            "sequence": (self._sequence,),
            "keys": (self._keys,),
            "block_transactions": (self._count,),
            "fee_sum": limbs_of(self._fee_sum, 3),
        }

    def _transact(self, entry: Entry) -> None:
        transaction = entry.transaction
        if transaction is None:
            raise ProvingError("a closing entry has no transaction")
        touches = execute_steps(self, transaction)
        if isinstance(touches, RejectionReason):
            raise ProvingError(f"entry at sequence {self._sequence} is invalid: {touches}")
        is_signed = transaction.kind is not TransactionKind.INBOUND
        registers = transaction.kind is TransactionKind.REGISTER
        recipient = self._keys if registers else transaction.recipient
        word = transaction_word(transaction, recipient)
        advance = self._advance(entry.slot)
        if is_signed and not 0 <= transaction.expiry - entry.slot < LIMB_LIMIT:
            raise ProvingError(f"entry at sequence {self._sequence} is not valid in its slot")
        amount = limbs_of(transaction.amount)
        fee = limbs_of(transaction.fee, 2)
        for touch in touches:
            if touch.step.cell is Cell.NONE:
                self._write_key(entry)
                continue
            fields: dict[str, Sequence[int]] = {"amount": amount}
            if touch.step.head:
                fields |= {
                    "word": word,
                    "slot_advance": span_limbs(advance),
                    "place": (self._sequence,),
                }
            moved = [touch.step.amount_sign * limb for limb in amount]
            if touch.step.pays:
                moved[0] -= FEE_UNIT * fee[0]
                moved[1] -= FEE_UNIT * fee[1]
                fields |= {
                    "fee": fee,
                    "time_left": (transaction.expiry - entry.slot,),
                    "fee_carry": self._fee_carry(fee),
                }
            if touch.step.link is not None:
                self._extend(touch, link_word(touch.step, transaction), fields)
            else:
                self._touch(touch, moved, fields)
            if touch.step.head:
                self._append(Array.TXS, word)
                self._count += 1
                self._fee_sum += transaction.fee

    def _fee_carry(self, fee: Sequence[int]) -> tuple[int, int]:
        sums = limbs_of(self._fee_sum, 3)
        low = sums[0] + fee[0] >> LIMB_BITS
        return low, sums[1] + fee[1] + low >> LIMB_BITS

    def _advance(self, slot: int) -> int:
        advance = slot - self._slot
        if not 0 <= advance < SPAN_LIMIT or (advance and self._count):
            raise ProvingError(f"slot {slot} does not follow slot {self._slot}")
        self._slot = slot
        return advance

    def _settle(self, slot: int) -> None:
        advance = self._advance(slot)
        fees = limbs_of(self._fee_sum, 3)
        touch = settle(self, SETTLE, self._fee_sum)
        word = block_word(self._height + 1, slot, self._count, self._fee_sum)
        fields: dict[str, Sequence[int]] = {
            "amount": (*limbs_of(slot, 2), self._count, fees[2]),
            "fee": fees[:2],
            "word": word,
            "slot_advance": span_limbs(advance),
            "place": (self._sequence,),
        }
        self._touch(touch, [*(FEE_UNIT * fee for fee in fees), 0], fields)
        self._append(Array.TXS, word)
        self._height += 1
        self._count = 0
        self._fee_sum = 0

    def _write_key(self, entry: Entry) -> None:
        word = compress_words(self._hasher, entry.address_word, entry.key_digest)
        self.hashes.append(entry.address_word + entry.key_digest)
        self._write_row(
            {
                "register_key": (1,),
                "old": word_elements(entry.address_word),
                "new": word_elements(entry.key_digest),
                "word": word_elements(word),
                "place": (self._keys,),
            }
        )
        self.appended[Array.KEY][self._keys] = word
        self._keys += 1

    def _extend(self, touch: Touch, word: Elements, fields: dict[str, Sequence[int]]) -> None:
        step, peer, statement = touch.step, touch.cell, self._witness.statement
        if step.link is None or not 0 <= peer < statement.shards or peer == statement.shard:
            raise ProvingError(f"entry at sequence {self._sequence} goes to no other shard")
        place = (step.link, peer)
        if place not in self.links:
            raise ProvingError(f"the witness lacks the link {step.link.name} of shard {peer}")
        old = self.links[place]
        new = compress_words(self._hasher, old, word_bytes(word))
        self.hashes.append(old + word_bytes(word))
        fields |= self._timing(place) | {
            step.name: (1,),
            "cell": (peer,),
            "old": word_elements(old),
            "new": word_elements(new),
            "word": word,
            "carry": (pow(peer - statement.shard, -1, P),),
            "below_last": span_limbs(statement.shards - 1 - peer),
        }
        if step is SEND_LINK:
            fields["above_first"] = limbs_of(word[1] - FIRST_ACCOUNT, 2)
        elif step is RETURN_LINK:
            fields["above_first"] = limbs_of(word[0] - self._keys, 2)
        self._write_row(fields)
        self.links[place] = new

    def _timing(self, place: tuple[Array, int]) -> dict[str, Sequence[int]]:
        """Returns the order fields of a touch of a cell in the next row, which is then its last."""
        now, previous = self._row + 1, self._last_time.get(place, 0)
        self._last_time[place] = now
        return {"previous_time": (previous,), "elapsed": limbs_of(now - previous - 1, 2)}

    def _append(self, array: Array, word: Elements) -> None:
        self.appended[array][self._sequence] = word_bytes(word)
        self._sequence += 1

    def _touch(self, touch: Touch, moved: Sequence[int], fields: dict[str, Sequence[int]]) -> None:
        old, new = touch.old.elements(), touch.new.elements()
        fields |= self._timing((Array.ACC, touch.cell)) | {
            touch.step.name: (1,),
            "cell": (touch.cell,),
            "old": old,
            "new": new,
            "carry": _carries(old, moved, -1 if touch.step.takes else 1),
        }
        if touch.step.existence is not Existence.UNCHECKED:
            if touch.cell >= FIRST_ACCOUNT:
                fields["above_first"] = limbs_of(touch.cell - FIRST_ACCOUNT, 2)
            fields["below_last"] = span_limbs(self._keys - 1 - touch.cell)
        self._write_row(fields)
        self.accounts[touch.cell] = touch.new

    def _write_row(self, fields: Mapping[str, Sequence[int]]) -> None:
        if self._row >= self._layout.height - 1:
            raise ProvingError(f"the segment needs more than {self._layout.height} rows")
        for source in (self._counters(), fields):
            for name, values in source.items():
                for j, value in enumerate(values):
                    self._trace[self._lane.column(name, j), self._row] = value
        self._row += 1

    def _fill_memory(self) -> None:
        lane = self._layout.memory
        cells = [
            (Array.ACC, index, word, self.accounts[index].word())
            for index, word in self._witness.accounts
        ]
        cells += [
            (array, peer, word, self.links[array, peer])
            for array, peer, word in self._witness.links
        ]
        rows = [(*cell, self._last_time.get(cell[:2], 0)) for cell in cells]
        if len(rows) > self._layout.height:
            raise ProvingError(f"{len(rows)} cells do not fit {self._layout.height} rows")
        for row, (array, index, old, new, last_time) in enumerate(rows):
            for name, value in (
                ("touched", 1),
                ("tree", int(array)),
                ("index", index),
                ("last_time", last_time),
            ):
                self._trace[lane.column(name), row] = value
            for name, word in (("old", old), ("new", new)):
                places = lane.places[name]
                self._trace[places.start : places.stop, row] = np.frombuffer(word, dtype="<u4")


def _carries(old: Elements, moved: Sequence[int], sign: int) -> list[int]:
    """Returns the carries out of the lower limbs; borrows when `sign` is -1, never negative."""
    carries: list[int] = []
    carry = 0
    for j in range(AMOUNT_LIMBS - 1):
        carry = sign * (old[j] + moved[j] + sign * carry >> LIMB_BITS)
        carries.append(carry)
    return carries
