"""A small circuit proven with SHA-256, as the native verifier and as the light client know it, and changed proofs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

from proving.backends.port import Hasher
from proving.errors import ProofError
from proving.light.errors import ProofError as LightProofError
from proving.light.key import LightKey, parse_key
from proving.light.wrap import check_proof
from proving.stark.encoding import HEADER_BYTES, proof_sections
from proving.stark.key import VerifyingKey
from proving.stark.parameters import ProofParameters
from proving.verifier import AcceptancePolicy, KeyRing, verify
from tests.checks.light_key import light_key_text
from tests.suites.proofs import GRINDING, SMALL

HASHED = replace(SMALL, hash="sha256", key_cap_levels=1)
"""Few queries and no work."""

WORKING = replace(GRINDING, hash="sha256", key_cap_levels=2)
"""Work in every phase."""

ALL_CAP = replace(HASHED, log_cap=8, key_cap_levels=0)
"""Trees without paths."""

SETTINGS: tuple[ProofParameters, ...] = (HASHED, WORKING, ALL_CAP)

Verdict = tuple[str, str, str]
"""Name of the error, reason and place; three empty strings if the proof is accepted."""


@cache
def light_key(key_digest: str, text: str) -> LightKey:
    return parse_key(text.encode())


def known_to_light(key: VerifyingKey) -> LightKey:
    return light_key(key.digest_hex, light_key_text(key))


def native_verdict(key: VerifyingKey, data: bytes, hasher: Hasher) -> Verdict:
    try:
        verify(data, AcceptancePolicy(KeyRing.of([key]), hasher, minimum_bits=0))
    except ProofError as error:
        return type(error).__name__, error.reason.value, error.where
    return "", "", ""


def light_verdict(key: LightKey, data: bytes) -> Verdict:
    try:
        check_proof(key, data)
    except LightProofError as error:
        return type(error).__name__, error.reason, error.where
    return "", "", ""


def mutants(key: VerifyingKey, data: bytes, seed: int, per_section: int) -> Iterator[bytes]:
    """Yields changed proofs: bits, elements, lengths, headers; every section, first and last number among them."""
    rng = random.Random(seed)  # noqa: S311
    start = HEADER_BYTES
    for section in proof_sections(key):
        places = [0, section.num_bytes - 1]
        places += [rng.randrange(section.num_bytes) for _ in range(per_section)]
        for place in places:
            yield _changed(data, start + place, lambda byte: byte ^ 1 << rng.randrange(8))
        if section.entry_bytes == 4:
            place = start + rng.randrange(section.num_bytes) // 4 * 4
            yield data[:place] + b"\xff\xff\xff\xff" + data[place + 4 :]
        start += section.num_bytes
    for place in range(HEADER_BYTES):
        yield _changed(data, place, lambda byte: byte ^ 1 << rng.randrange(8))
    for length in (0, 3, 4, 43, 44, 45, len(data) // 2, len(data) - 1):
        yield data[:length]
    yield data + b"\0"
    yield data + data
    for _ in range(per_section):
        yield rng.randbytes(rng.randrange(2 * len(data)))
        yield data[:HEADER_BYTES] + rng.randbytes(len(data) - HEADER_BYTES)


def _changed(data: bytes, place: int, change: Callable[[int], int]) -> bytes:
    held = bytearray(data)
    held[place] = change(held[place])
    return bytes(held)
