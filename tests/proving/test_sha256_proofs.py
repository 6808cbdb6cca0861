"""Proofs made with SHA-256: the same protocol, other digests, and nothing that the hash leaves open."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace

import numpy as np
import pytest

from proving.arithmetic.modulus import P
from proving.backends.cpu import CpuBackend
from proving.backends.reference import ReferenceBackend
from proving.commitments.merkle import climb, commit_rows, hash_opened_rows
from proving.prover import prove_stark
from proving.recursion.builder import CircuitBuilder
from proving.recursion.sections import ProofPositions
from proving.recursion.verifier_circuit import verify_child
from proving.stark import setup
from proving.stark.check import verify_stark
from proving.stark.commitment_hash import SHA256
from proving.stark.encoding import proof_bytes
from proving.stark.parameters import WRAP, ProofParameters
from proving.stark.setup import make_proving_key
from proving.stark.sha256_transcript import Sha256Transcript
from proving.stark.soundness import analyse, johnson
from proving.stark.transcript import Label
from schemas.errors import ParameterError
from tests.suites.circuits import Exchange, Fibonacci
from tests.suites.light_proofs import HASHED, SETTINGS, WORKING
from tests.suites.proofs import (
    BACKEND,
    SMALL,
    honest_proof,
    proving_key,
    refusal,
    section_offsets,
)


@pytest.mark.parametrize("parameters", SETTINGS)
@pytest.mark.parametrize("air", [Exchange(), Fibonacci()])
def test_an_honest_proof_is_accepted_and_has_the_keys_length(
    air: Exchange | Fibonacci, parameters: ProofParameters
) -> None:
    key, proof = proving_key(air, parameters).verifying_key, honest_proof(air, parameters)
    assert len(proof.data) == proof_bytes(key)
    assert verify_stark(key, None, proof.data, BACKEND).events == proof.events


def test_every_backend_makes_the_same_bytes() -> None:
    publics, trace = Exchange().witness()
    backend = CpuBackend(threads=2)
    key = make_proving_key(7, Exchange(), WORKING, backend)
    assert key.verifying_key.digest == proving_key(Exchange(), WORKING).verifying_key.digest
    made = prove_stark(key, publics, trace, backend).data
    assert made == honest_proof(Exchange(), WORKING).data


@pytest.mark.parametrize("name", ["sha256", "poseidon2"])
def test_columns_that_are_not_kept_give_the_same_proof(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a domain of 2^6 times their length only coefficients are kept: rows are computed where they are opened."""
    parameters = replace(HASHED, hash=name, log_blowup=6, num_queries=7)
    publics, trace = Exchange().witness()
    made = []
    for kept in (setup.KEPT_LOG_BLOWUP, 8):
        monkeypatch.setattr(setup, "KEPT_LOG_BLOWUP", kept)
        key = make_proving_key(7, Exchange(), parameters, BACKEND)
        assert key.fixed is not None
        assert (key.fixed.extension is None) == (kept < 6)
        made.append(prove_stark(key, publics, trace, BACKEND).data)
        assert verify_stark(key.verifying_key, publics, made[-1], BACKEND).publics
    assert made[0] == made[1]


def test_every_byte_of_every_digest_counts() -> None:
    key, data = proving_key(Exchange(), HASHED), honest_proof(Exchange(), HASHED).data
    offsets, rng = section_offsets(key.verifying_key), random.Random(1)  # noqa: S311
    for name, (start, count) in offsets.items():
        if not name.endswith(("_cap", "_paths")):
            continue
        for place in {0, 25, count - 1, *(rng.randrange(count) for _ in range(4))}:
            changed = bytearray(data)
            changed[start + place] ^= 1 << rng.randrange(8)
            reason = refusal(key, bytes(changed))
            assert reason == "merkle_path" or name.endswith("_cap"), name


@pytest.mark.parametrize(
    "section",
    [
        "lookup_nonce",
        "point_nonce",
        "batching_nonce",
        "layer0_nonce",
        "layer1_nonce",
        "query_nonce",
    ],
)
def test_a_nonce_that_does_no_work_is_refused_by_name(section: str) -> None:
    key, data = proving_key(Exchange(), WORKING), honest_proof(Exchange(), WORKING).data
    start, _ = section_offsets(key.verifying_key)[section]
    reasons = set()
    for nonce in range(5):
        changed = data[:start] + nonce.to_bytes(4, "little") + data[start + 4 :]
        if changed != data:
            reasons.add(refusal(key, changed))
    assert "proof_of_work" in reasons


def test_the_hash_is_part_of_the_key_and_of_every_challenge() -> None:
    mine, other = proving_key(Exchange(), HASHED), proving_key(Exchange(), SMALL)
    assert mine.verifying_key.digest != other.verifying_key.digest
    assert refusal(other, honest_proof(Exchange(), HASHED).data) == "unknown_key"


def test_leaves_and_nodes_are_cut_digests_of_different_messages() -> None:
    columns = np.arange(24, dtype=np.uint32).reshape(3, 8)
    tree = commit_rows(BACKEND, columns, 1, SHA256)
    rows = np.ascontiguousarray(columns.T)
    leaves = [
        hashlib.sha256((3 << 8).to_bytes(4, "little") + row.astype("<u4").tobytes()).digest()[:26]
        for row in rows
    ]
    assert [bytes(leaf) for leaf in tree.levels[0].tolist()] == leaves
    node = hashlib.sha256(b"\x01" + leaves[0] + leaves[1]).digest()[:26]
    assert bytes(tree.levels[1][0].tolist()) == node
    assert tree.cap.shape == (2, 26)
    indices = np.array([5, 2, 7], dtype=np.uint32)
    opened = hash_opened_rows(BACKEND, rows[indices], SHA256)
    tops = climb(BACKEND, opened, indices, tree.paths(indices), SHA256)
    assert tops.tolist() == tree.cap[[1, 0, 1]].tolist()
    wider = np.concatenate([rows, np.zeros((8, 1), np.uint32)], axis=1)
    assert hash_opened_rows(BACKEND, wider, SHA256)[0].tolist() != opened[0].tolist()


def test_a_transcript_binds_labels_lengths_and_order() -> None:
    def drawn(*messages: tuple[Label, list[int]]) -> tuple[int, ...]:
        transcript = Sha256Transcript(BACKEND)
        for label, values in messages:
            transcript.absorb(label, values)
        return transcript.challenge(Label.POINT)

    publics, cap = Label.PUBLICS, Label.MAIN_CAP
    said = [
        drawn((publics, [1, 2])),
        drawn((publics, [1, 2, 0])),
        drawn((publics, [1]), (publics, [2])),
        drawn((cap, [1, 2])),
        drawn((publics, [2, 1])),
        drawn((publics, [1, 2]), (publics, [])),
    ]
    assert len(set(said)) == len(said)
    with pytest.raises(ParameterError, match="not below P"):
        drawn((publics, [P]))


def test_requests_differ_by_label_and_what_was_drawn_before_counts() -> None:
    first, second = Sha256Transcript(BACKEND), Sha256Transcript(BACKEND)
    assert first.challenge(Label.POINT) != second.challenge(Label.LOOKUP_BETA)
    again = first.challenge(Label.POINT)
    assert again != second.challenge(Label.POINT)
    third = Sha256Transcript(BACKEND)
    assert (
        third.indices(Label.QUERY_INDICES, 3, 24).tolist()
        != third.indices(Label.QUERY_INDICES, 3, 24).tolist()
    )
    with pytest.raises(ParameterError, match="33 bits"):
        third.indices(Label.QUERY_INDICES, 1, 33)


def test_a_word_that_is_no_residue_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    transcript = Sha256Transcript(BACKEND)
    words = iter([P, 2**32 - 1, 5, 2**31 + 6, P - 1, 7, 8])
    monkeypatch.setattr(transcript, "_output", lambda: words)
    assert transcript.challenge(Label.POINT) == (5, 6, P - 1, 7, 8)


def test_grinding_finds_the_least_nonce_and_its_check_moves_the_state() -> None:
    transcripts = [Sha256Transcript(BACKEND) for _ in range(3)]
    for transcript in transcripts:
        transcript.absorb(Label.PUBLICS, [4])
    nonce = transcripts[0].grind(Label.QUERY_GRINDING, 8, ReferenceBackend())
    assert nonce == transcripts[1].grind(Label.QUERY_GRINDING, 8, CpuBackend())
    fresh = Sha256Transcript(BACKEND)
    fresh.absorb(Label.PUBLICS, [4])
    passing = [n for n in range(nonce + 1) if _passes(n)]
    assert passing == [nonce]
    assert transcripts[2].check_nonce(Label.QUERY_GRINDING, 8, nonce)
    assert transcripts[0].challenge(Label.POINT) == transcripts[2].challenge(Label.POINT)
    assert transcripts[1].challenge(Label.POINT) != fresh.challenge(Label.POINT)


def _passes(nonce: int) -> bool:
    transcript = Sha256Transcript(BACKEND)
    transcript.absorb(Label.PUBLICS, [4])
    return transcript.check_nonce(Label.QUERY_GRINDING, 8, nonce)


def test_no_circuit_verifies_a_proof_made_with_sha256() -> None:
    key = proving_key(Exchange(), HASHED).verifying_key
    builder = CircuitBuilder(0, ProofPositions(key, 0).size)
    with pytest.raises(ParameterError, match="no circuit verifies proofs made with sha256"):
        verify_child(builder, key, 0)


def test_collisions_of_cut_digests_are_a_round_of_the_calculator() -> None:
    shape = replace(proving_key(Exchange()).verifying_key.shape, log_height=13)
    for parameters, bits in (
        (WRAP, 104.0),
        (replace(WRAP, hash="poseidon2", query_pow_bits=24), 123.95),
    ):
        report = analyse(parameters, shape, johnson(2.0**-8))
        assert report.rounds[-1].name == "hash collisions"
        assert report.rounds[-1].bits == pytest.approx(bits, abs=0.01)
    with pytest.raises(ParameterError, match="query_pow_bits is 25"):
        replace(WRAP, hash="poseidon2")
    with pytest.raises(ParameterError, match="query_pow_bits is 26"):
        replace(WRAP, query_pow_bits=26)
