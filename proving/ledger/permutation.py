"""Compression and byte hash of the ledger over the Poseidon2 permutation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proving.arithmetic.modulus import WORD, P
from proving.backends.port import FieldArray, Hasher
from schemas.errors import ParameterError


def compress(hasher: Hasher, pairs: FieldArray) -> FieldArray:
    """Compresses (n, 16) pairs of words to (n, 8): C(l, r) = P(l || r)[0:8] + l."""
    digests = hasher.permute(pairs)[:, :WORD].astype(np.uint64) + pairs[:, :WORD]
    return (digests % np.uint64(P)).astype(np.uint32)


def hash_bytes(hasher: Hasher, label: str, data: bytes) -> bytes:
    """Hashes bytes to a word, 32 canonical bytes.

    A sponge with additive absorption of eight elements of three bytes per permutation; the stream begins
    with the lengths of label and data, so that no two inputs share one.
    """
    return hash_many(hasher, label, [data])[0]


def hash_many(hasher: Hasher, label: str, messages: Sequence[bytes]) -> list[bytes]:
    """Hashes messages of one length, one permutation call for all of them per block.

    Raises:
        ParameterError: The lengths differ.
    """
    if len({len(message) for message in messages}) > 1:
        raise ParameterError("messages hashed together must have one length")
    if not messages:
        return []
    name = label.encode()
    head = len(name).to_bytes(3, "little") + len(messages[0]).to_bytes(6, "little") + name
    padding = bytes(-(len(head) + len(messages[0])) % (3 * WORD))
    streams = b"".join(head + message + padding for message in messages)
    padded = np.zeros((len(streams) // 3, 4), dtype=np.uint8)
    padded[:, :3] = np.frombuffer(streams, dtype=np.uint8).reshape(-1, 3)
    blocks = padded.reshape(-1).view("<u4").reshape(len(messages), -1, WORD)
    state = np.zeros((len(messages), 2 * WORD), dtype=np.uint32)
    for position in range(blocks.shape[1]):
        absorbed = state[:, :WORD].astype(np.uint64) + blocks[:, position]
        state[:, :WORD] = (absorbed % np.uint64(P)).astype(np.uint32)
        state = hasher.permute(state)
    return [row.astype("<u4").tobytes() for row in state[:, :WORD]]
