"""A segment's proof of the registered kind against bytes that somebody else chose."""

from __future__ import annotations

import functools
import tracemalloc

import numpy as np
import pytest

from operators.proof_worker import process_backend
from pipelines.adversary.ledger_traffic import fresh_ledger, mixed_blocks
from proving.arithmetic.modulus import P
from proving.errors import ProofError, ProofMalformed, ProofRejected, RejectionReason
from proving.kinds import proving_key, verifying_key
from proving.ledger.air import LedgerAir
from proving.ledger.segments import cut_window
from proving.ledger.trace import build_trace
from proving.ledger.witness import SegmentWitness
from proving.prover import prove_stark
from proving.segment_proofs import (
    LARGE_SEGMENT_KIND,
    SEGMENT_KIND,
    prove_segment,
    segment_layout,
    verify_segment,
)
from proving.stark.encoding import HEADER_BYTES
from proving.verifier import AcceptancePolicy, KeyRing, verify
from schemas.statement import (
    AFTER_OFFSET,
    BEFORE_OFFSET,
    DIGEST_OFFSET,
    NUM_COUNTERS,
    NUM_PUBLICS,
)
from schemas.units import Array
from tests.suites.proofs import element_at, section_offsets, with_element

BACKEND = process_backend()


@functools.cache
def witness() -> SegmentWitness:
    (segment,) = cut_window(fresh_ledger(), mixed_blocks(), 0, segment_layout())
    return segment


@functools.cache
def honest() -> bytes:
    return prove_segment(witness(), BACKEND).data


def refusal(data: bytes) -> RejectionReason:
    with pytest.raises((ProofMalformed, ProofRejected)) as error:
        verify_segment(data, BACKEND)
    return error.value.reason


def proven_with(place: int, value: int) -> bytes:
    """Returns a proof of the honest trace with one public input that the circuit does not read."""
    key = proving_key(SEGMENT_KIND, BACKEND)
    air = key.verifying_key.air
    assert isinstance(air, LedgerAir)
    trace, publics = build_trace(air, witness(), BACKEND)
    publics[place] = value
    return prove_stark(key, publics, trace, BACKEND).data


def test_an_honest_proof_shows_its_statement_in_little_memory() -> None:
    statement, verdict = verify_segment(honest(), BACKEND)
    assert statement == witness().statement
    assert verdict.proven_bits >= 100
    tracemalloc.start()
    try:
        verify_segment(honest(), BACKEND)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 * len(honest())


def test_a_changed_element_of_any_section_is_refused() -> None:
    """One element of every section: the least, the largest, no residue, another residue."""
    offsets = section_offsets(verifying_key(SEGMENT_KIND, BACKEND))
    rng = np.random.default_rng(11)
    for start, size in offsets.values():
        offset = start + 4 * int(rng.integers(size))
        held = element_at(honest(), offset)
        for value in (0, P - 1, int(rng.integers(P))):
            if value != held:
                assert refusal(with_element(honest(), offset, value))
        reason = refusal(with_element(honest(), offset, P))
        assert reason is RejectionReason.NON_CANONICAL_ELEMENT


def test_every_public_input_is_bound_by_the_proof() -> None:
    """Every number, and one element of every word."""
    rng = np.random.default_rng(13)
    start, size = section_offsets(verifying_key(SEGMENT_KIND, BACKEND))["publics"]
    assert size == NUM_PUBLICS
    numbers = [*range(BEFORE_OFFSET + NUM_COUNTERS), *range(AFTER_OFFSET, AFTER_OFFSET + 8)]
    words = [BEFORE_OFFSET + NUM_COUNTERS, AFTER_OFFSET + NUM_COUNTERS]
    firsts = [word + 8 * j for word in words for j in range(len(Array))]
    firsts += range(DIGEST_OFFSET, NUM_PUBLICS, 8)
    assert len(numbers) + 8 * len(firsts) == NUM_PUBLICS
    for place in (*numbers, *(place + int(rng.integers(8)) for place in firsts)):
        offset = start + 4 * place
        changed = with_element(honest(), offset, (element_at(honest(), offset) + 1) % P)
        assert refusal(changed) is RejectionReason.CONSTRAINTS_NOT_SATISFIED


def test_any_bytes_end_in_one_of_the_two_errors() -> None:
    rng = np.random.default_rng(12)
    count = (len(honest()) - HEADER_BYTES) // 4
    for _ in range(8):
        body = rng.integers(0, P, count, dtype=np.uint32).astype("<u4").tobytes()
        assert refusal(honest()[:HEADER_BYTES] + body)
        noise = rng.bytes(int(rng.integers(0, 2 * len(honest()))))
        for data in (noise, honest()[: len(noise)], honest()[:HEADER_BYTES] + noise):
            if data != honest():
                with pytest.raises(ProofError):
                    verify_segment(data, BACKEND)


def test_a_true_proof_that_names_another_statement_is_refused() -> None:
    """The circuit does not read the digest, nor shard and number: the verifier must compare them."""
    data = proven_with(DIGEST_OFFSET, 1)
    ring = KeyRing.of([verifying_key(SEGMENT_KIND, BACKEND)])
    assert verify(data, AcceptancePolicy(ring, BACKEND)).publics[DIGEST_OFFSET] == 1
    assert refusal(data) is RejectionReason.BAD_STATEMENT


def test_a_payee_is_bound_to_its_proof_and_changes_nothing_else() -> None:
    place = NUM_PUBLICS - 1
    data = proven_with(place, 5)
    statement, verdict = verify_segment(data, BACKEND)
    assert (statement, verdict.publics[place]) == (witness().statement, 5)
    start, _ = section_offsets(verifying_key(SEGMENT_KIND, BACKEND))["publics"]
    assert refusal(with_element(data, start + 4 * place, 6))


def test_the_caller_says_which_kinds_are_accepted_and_no_header_makes_one_of_another() -> None:
    statement, verdict = verify_segment(honest(), BACKEND)
    assert verdict.kind == witness().kind
    assert verify_segment(honest(), BACKEND, kinds=(SEGMENT_KIND,))[0] == statement
    with pytest.raises(ProofRejected) as error:
        verify_segment(honest(), BACKEND, kinds=(LARGE_SEGMENT_KIND,))
    assert error.value.reason is RejectionReason.UNKNOWN_KEY
    other = verifying_key(LARGE_SEGMENT_KIND, BACKEND)
    number = other.kind.to_bytes(4, "little")
    digest = np.array(other.digest, dtype="<u4").tobytes()
    assert refusal(honest()[:8] + number + honest()[12:]) is RejectionReason.UNKNOWN_KEY
    assert refusal(honest()[:12] + digest + honest()[44:]) is RejectionReason.UNKNOWN_KEY
    presented = honest()[:8] + number + digest + honest()[44:]
    assert refusal(presented) is RejectionReason.TRUNCATED
