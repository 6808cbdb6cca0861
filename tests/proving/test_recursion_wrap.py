"""WRAP: one proof of one key, said again; the real proofs of a day for native verifier and light client."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import FieldArray
from proving.errors import ProofRejected, ProvingError, RejectionReason
from proving.kinds import kind_named, recursive_program, verifying_key
from proving.light.wrap import verify_wrap as verify_light
from proving.memory_plan import plan_memory
from proving.recursion.global_proofs import GlobalProof
from proving.recursion.programs import KEY_WORD
from proving.recursion.recursive_proofs import body_of, prove_recursive, recursive_publics
from proving.recursion.wrap import (
    WRAP_KIND,
    WRAP_LOG_HEIGHT,
    WRAPPED_KIND,
    wrap_tape,
)
from proving.recursion.wrap_proofs import prove_wrap, verify_wrap
from proving.stark.encoding import encode_proof, proof_bytes, proof_sections
from proving.stark.key import VerifyingKey
from tests.proving.test_light import run_alone
from tests.suites.day_proofs import BACKEND, PAYEE, VALIDATORS, day_proof, wrapped
from tests.suites.light_proofs import known_to_light, light_verdict, mutants, native_verdict

LINKS = ("the child's vk_self", "vk_self", "the statement")
"""The claims that are not about the child's own proof."""

LIGHT_SECONDS = 0.1
"""The goal for one proof on one quiet core."""

WRAP_BYTES = 86_078
LIGHT_KIB = 100 * 1024
PROVER_GIB = 6


def child_key() -> VerifyingKey:
    return verifying_key(WRAPPED_KIND, BACKEND)


@cache
def noise() -> FieldArray:
    """Returns the body of a child that is noise but for its public words."""
    key, rng = child_key(), np.random.default_rng(5)
    sections = {
        s.name: rng.integers(0, 2**30, s.shape, dtype=np.uint32) for s in proof_sections(key)
    }
    return body_of(encode_proof(key, sections))


def link_problems(named: list[int], publics: list[int]) -> set[str]:
    """Returns which links do not hold of a child that names these words."""
    body = noise().copy()
    body[:24] = named
    execution = recursive_program(WRAP_KIND, BACKEND).execution
    words = np.array(publics, dtype=np.uint32).reshape(-1, 8)
    problems = execution.problems(execution.run(words, body, BACKEND))
    return {problem for problem in problems if problem in LINKS}


def test_statement_and_keys_are_bound_and_the_payee_is_ones_own() -> None:
    statement, payee, other = [list(range(n, n + 8)) for n in (11, 31, 51)]
    honest = [*statement, *child_key().digest, *other]
    said = recursive_publics(WRAP_KIND, statement, payee, BACKEND)
    assert link_problems(honest, said) == set()
    for place in range(8):
        changed = list(said)
        changed[place] += 1
        assert link_problems(honest, changed) == {"the statement"}
        changed = list(said)
        changed[8 + place] = 1
        assert link_problems(honest, changed) == {"vk_self"}
        names = list(honest)
        names[8 + place] += 1
        assert link_problems(names, said) == {"the child's vk_self"}


def test_the_kind_is_the_last_of_a_day_and_its_figures_hold() -> None:
    wrap = verifying_key(WRAP_KIND, BACKEND)
    assert (kind_named(WRAP_KIND).number, kind_named(WRAP_KIND).level) == (21, "day")
    assert (wrap.log_height, wrap.log_size, proof_bytes(wrap)) == (13, 21, WRAP_BYTES)
    assert wrap.proven_bits == 100
    assert wrap.parameters.digests.collision_bits == 104
    assert plan_memory(wrap).peak < PROVER_GIB * 2**30


def test_the_verification_fits_the_fewest_rows() -> None:
    tape = wrap_tape(child_key())
    rows = max(tape.permutation_rows, tape.arithmetic_rows)
    assert 2 ** (WRAP_LOG_HEIGHT - 1) < rows <= 2**WRAP_LOG_HEIGHT


@pytest.mark.slow
def test_the_proof_of_a_day_is_verified_by_both_verifiers_and_by_nothing_else(
    tmp_path: Path,
) -> None:
    claim, key = wrapped(), verifying_key(WRAP_KIND, BACKEND)
    verdict = verify_wrap(claim, BACKEND)
    assert (verdict.proven_bits, len(claim.data)) == (100, WRAP_BYTES)
    assert claim.run.validators == VALIDATORS
    found = verify_light(claim.data)
    assert found.statement == np.array(claim.run.digest(BACKEND), dtype="<u4").tobytes()
    assert found.payee == np.array(PAYEE, dtype="<u4").tobytes()
    known, reasons, count = known_to_light(key), set(), 0
    assert light_verdict(known, claim.data) == native_verdict(key, claim.data, BACKEND)
    for mutant in mutants(key, claim.data, seed=7, per_section=70):
        said = light_verdict(known, mutant)
        assert said == native_verdict(key, mutant, BACKEND)
        assert said[0] or mutant == claim.data
        reasons.add(said[1])
        count += 1
    assert count > 2000
    assert len(reasons) >= 9
    file = tmp_path / "day.proof"
    file.write_bytes(claim.data)
    result = run_alone(tmp_path / "alone", [file] * 5)
    shown: list[tuple[list[str], float]] = result["shown"]  # type: ignore[assignment]
    assert shown[0][0] == [found.statement.hex(), found.payee.hex()]
    assert min(seconds for _, seconds in shown) < LIGHT_SECONDS
    assert int(str(result["memory"])) < LIGHT_KIB


@pytest.mark.slow
def test_another_run_another_key_and_another_kind_are_refused() -> None:
    claim = wrapped()
    foreign = replace(claim.run, end_window=claim.run.end_window + 1)
    with pytest.raises(ProofRejected) as error:
        verify_wrap(GlobalProof(foreign, claim.data), BACKEND)
    assert error.value.reason is RejectionReason.STATEMENT_MISMATCH
    with pytest.raises(ProofRejected) as error:
        verify_wrap(GlobalProof(claim.run, day_proof().data), NumpyHasher())
    assert error.value.reason is RejectionReason.UNKNOWN_KEY
    with pytest.raises(ProofRejected) as error:
        prove_wrap(claim, BACKEND)
    assert error.value.reason is RejectionReason.UNKNOWN_KEY


@pytest.mark.slow
def test_a_changed_child_cannot_be_wrapped() -> None:
    """Claims of the circuit, by name: an element of every section of the day's proof is changed."""
    child, rng = day_proof(), random.Random(3)  # noqa: S311
    statement = child.run.digest(BACKEND)
    publics = recursive_publics(WRAP_KIND, statement, PAYEE, BACKEND)
    start = 0
    for section in proof_sections(child_key()):
        size = section.num_bytes // 4
        body = body_of(child.data).copy()
        body[start + rng.randrange(size)] ^= 1
        start += size
        if section.name == "publics":
            body[KEY_WORD * 8] ^= 1
        with pytest.raises(ProvingError):
            prove_recursive(WRAP_KIND, publics, body, BACKEND)


@pytest.mark.slow
def test_the_command_line_verifies_and_explains_the_proof_of_a_day(tmp_path: Path) -> None:
    file = tmp_path / "day.proof"
    file.write_bytes(wrapped().data)
    verified = run_cli("proof", "verify", str(file), "--json")
    assert verified.returncode == 0
    report = json.loads(verified.stdout)
    statement = np.array(wrapped().run.digest(BACKEND), dtype="<u4").tobytes().hex()
    assert (report["accepted"], report["proven_bits"], report["bytes"]) == (True, 100, WRAP_BYTES)
    assert (report["shown"]["level"], report["shown"]["kind"]) == ("day", "wrap")
    assert report["shown"]["statement"] == statement
    broken = tmp_path / "broken.proof"
    broken.write_bytes(wrapped().data[:-1] + bytes([wrapped().data[-1] ^ 1]))
    refused = run_cli("proof", "verify", str(broken))
    assert (refused.returncode, "merkle_path at fri/round 1" in refused.stderr) == (3, True)
    explained = run_cli("proof", "explain", str(broken), "--against", str(file))
    assert "first difference: none" in explained.stdout
    assert "refused: merkle_path" in explained.stdout


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from pipelines.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
