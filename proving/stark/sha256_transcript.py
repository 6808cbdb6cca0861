"""The Fiat-Shamir transcript of proofs that no circuit verifies: a chain of SHA-256 digests.

A message and a request replace the 32 bytes of state by the digest of (tag, state, label, length, content); what is
drawn are digests of (tag, state, counter), read as words. Every word is 32 bits, little-endian, and an element or a
byte of a digest takes one. The first byte of every message tells its use, here and in the trees, so no two uses
hash the same. Source: proving/README.md "SHA-256".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np

from proving.arithmetic.modulus import P
from proving.arithmetic.sha256 import sha256_rows
from proving.backends.port import Backend, FieldArray, Hasher
from proving.errors import ProvingError
from proving.stark.transcript import Label, Transcript, TranscriptEvent
from schemas.errors import ParameterError

ABSORB_TAG, REQUEST_TAG, OUTPUT_TAG, GRINDING_TAG = 2, 3, 4, 5
"""First words; 0 and 1 begin what the trees hash."""

STATE_WORDS = 8
"""Words of state: a whole digest, so that two histories with one state cost 2^128."""

RESIDUE_BITS = 31
"""Low bits of a word that are tried as a residue; 127 of 128 are below P, and the others are skipped."""

GRINDING_BLOCK = 2**16
"""Nonces tried together."""


class Sha256Transcript(Transcript):
    """A transcript that the standard library can repeat."""

    def __init__(self, hasher: Hasher) -> None:
        super().__init__(hasher)
        self._chain = bytes(4 * STATE_WORDS)

    def indices(self, label: Label, count: int, log_size: int) -> FieldArray:
        """Draws `count` independent indices below 2^log_size, exactly uniform: the low bits of words.

        Raises:
            ParameterError: log_size is above 32.
        """
        if not 0 <= log_size <= 32:
            raise ParameterError(f"a word has no {log_size} bits")
        self._advance(REQUEST_TAG, label, [count])
        words = self._output()
        drawn = [next(words) & ((1 << log_size) - 1) for _ in range(count)]
        self.events.append(TranscriptEvent("indices", label, tuple(drawn)))
        return np.array(drawn, dtype=np.uint32)

    def grind(self, label: Label, bits: int, backend: Backend) -> int:
        """Finds and absorbs the least nonce whose digest begins with `bits` low zero bits.

        Raises:
            ProvingError: No nonce below P does.
        """
        prefix = self._grinding_words(label, bits)
        mask = (1 << bits) - 1
        for start in range(0, P, GRINDING_BLOCK):
            nonces = np.arange(start, min(start + GRINDING_BLOCK, P), dtype=np.uint32)
            digests = backend.sha256_rows(nonces[None, :], prefix)
            first = np.ascontiguousarray(digests[:, :4]).view("<u4")[:, 0]
            passing = np.flatnonzero(first & np.uint32(mask) == 0)
            if len(passing):
                nonce = start + int(passing[0])
                self.check_nonce(label, bits, nonce)
                return nonce
        raise ProvingError(f"no nonce gives {bits} zero bits")

    def check_nonce(self, label: Label, bits: int, nonce: int) -> bool:
        """Absorbs a nonce (canonical, checked by the decoder) and tells whether it does the work."""
        prefix = self._grinding_words(label, bits)
        nonces = np.array([[nonce]], dtype=np.uint32)
        self._chain = sha256_rows(nonces, prefix)[0].tobytes()
        self.events.append(TranscriptEvent("grinding", label, (bits, nonce)))
        return int.from_bytes(self._chain[:4], "little") & ((1 << bits) - 1) == 0

    def _grinding_words(self, label: Label, bits: int) -> list[int]:
        state = np.frombuffer(self._chain, dtype="<u4").tolist()
        return [GRINDING_TAG, *state, int(label), bits]

    def _hear(self, label: Label, elements: Sequence[int]) -> None:
        self._advance(ABSORB_TAG, label, [len(elements), *elements])

    def _request(self, label: Label, shown: int) -> list[int]:
        self._advance(REQUEST_TAG, label, [shown])
        words = self._output()
        mask = (1 << RESIDUE_BITS) - 1
        residues = (word & mask for word in words)
        canonical = (residue for residue in residues if residue < P)
        return [next(canonical) for _ in range(shown)]

    def _advance(self, tag: int, label: Label, words: Sequence[int]) -> None:
        content = np.array([int(label), *words], dtype="<u4").tobytes()
        self._chain = hashlib.sha256(tag.to_bytes(4, "little") + self._chain + content).digest()

    def _output(self) -> Iterator[int]:
        """Yields words that depend on the state and on nothing else, without end."""
        start = OUTPUT_TAG.to_bytes(4, "little") + self._chain
        for number in count():
            block = hashlib.sha256(start + number.to_bytes(4, "little")).digest()
            yield from np.frombuffer(block, dtype="<u4").tolist()
