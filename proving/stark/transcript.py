"""The Fiat-Shamir transcript: a Poseidon2 duplex sponge with typed, length-bound messages.

`sha256_transcript` keeps the same labels and order over another hash.

Sixteen elements of state: the first eight are the rate, the last eight are never written nor shown. A block
overwrites the rate and is permuted. Every message and every request begins with a block of its own that holds
its label and its length or count; a message's elements follow in whole blocks, the last filled up with zeros.
So two different histories never feed the sponge the same blocks, and a circuit that repeats the transcript
finds every element at a fixed place of a word. Both sides of a proof run the same class, and it records what
happened under readable labels. Source: proving/README.md "Transcript".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, PERMUTATION_WIDTH, WORD, P
from proving.backends.port import Backend, FieldArray, Hasher
from schemas.errors import InvariantError, ParameterError

RATE = 8
"""Elements written or shown per permutation; the other eight carry 248 bits of capacity."""

NONCE_POSITION = 2
"""Place of the nonce in its block: after the label and the number of bits."""


class Label(IntEnum):
    """Names of messages and requests; the numbers go into the sponge and never change."""

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
    KEY_DESCRIPTION = 23
    PREPROCESSED_CAP = 24
    STATEMENT_DIGEST = 25
    KEY = 26
    SPAN = 27
    GLOBAL_SPAN = 28


@dataclass(frozen=True, slots=True)
class TranscriptEvent:
    """One thing that was said.

    Attributes:
        action: `absorb`, `challenge`, `indices` or `grinding`.
        label: Its label.
        values: The elements absorbed or drawn; for grinding the bits and the nonce.
    """

    action: str
    label: Label
    values: tuple[int, ...]


class NotUniform(ArithmeticError):
    """An index was drawn from the one residue that would favour index 0."""


class Transcript:
    """A sponge that both sides feed in the same order.

    Attributes:
        events: Everything absorbed and drawn so far.
    """

    def __init__(self, hasher: Hasher) -> None:
        self.events: list[TranscriptEvent] = []
        self._hasher = hasher
        self._state: FieldArray = np.zeros((1, PERMUTATION_WIDTH), dtype=np.uint32)

    def absorb(self, label: Label, values: Sequence[int] | FieldArray) -> None:
        """Absorbs a message of canonical elements, preceded by its label and length.

        Raises:
            ParameterError: A value is not a canonical residue.
        """
        elements = [int(value) for value in np.asarray(values).reshape(-1)]
        if any(not 0 <= value < P for value in elements):
            raise ParameterError(f"{label.name} holds an element that is not below P")
        self.events.append(TranscriptEvent("absorb", label, tuple(elements)))
        self._hear(label, elements)

    def challenge(self, label: Label) -> tuple[int, ...]:
        """Draws a uniform element of the extension field, as five coordinates."""
        drawn = tuple(self._request(label, EXTENSION_DEGREE))
        self.events.append(TranscriptEvent("challenge", label, drawn))
        return drawn

    def word(self, label: Label) -> tuple[int, ...]:
        """Draws eight elements: a digest of everything absorbed."""
        drawn = tuple(self._request(label, WORD))
        self.events.append(TranscriptEvent("challenge", label, drawn))
        return drawn

    def indices(self, label: Label, count: int, log_size: int) -> FieldArray:
        """Draws `count` independent indices below 2^log_size, exactly uniform: the low bits of residues.

        P - 1 is a multiple of 2^24, so the low bits of a residue below P - 1 are uniform. The one residue
        P - 1 is refused rather than skipped, so that every index has a fixed place in the transcript.

        Returns:
            (count,) uint32, duplicates possible.

        Raises:
            ParameterError: log_size is above 24.
            NotUniform: A residue P - 1 was drawn (probability below count / 2^30).
        """
        if not 0 <= log_size <= 24:
            raise ParameterError(f"indices of {log_size} bits would be biased")
        self._block([int(label), count])
        drawn = self._rate()
        while len(drawn) < count:
            self._permute()
            drawn += self._rate()
        if P - 1 in drawn[:count]:
            raise NotUniform(f"{label.name} drew P - 1")
        result = np.array(drawn[:count], dtype=np.uint32) & np.uint32(2**log_size - 1)
        self.events.append(TranscriptEvent("indices", label, tuple(int(i) for i in result)))
        return result

    def grind(self, label: Label, bits: int, backend: Backend) -> int:
        """Finds and absorbs the nonce that makes the next state end in `bits` zero bits.

        Raises:
            ProvingError: No nonce exists (probability below 2^-128 per call at 24 bits).
        """
        state = self._grinding_state(label, bits)
        nonce = backend.grind(state, NONCE_POSITION, bits)
        if not self.check_nonce(label, bits, nonce):
            raise InvariantError(
                f"{backend.name} found a nonce for {label.name} that does not pass"
            )
        return nonce

    def check_nonce(self, label: Label, bits: int, nonce: int) -> bool:
        """Absorbs a nonce (canonical, checked by the decoder) and tells whether it does the work."""
        state = self._grinding_state(label, bits)
        state[NONCE_POSITION] = nonce
        self._state = state.reshape(1, PERMUTATION_WIDTH)
        self._permute()
        self.events.append(TranscriptEvent("grinding", label, (bits, nonce)))
        return int(self._state[0, 0]) & ((1 << bits) - 1) == 0

    def _grinding_state(self, label: Label, bits: int) -> FieldArray:
        state: FieldArray = np.array(self._state[0], dtype=np.uint32)
        state[:RATE] = 0
        state[0], state[1] = int(label), bits
        return state

    def _hear(self, label: Label, elements: Sequence[int]) -> None:
        self._block([int(label), len(elements)])
        for start in range(0, len(elements), RATE):
            self._block(elements[start : start + RATE])

    def _request(self, label: Label, shown: int) -> list[int]:
        self._block([int(label), shown])
        return self._rate()[:shown]

    def _rate(self) -> list[int]:
        return [int(value) for value in self._state[0, :RATE]]

    def _permute(self) -> None:
        self._state = self._hasher.permute(self._state)

    def _block(self, elements: Sequence[int]) -> None:
        """Overwrites the rate with at most eight elements and zeros, and permutes."""
        self._state[0, :RATE] = [*elements, *[0] * (RATE - len(elements))]
        self._permute()
