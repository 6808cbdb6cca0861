"""The state's roots from the dictionaries of the naive ledger, recomputed from nothing for every window.

Written from the description of the arrays, the tree and the byte hash; of `proving` it takes only the
permutation. Source: proving/README.md "Hashing", proving/ledger/README.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.adversary.naive_ledger import Message, NaiveLedger
from proving.backends.port import Hasher
from schemas.transactions import Transaction

MODULUS = 2**31 - 2**24 + 1
DEPTH = 30
STATE_ARRAYS = 8
"""Arrays whose roots name the state: ACC and KEY, four that are empty, then OUT and INB."""

Word = tuple[int, ...]
ZERO: Word = (0,) * 8


class NaiveBooks(NaiveLedger):
    """A naive ledger that also keeps the words of KEY and TXS.

    Args:
        chain: Chain number.
        shard: Shard number.
        minimum_fee: In fee units.
        issuer_key: Public key of the reserve.
        hasher: Runs the permutation.
        shards: Number of shards.
    """

    def __init__(
        self,
        chain: int,
        shard: int,
        minimum_fee: int,
        issuer_key: bytes,
        hasher: Hasher,
        *,
        shards: int,
    ) -> None:
        super().__init__(chain, shard, minimum_fee, shards=shards)
        self._hasher = hasher
        self.key_words: dict[int, Word] = {0: self._key_word(bytes(20), issuer_key)}
        self.listed: dict[int, Word] = {}
        self.height = 0

    def copy(self) -> NaiveBooks:
        """Returns books that start equal to these."""
        other = NaiveBooks.__new__(NaiveBooks)
        for name, value in vars(self).items():
            kept = name == "_hasher" or isinstance(value, int)
            setattr(other, name, value if kept else value.copy())
        return other

    def open_window(self) -> None:
        """Empties the window's list."""
        self.listed.clear()

    def execute_block(self, transactions: Sequence[Transaction], slot: int) -> list[str | None]:
        """Executes what is valid and returns why the rest is not, in order."""
        verdicts: list[str | None] = []
        fees = count = 0
        for body in transactions:
            index = self.next_index
            verdicts.append(reason := self.execute(body, slot))
            if reason is not None:
                continue
            recipient = body.recipient
            if body.kind.name == "REGISTER":
                recipient = index
                self.key_words[index] = self._key_word(body.address, body.public_key)
            high, low = divmod(body.amount, 2**30)
            numbers = (body.nonce, body.fee, body.expiry, int(body.kind))
            if body.kind.name == "OUTBOUND":
                numbers = (body.nonce, body.fee, body.expiry, 10 + 256 * body.peer)
            elif body.kind.name == "INBOUND":
                numbers = (body.nonce, body.peer, self.shard, 11)
            self._list((body.sender, recipient, low, high, *numbers))
            fees, count = fees + body.fee, count + 1
        self.height += 1
        self._list((self.height, slot, count, fees % 2**30, fees // 2**30, 0, 0, 4))
        return verdicts

    def roots(self) -> dict[str, str]:
        """Returns the roots of ACC, KEY, OUT, INB and TXS, and the word of the state, hex."""
        accounts = {
            index: _account_word(self.balance.get(index, 0), self.nonce.get(index, 0))
            for index in self.balance.keys() | self.nonce.keys()
        }
        links = (self._links(self.sent, goes=True), self._links(self.arrived, goes=False))
        arrays = (accounts, self.key_words, *links, self.listed)
        roots = [self._root(cells) for cells in arrays]
        state = [*roots[:2], *[self._root({})] * (STATE_ARRAYS - 4), *roots[2:4]]
        counter = self.next_index.to_bytes(4, "little")
        name = self._hash("state", b"".join(map(_bytes, state)) + counter)
        names = ("ACC", "KEY", "OUT", "INB", "TXS", "state")
        named = zip(names, (*roots, name), strict=True)
        return {key: _bytes(word).hex() for key, word in named}

    def _links(self, lists: Mapping[int, Sequence[Message]], *, goes: bool) -> dict[int, Word]:
        """Returns the word of each link: all its messages, folded one after the other."""
        heads = dict.fromkeys(lists, ZERO)
        for peer, messages in lists.items():
            ends = (self.shard, peer) if goes else (peer, self.shard)
            for sender, recipient, amount, nonce in messages:
                high, low = divmod(amount, 2**30)
                word = (sender, recipient, low, high, nonce, *ends, 11)
                heads[peer] = self._compress([(*heads[peer], *word)])[0]
        return heads

    def _list(self, word: Word) -> None:
        self.listed[len(self.listed)] = word

    def _root(self, cells: Mapping[int, Word]) -> Word:
        level = {index: word for index, word in cells.items() if any(word)}
        empty = ZERO
        for _ in range(DEPTH):
            parents = sorted({index >> 1 for index in level})
            pairs = [
                (*level.get(2 * index, empty), *level.get(2 * index + 1, empty))
                for index in parents
            ]
            *words, empty = self._compress([*pairs, (*empty, *empty)])
            level = dict(zip(parents, words, strict=True))
        return level.get(0, empty)

    def _compress(self, pairs: Sequence[Word]) -> list[Word]:
        states = np.array(pairs, dtype=np.uint32)
        sums = self._hasher.permute(states)[:, :8].astype(np.uint64) + states[:, :8]
        return [tuple(word) for word in (sums % MODULUS).tolist()]

    def _key_word(self, address: bytes, public_key: bytes) -> Word:
        padded = address + bytes(4)
        name = tuple(int.from_bytes(padded[i : i + 3], "little") for i in range(0, 24, 3))
        return self._compress([(*name, *self._hash("public_key", public_key))])[0]

    def _hash(self, label: str, data: bytes) -> Word:
        name = label.encode()
        stream = len(name).to_bytes(3, "little") + len(data).to_bytes(6, "little") + name + data
        stream += bytes(-len(stream) % 24)
        state: NDArray[np.uint32] = np.zeros((1, 16), dtype=np.uint32)
        for start in range(0, len(stream), 24):
            block = stream[start : start + 24]
            added = [int.from_bytes(block[i : i + 3], "little") for i in range(0, 24, 3)]
            rate = (state[0, :8].astype(np.uint64) + np.array(added, dtype=np.uint64)) % MODULUS
            state[0, :8] = rate.astype(np.uint32)
            state = self._hasher.permute(state)
        return tuple(state[0, :8].tolist())


def _account_word(balance: int, nonce: int) -> Word:
    limbs = tuple(balance >> 15 * j & 0x7FFF for j in range(4))
    return (*limbs, nonce, 0, 0, 0)


def _bytes(word: Word) -> bytes:
    return b"".join(element.to_bytes(4, "little") for element in word)
