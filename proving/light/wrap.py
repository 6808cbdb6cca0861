"""What a light client calls: the bytes of a day's last proof in, statement and payee out, or an error with its reason.

The steps are those of `proving.stark.check`, in transcript order, for the one key of WRAP. Any bytes end in a statement
or in one of two errors, in time and memory that the key bounds.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from proving.light.encoding import Proof
from proving.light.errors import ProofRejected
from proving.light.field import Element
from proving.light.identity import (
    LookupValues,
    check_identity,
    lookup_values,
    require_point_outside,
)
from proving.light.key import LightKey, wrap_key
from proving.light.queries import check_layers, check_rows, first_layer, make_batches
from proving.light.transcript import Label, Transcript

WORD_BYTES = 32
"""Bytes of a word: eight elements, little-endian."""


@dataclass(frozen=True, slots=True)
class WrapStatement:
    """What an accepted proof shows.

    Attributes:
        statement: The word that names what the day's last span says; 32 bytes.
        payee: The word that names who is paid for the proof; 32 bytes.
    """

    statement: bytes
    payee: bytes


def verify_wrap(data: bytes) -> WrapStatement:
    """Verifies a proof that ends a day.

    Args:
        data: Any bytes.

    Raises:
        ProofMalformed: The bytes are no proof of the key that this client knows.
        ProofRejected: They name another key, or are a proof of something that does not hold.
        KeyDamaged: The client's key file is not the one that it was made with.
    """
    publics = check_proof(wrap_key(), data)
    return WrapStatement(publics[:WORD_BYTES], publics[2 * WORD_BYTES :])


def check_proof(key: LightKey, data: bytes) -> bytes:
    """Verifies a proof of one key and returns its public inputs, four bytes each.

    Raises:
        ProofMalformed: The bytes are no proof of the key.
        ProofRejected: They name another key, or are a proof of something that does not hold.
    """
    proof = Proof(key, data)
    _Check(key, proof).run()
    return proof.raw("publics")


class _Check:
    """One proof on its way through the transcript."""

    def __init__(self, key: LightKey, proof: Proof) -> None:
        self._key = key
        self._proof = proof
        self._transcript = Transcript()

    def run(self) -> None:
        """Takes every step or raises."""
        key, proof, transcript = self._key, self._proof, self._transcript
        self._absorb_numbers(Label.KEY_DIGEST, *key.digest)
        self._absorb_numbers(Label.PARAMETERS, *key.elements)
        self._absorb_numbers(Label.KIND, key.kind)
        transcript.absorb(Label.PUBLICS, proof.raw("publics"))
        lookup = self._hear_lookups()
        challenge = transcript.challenge(Label.CONSTRAINT_CHALLENGE)
        transcript.absorb_bytes(Label.QUOTIENT_CAP, proof.raw("quotient_cap"))
        self._check_work("point_nonce", Label.POINT_GRINDING, "deep_pow_bits")
        point = transcript.challenge(Label.POINT)
        require_point_outside(key, point)
        opened = self._hear_openings()
        publics = proof.elements["publics"]
        check_identity(key, opened, publics, lookup, challenge=challenge, point=point)
        self._check_work("batching_nonce", Label.BATCHING_GRINDING, "batching_pow_bits")
        batching = transcript.challenge(Label.BATCHING_CHALLENGE)
        folding = self._hear_layers()
        self._check_work("query_nonce", Label.QUERY_GRINDING, "query_pow_bits")
        number = key.settings["num_queries"]
        indices = transcript.indices(Label.QUERY_INDICES, number, key.log_size)
        check_rows(key, proof, indices)
        batches = make_batches(key, opened, batching, point)
        values = first_layer(key, proof, batches, indices)
        check_layers(key, proof, folding, indices, values)

    def _absorb_numbers(self, label: Label, *numbers: int) -> None:
        self._transcript.absorb(label, struct.pack(f"<{len(numbers)}I", *numbers))

    def _check_work(self, section: str, label: Label, setting: str) -> None:
        bits = self._key.settings[setting]
        if not bits:
            return
        nonce = self._proof.elements[section][0]
        if not self._transcript.check_nonce(label, bits, nonce):
            raise ProofRejected("proof_of_work", section, f"{bits} zero bits", nonce)

    def _hear_lookups(self) -> LookupValues:
        transcript, proof = self._transcript, self._proof
        transcript.absorb_bytes(Label.MAIN_CAP, proof.raw("main_cap"))
        self._check_work("lookup_nonce", Label.LOOKUP_GRINDING, "lookup_pow_bits")
        alpha = transcript.challenge(Label.LOOKUP_ALPHA)
        beta = transcript.challenge(Label.LOOKUP_BETA)
        values = lookup_values(self._key, proof.elements["publics"], alpha, beta)
        transcript.absorb_bytes(Label.LOOKUP_CAP, proof.raw("lookup_cap"))
        return values

    def _hear_openings(self) -> dict[str, list[Element]]:
        names = (*self._key.widths, "main_next", "lookup_next")
        raw = b"".join(self._proof.raw(f"{name}_openings") for name in names)
        self._transcript.absorb(Label.OPENINGS, raw)
        return {name: self._proof.field_elements(f"{name}_openings") for name in names}

    def _hear_layers(self) -> list[Element]:
        transcript, proof = self._transcript, self._proof
        challenges: list[Element] = []
        for number in range(len(self._key.layers)):
            transcript.absorb_bytes(Label.LAYER_CAP, proof.raw(f"layer{number}_cap"))
            section = f"layer{number}_nonce"
            self._check_work(section, Label.FOLDING_GRINDING, "commit_pow_bits")
            challenges.append(transcript.challenge(Label.FOLDING_CHALLENGE))
        transcript.absorb(Label.FINAL_POLYNOMIAL, proof.raw("final_polynomial"))
        return challenges
