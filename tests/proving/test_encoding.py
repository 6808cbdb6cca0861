"""Byte layout: one encoding per proof, exact lengths, canonical elements, nothing else accepted."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from math import prod

import numpy as np
import pytest

from proving.arithmetic.modulus import P
from proving.errors import ProofError, ProofMalformed, RejectionReason
from proving.stark.encoding import (
    HEADER_BYTES,
    MAX_PROOF_BYTES,
    decode_proof,
    encode_proof,
    proof_bytes,
    proof_sections,
    read_header,
)
from proving.stark.key import PROTOCOL_VERSION
from proving.stark.parameters import ProofParameters
from schemas.errors import ParameterError
from tests.suites.circuits import Exchange, Fibonacci
from tests.suites.proofs import (
    GRINDING,
    SMALL,
    Circuit,
    honest_proof,
    proving_key,
    section_offsets,
    with_element,
)

KEY = proving_key(Exchange(), GRINDING).verifying_key
PROOF = honest_proof(Exchange(), GRINDING).data


def refusal_of(data: bytes) -> ProofError:
    with pytest.raises(ProofMalformed) as error:
        decode_proof(KEY, data)
    return error.value


@pytest.mark.parametrize("air", [Fibonacci(), Exchange()])
@pytest.mark.parametrize("parameters", [SMALL, GRINDING, replace(SMALL, log_cap=8)])
def test_reencoding_a_decoded_proof_gives_the_same_bytes(
    air: Circuit, parameters: ProofParameters
) -> None:
    """SOUNDNESS 1 item 1: no malleability."""
    key, proof = proving_key(air, parameters).verifying_key, honest_proof(air, parameters)
    assert len(proof.data) == proof_bytes(key)
    assert encode_proof(key, decode_proof(key, proof.data)) == proof.data


def test_the_layout_lists_every_section_in_transcript_order() -> None:
    names = [section.name for section in proof_sections(KEY)]
    assert names == [
        "publics",
        "main_cap",
        "lookup_nonce",
        "lookup_cap",
        "quotient_cap",
        "point_nonce",
        "fixed_openings",
        "main_openings",
        "lookup_openings",
        "quotient_openings",
        "main_next_openings",
        "lookup_next_openings",
        "batching_nonce",
        "layer0_cap",
        "layer0_nonce",
        "layer1_cap",
        "layer1_nonce",
        "final_polynomial",
        "query_nonce",
        "fixed_rows",
        "fixed_paths",
        "main_rows",
        "main_paths",
        "lookup_rows",
        "lookup_paths",
        "quotient_rows",
        "quotient_paths",
        "layer0_leaves",
        "layer0_paths",
        "layer1_leaves",
        "layer1_paths",
    ]
    assert HEADER_BYTES + 4 * sum(prod(s.shape) for s in proof_sections(KEY)) == len(PROOF)


def test_a_circuit_without_lookups_has_no_lookup_sections_and_no_place_for_a_claimed_sum() -> None:
    """SOUNDNESS 1 item 20."""
    key = proving_key(Fibonacci(), GRINDING).verifying_key
    assert not [s.name for s in proof_sections(key) if "lookup" in s.name or "fixed" in s.name]


@pytest.mark.parametrize("length", [0, 3, 4, 8, 43, 44, 45, len(PROOF) // 2, len(PROOF) - 1])
def test_every_truncation_is_refused(length: int) -> None:
    """SOUNDNESS 1 item 31."""
    assert refusal_of(PROOF[:length]).reason is RejectionReason.TRUNCATED


@pytest.mark.parametrize("extra", [b"\0", b"\0" * 4, PROOF])
def test_trailing_bytes_are_refused(extra: bytes) -> None:
    """SOUNDNESS 1 item 31."""
    assert refusal_of(PROOF + extra).reason is RejectionReason.TRAILING_BYTES


def test_a_proof_longer_than_any_kind_is_refused_before_it_is_read() -> None:
    """SOUNDNESS 1 item 31: the input is the only large allocation."""
    data = PROOF + bytes(MAX_PROOF_BYTES)
    tracemalloc.start()
    assert refusal_of(data).reason is RejectionReason.TOO_LARGE
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_decoding_allocates_no_more_than_a_few_times_the_proof() -> None:
    tracemalloc.start()
    decode_proof(KEY, PROOF)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(PROOF) + 100_000


def test_another_magic_is_refused() -> None:
    assert refusal_of(b"ECLQ" + PROOF[4:]).reason is RejectionReason.BAD_MAGIC
    assert refusal_of(b"\xff").reason is RejectionReason.BAD_MAGIC


def test_another_version_is_refused() -> None:
    error = refusal_of(with_element(PROOF, 4, PROTOCOL_VERSION + 1))
    said = (RejectionReason.UNKNOWN_VERSION, str(PROTOCOL_VERSION), str(PROTOCOL_VERSION + 1))
    assert (error.reason, error.expected, error.got) == said


def test_another_kind_or_key_is_refused() -> None:
    for offset in (8, 12, 40):
        changed = with_element(PROOF, offset, 5)
        assert refusal_of(changed).reason is RejectionReason.UNKNOWN_KEY
        assert read_header(changed) != read_header(PROOF)


@pytest.mark.parametrize("value", [P, P + 1, 2**32 - 1])
def test_an_element_that_is_not_canonical_is_refused_in_every_section(value: int) -> None:
    """SOUNDNESS 1 items 11 and 12: also nonces as w + p."""
    for name, (start, size) in section_offsets(KEY).items():
        for place in {0, size - 1}:
            error = refusal_of(with_element(PROOF, start + 4 * place, value))
            assert error.reason is RejectionReason.NON_CANONICAL_ELEMENT
            assert (error.where, error.got) == (f"{name}/{place}", str(value))


def test_a_section_of_another_shape_missing_or_added_cannot_be_encoded() -> None:
    """SOUNDNESS 1 items 10, 12 and 14: caps, rows, limbs, chunks and next rows have fixed sizes."""
    values = decode_proof(KEY, PROOF)
    for name in values:
        with pytest.raises(ParameterError, match=name):
            encode_proof(KEY, {**values, name: values[name][:-1]})
        with pytest.raises(ParameterError, match="sections"):
            encode_proof(KEY, {key: value for key, value in values.items() if key != name})
    with pytest.raises(ParameterError, match="sections"):
        encode_proof(KEY, {**values, "indices": np.zeros(1, dtype=np.uint32)})
    with pytest.raises(ParameterError, match="final_polynomial"):
        encode_proof(KEY, {**values, "final_polynomial": values["final_polynomial"] + np.uint32(P)})


def test_a_proof_holds_no_query_index() -> None:
    """SOUNDNESS 1 item 9: indices exist in the transcript only."""
    assert not [section.name for section in proof_sections(KEY) if "ind" in section.name]
