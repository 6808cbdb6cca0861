"""Keys and proofs of the small circuits, made once per test run."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import prod

import numpy as np

from proving.backends.port import FieldArray
from proving.backends.reference import ReferenceBackend
from proving.errors import ProofError
from proving.prover import StarkProof, prove_stark
from proving.stark.check import StarkVerdict, verify_stark
from proving.stark.encoding import HEADER_BYTES, proof_sections
from proving.stark.key import VerifyingKey
from proving.stark.parameters import ProofParameters
from proving.stark.setup import ProvingKey, make_proving_key
from tests.suites.circuits import Exchange, Fibonacci

BACKEND = ReferenceBackend()

SMALL = ProofParameters(
    log_blowup=2, num_queries=12, log_cap=2, log_final_length=1, query_pow_bits=2
)
"""Few queries, for speed; far below any acceptance policy."""

GRINDING = replace(
    SMALL,
    log_arity=2,
    batching_pow_bits=6,
    commit_pow_bits=6,
    deep_pow_bits=6,
    lookup_pow_bits=6,
    query_pow_bits=6,
)
"""Work in every phase."""

EVERYTHING = ProofParameters(
    log_blowup=2,
    num_queries=5,
    log_arity=3,
    log_cap=3,
    log_final_length=1,
    query_pow_bits=5,
    lookup_pow_bits=2,
    deep_pow_bits=3,
    commit_pow_bits=2,
    batching_pow_bits=1,
)
"""Every optional part of a proof is there, and the last fold is smaller than the others."""

Circuit = Fibonacci | Exchange


@cache
def proving_key(air: Circuit, parameters: ProofParameters = SMALL, kind: int = 7) -> ProvingKey:
    return make_proving_key(kind, air, parameters, BACKEND)


@cache
def honest_proof(air: Circuit, parameters: ProofParameters = SMALL, kind: int = 7) -> StarkProof:
    publics, trace = air.witness()
    return prove_stark(proving_key(air, parameters, kind), publics, trace, BACKEND)


def forged_proof(
    air: Circuit, publics: list[int], trace: FieldArray, key: ProvingKey | None = None
) -> bytes:
    """Proves a false claim as far as the protocol goes."""
    chosen = proving_key(air) if key is None else key
    return prove_stark(chosen, publics, trace, BACKEND, check_witness=False).data


def check(key: ProvingKey, data: bytes, publics: list[int] | None = None) -> StarkVerdict:
    return verify_stark(key.verifying_key, publics, data, BACKEND)


def refusal(key: ProvingKey, data: bytes, publics: list[int] | None = None) -> str:
    """Returns the reason of the error that a proof ends in; fails if it is accepted."""
    try:
        check(key, data, publics)
    except ProofError as error:
        return error.reason.value
    raise AssertionError("the proof was accepted")


def section_offsets(key: VerifyingKey) -> dict[str, tuple[int, int]]:
    """Returns the (first byte, number of elements) of every section."""
    offsets: dict[str, tuple[int, int]] = {}
    start = HEADER_BYTES
    for section in proof_sections(key):
        offsets[section.name] = (start, prod(section.shape))
        start += section.num_bytes
    return offsets


def with_element(data: bytes, offset: int, value: int) -> bytes:
    """Returns the bytes with one 32-bit element replaced."""
    return data[:offset] + value.to_bytes(4, "little") + data[offset + 4 :]


def element_at(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")


def with_header_of(key: VerifyingKey, data: bytes) -> bytes:
    """Returns the bytes relabelled as a proof under another key."""
    digest = np.array([key.kind, *key.digest], dtype="<u4").tobytes()
    return data[:8] + digest + data[HEADER_BYTES:]
