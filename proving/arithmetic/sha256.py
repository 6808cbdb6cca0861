"""SHA-256 over many messages with the standard library: the hash of proofs that no circuit verifies.

Words are 32 bits and little-endian, as proofs store elements. Source: FIPS 180-4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
"""Messages or digests, one a row."""

SHA256_BYTES = 32
"""Bytes of a whole digest."""

MOST_SHORT_BYTES = 55
"""Bytes of the longest message that one compression takes: 64 less a bit of padding and the length."""

ROWS_TOGETHER = 4096
"""Rows of a matrix that are turned at a time."""


def sha256_rows(columns: NDArray[np.uint32], prefix: Sequence[int]) -> Bytes:
    """Hashes each row of a (c, n) matrix of words after the same words: (n, 32)."""
    count, size = columns.shape
    start = np.array(prefix, dtype="<u4").tobytes()
    out = np.empty((size, SHA256_BYTES), dtype=np.uint8)
    for first in range(0, size, ROWS_TOGETHER):
        part = np.ascontiguousarray(columns[:, first : first + ROWS_TOGETHER].T, dtype="<u4")
        data, width = part.tobytes(), 4 * count
        digests = [
            hashlib.sha256(start + data[width * row : width * (row + 1)]).digest()
            for row in range(len(part))
        ]
        out[first : first + len(part)] = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)
    return out


def sha256_messages(messages: Bytes) -> Bytes:
    """Hashes each of (n, m) messages of m bytes: (n, 32)."""
    count, width = messages.shape
    data = messages.tobytes()
    digests = [
        hashlib.sha256(data[width * row : width * (row + 1)]).digest() for row in range(count)
    ]
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(count, SHA256_BYTES)
