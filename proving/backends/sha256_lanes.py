"""SHA-256 of many messages at once on vectors of lanes, shared by a team of threads."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

import numpy as np

from proving.arithmetic.sha256 import MOST_SHORT_BYTES, SHA256_BYTES, Bytes
from proving.backends.machine_code import MachineCode
from proving.backends.port import FieldArray
from proving.backends.sha256_lowering import (
    BLOCK_WORDS,
    HASH_MESSAGES,
    STATE_WORDS,
    sha256_module,
)
from proving.backends.team import Team
from schemas.errors import ParameterError

LEAST_SHARED = 4096
"""Rows that are worth waking a thread for; a multiple of every width of vectors."""

MESSAGES_TOGETHER = 2**16
"""Short messages that are laid out in columns together: 4 MiB."""

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64


@cache
def _code(lanes: int) -> MachineCode:
    return MachineCode(sha256_module(lanes))


class Sha256Lanes:
    """Hashes rows of matrices and short messages."""

    def __init__(self, lanes: int, team: Team) -> None:
        """Compiles the hash, or loads it."""
        self._lanes, self._team = lanes, team
        kinds = (_POINTER, _SIZE, _POINTER, _SIZE, _SIZE, _SIZE)
        self._hash = _code(lanes).function(HASH_MESSAGES, *kinds)

    def rows(self, columns: FieldArray, prefix: Sequence[int]) -> Bytes:
        """Hashes each row of (c, n) words after the same words: (n, 32)."""
        count, size = columns.shape
        rows = np.ascontiguousarray(columns, dtype=np.uint32)
        if size % self._lanes:
            rows = np.pad(rows, ((0, 0), (0, -size % self._lanes)))
        length = 4 * (len(prefix) + count)
        blocks = -(-(length + 9) // 64)
        padding = [0] * (BLOCK_WORDS * blocks - len(prefix) - count)
        padding[0] = 0x80
        padding[-1] = int.from_bytes((8 * length).to_bytes(4, "big"), "little")
        shared = np.array([*prefix, *padding], dtype=np.uint32)
        spread = np.repeat(shared[:, None], self._lanes, axis=1)
        table = np.zeros((BLOCK_WORDS * blocks, 2), dtype=np.int64)
        places = spread.ctypes.data + 4 * self._lanes * np.arange(len(shared))
        middle = slice(len(prefix), len(prefix) + count)
        table[: middle.start, 0] = places[: len(prefix)]
        table[middle, 0] = rows.ctypes.data + 4 * rows.shape[1] * np.arange(count)
        table[middle, 1] = 1
        table[middle.stop :, 0] = places[len(prefix) :]
        return self._digests(table, blocks, rows.shape[1])[:size]

    def messages(self, messages: Bytes) -> Bytes:
        """Hashes each of (n, m) messages of m bytes: (n, 32).

        Raises:
            ParameterError: m is above 55.
        """
        count, width = messages.shape
        if width > MOST_SHORT_BYTES:
            raise ParameterError(f"messages of {width} bytes, at most {MOST_SHORT_BYTES}")
        out = np.empty((count, SHA256_BYTES), dtype=np.uint8)
        for start in range(0, count, MESSAGES_TOGETHER):
            part = messages[start : start + MESSAGES_TOGETHER]
            padded = np.zeros((len(part) + -len(part) % self._lanes, 64), dtype=np.uint8)
            padded[: len(part), :width] = part
            padded[:, width] = 0x80
            padded[:, 60:] = np.frombuffer((8 * width).to_bytes(4, "big"), dtype=np.uint8)
            words = np.ascontiguousarray(padded.view(np.uint32).T)
            table = np.ones((BLOCK_WORDS, 2), dtype=np.int64)
            table[:, 0] = words.ctypes.data + 4 * words.shape[1] * np.arange(BLOCK_WORDS)
            out[start : start + len(part)] = self._digests(table, 1, words.shape[1])[: len(part)]
        return out

    def _digests(
        self, table: np.ndarray[tuple[int, ...], np.dtype[np.int64]], blocks: int, size: int
    ) -> Bytes:
        target = np.empty((STATE_WORDS, size), dtype=np.uint32)
        entries, place = table.ctypes.data, target.ctypes.data

        def hash_part(start: int, end: int) -> None:
            self._hash(entries, blocks, place, size, start, end)

        self._team.share(hash_part, size, LEAST_SHARED)
        return np.ascontiguousarray(target.T).astype(">u4").view(np.uint8)
