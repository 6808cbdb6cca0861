"""The Fiat-Shamir transcript over SHA-256, as a verifier runs it. Source: proving/README.md "SHA-256"."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from hashlib import sha256
from itertools import count

from proving.light.field import DEGREE, Element, P

ABSORB_TAG, REQUEST_TAG, OUTPUT_TAG, GRINDING_TAG = 2, 3, 4, 5
"""First words of messages; 0 and 1 begin what the trees hash."""

RESIDUE_MASK = 2**31 - 1
"""Bits of a word that are tried as a residue; one that is not below P is skipped."""


class Label(IntEnum):
    """Names of messages and requests, with the numbers of the protocol."""

    KEY_DIGEST = 1
    PARAMETERS = 2
    KIND = 3
    PUBLICS = 4
    MAIN_CAP = 5
    LOOKUP_GRINDING = 6
    LOOKUP_ALPHA = 7
    LOOKUP_BETA = 8
    LOOKUP_CAP = 9
    CONSTRAINT_CHALLENGE = 10
    QUOTIENT_CAP = 11
    POINT_GRINDING = 12
    POINT = 13
    OPENINGS = 14
    BATCHING_GRINDING = 15
    BATCHING_CHALLENGE = 16
    LAYER_CAP = 17
    FOLDING_GRINDING = 18
    FOLDING_CHALLENGE = 19
    FINAL_POLYNOMIAL = 20
    QUERY_GRINDING = 21
    QUERY_INDICES = 22


class Transcript:
    """A chain of digests that is fed what the prover fed it."""

    def __init__(self) -> None:
        self._state = bytes(32)

    def absorb(self, label: Label, words: bytes) -> None:
        """Absorbs elements as little-endian words."""
        start = struct.pack("<I", ABSORB_TAG) + self._state
        self._state = sha256(start + struct.pack("<II", label, len(words) // 4) + words).digest()

    def absorb_bytes(self, label: Label, data: bytes) -> None:
        """Absorbs digests, a byte a word."""
        words = bytearray(4 * len(data))
        words[::4] = data
        self.absorb(label, bytes(words))

    def challenge(self, label: Label) -> Element:
        """Draws a uniform element of the challenge field."""
        words = self._request(label, DEGREE)
        drawn: list[int] = []
        while len(drawn) < DEGREE:
            residue = next(words) & RESIDUE_MASK
            if residue < P:
                drawn.append(residue)
        return (drawn[0], drawn[1], drawn[2], drawn[3], drawn[4])

    def indices(self, label: Label, number: int, log_size: int) -> list[int]:
        """Draws independent uniform indices below 2^log_size."""
        words = self._request(label, number)
        return [next(words) & ((1 << log_size) - 1) for _ in range(number)]

    def check_nonce(self, label: Label, bits: int, nonce: int) -> bool:
        """Absorbs a nonce and tells whether it does the work."""
        start = struct.pack("<I", GRINDING_TAG) + self._state
        self._state = sha256(start + struct.pack("<III", label, bits, nonce)).digest()
        return int.from_bytes(self._state[:4], "little") & ((1 << bits) - 1) == 0

    def _request(self, label: Label, number: int) -> Iterator[int]:
        start = struct.pack("<I", REQUEST_TAG) + self._state
        self._state = sha256(start + struct.pack("<II", label, number)).digest()
        return self._output(struct.pack("<I", OUTPUT_TAG) + self._state)

    @staticmethod
    def _output(start: bytes) -> Iterator[int]:
        for number in count():
            yield from struct.unpack("<8I", sha256(start + struct.pack("<I", number)).digest())
