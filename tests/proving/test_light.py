"""The light client: the same verdict as the native verifier on any bytes, and nothing but the standard library."""

from __future__ import annotations

import ast
import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from proving.arithmetic.modulus import P
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import FieldArray
from proving.backends.reference import ReferenceBackend
from proving.errors import RejectionReason
from proving.kinds import verifying_key
from proving.light import field
from proving.light import key as light_key_module
from proving.light.command import FILES
from proving.light.errors import KeyDamaged, ProofMalformed, ProofRejected
from proving.light.identity import evaluate, lookup_values, require_point_outside
from proving.light.key import KEY_FILE, KEY_FILE_SHA256, wrap_key
from proving.light.wrap import check_proof, verify_wrap
from proving.prover import prove_stark
from proving.recursion.wrap import WRAP_KIND
from proving.stark.challenge_field import Extension
from proving.stark.encoding import proof_bytes, proof_sections
from proving.stark.parameters import ProofParameters
from tests.checks.light_key import light_key_digest, light_key_text
from tests.suites.circuits import Exchange
from tests.suites.light_proofs import (
    HASHED,
    SETTINGS,
    WORKING,
    known_to_light,
    light_verdict,
    mutants,
    native_verdict,
)
from tests.suites.proofs import (
    BACKEND,
    forged_proof,
    honest_proof,
    proving_key,
    section_offsets,
    with_element,
    with_header_of,
)

ROOT = Path(__file__).resolve().parents[2]

ALONE = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from proving.light.errors import ProofError
from proving.light.wrap import verify_wrap
shown = []
for file in sys.argv[2:]:
    data = open(file, "rb").read()
    started = time.perf_counter()
    try:
        found = verify_wrap(data)
        verdict = [found.statement.hex(), found.payee.hex()]
    except ProofError as error:
        verdict = [type(error).__name__, error.reason, error.where]
    shown.append([verdict, time.perf_counter() - started])
foreign = [name for name in sys.modules if name.split(".")[0] not in sys.stdlib_module_names]
status = open("/proc/self/status").read().splitlines()
memory = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
print(json.dumps({"shown": shown, "foreign": foreign, "memory": memory}))
"""
"""`VmHWM`, not `ru_maxrss`: Linux lets a child begin with the largest size that its parent had."""


def run_alone(folder: Path, files: list[Path]) -> dict[str, object]:
    """Copies the light client's files into an empty folder and runs them in a bare interpreter there."""
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    command = [sys.executable, "-I", "-S", "-c", ALONE, str(folder), *map(str, files)]
    done = subprocess.run(command, check=True, capture_output=True, cwd=folder)  # noqa: S603
    result: dict[str, object] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("parameters", SETTINGS)
def test_both_verifiers_say_the_same_of_thousands_of_proofs(parameters: ProofParameters) -> None:
    """Same error, reason and place; every reason that a changed proof can meet is met."""
    key, data = (
        proving_key(Exchange(), parameters).verifying_key,
        honest_proof(Exchange(), parameters),
    )
    known = known_to_light(key)
    assert light_verdict(known, data.data) == ("", "", "")
    reasons, count = set(), 0
    for mutant in mutants(key, data.data, seed=3, per_section=24):
        verdict = light_verdict(known, mutant)
        assert verdict == native_verdict(key, mutant, BACKEND)
        assert verdict[0] or mutant == data.data
        reasons.add(verdict[1])
        count += 1
    assert count > 600
    wanted = {
        "bad_magic",
        "unknown_version",
        "unknown_key",
        "truncated",
        "trailing_bytes",
        "non_canonical_element",
        "constraints_not_satisfied",
        "merkle_path",
        "proof_of_work",
    }
    assert wanted <= reasons


def test_the_queries_last_claims_are_refused_by_both() -> None:
    """A codeword that is none, and a final polynomial that is another's: every path holds, the folds do not."""
    parameters = replace(HASHED, query_pow_bits=0)
    key = proving_key(Exchange(), parameters)
    publics, trace = Exchange().witness()
    changed = trace.copy()
    changed[0, 3] = (int(changed[0, 3]) + 1) % P
    data = forged_proof(Exchange(), publics, changed, key)
    known = known_to_light(key.verifying_key)
    verdict = light_verdict(known, data)
    assert verdict == native_verdict(key.verifying_key, data, BACKEND)
    assert verdict[1] == "constraints_not_satisfied"

    class Bent(ReferenceBackend):
        """Commits to a first layer that is one off at every point, or folds wrongly."""

        def __init__(self, bent: str) -> None:
            super().__init__()
            self._bent = bent

        def batch_inverse(self, values: FieldArray) -> FieldArray:
            found = super().batch_inverse(values)
            return (found + (self._bent == "first")) % np.uint32(P)

        def interpolate(self, columns: FieldArray) -> FieldArray:
            found = super().interpolate(columns)
            if self._bent == "final" and columns.shape == (5, 8):  # the last layer
                found = (found + 1) % np.uint32(P)
            return found

    for bent, reason in (("first", "fold_mismatch"), ("final", "final_polynomial")):
        proof = prove_stark(key, publics, trace, Bent(bent), check_witness=False).data
        verdict = light_verdict(known, proof)
        assert verdict == native_verdict(key.verifying_key, proof, BACKEND)
        assert verdict[1] == reason


def test_a_relabelled_proof_of_another_key_is_refused_by_both() -> None:
    mine, other = (
        proving_key(Exchange(), one).verifying_key
        for one in (HASHED, replace(HASHED, num_queries=13))
    )
    data = honest_proof(Exchange(), HASHED).data
    for bytes_ in (data, with_header_of(other, data)):
        verdict = light_verdict(known_to_light(other), bytes_)
        assert verdict == native_verdict(other, bytes_, BACKEND)
        assert verdict[0]
    assert light_verdict(known_to_light(mine), data) == ("", "", "")


def test_a_changed_public_input_is_refused() -> None:
    key, data = proving_key(Exchange(), HASHED).verifying_key, honest_proof(Exchange(), HASHED).data
    start, count = section_offsets(key)["publics"]
    for place in range(count):
        changed = with_element(data, start + 4 * place, 12345 + place)
        assert light_verdict(known_to_light(key), changed)[1] == "constraints_not_satisfied"


def test_an_element_in_another_form_is_malformed() -> None:
    """A proof has one encoding: the same residue plus P is refused."""
    key, data = proving_key(Exchange(), HASHED).verifying_key, honest_proof(Exchange(), HASHED).data
    offsets = section_offsets(key)
    known = known_to_light(key)
    for section in proof_sections(key):
        if section.entry_bytes != 4:
            continue
        start, _ = offsets[section.name]
        value = int.from_bytes(data[start : start + 4], "little") + P
        if value < 2**32:
            verdict = light_verdict(known, with_element(data, start, value))
            assert verdict[:2] == ("ProofMalformed", "non_canonical_element")


def test_an_unknown_key_is_an_error_that_names_both_keys() -> None:
    data = honest_proof(Exchange(), HASHED).data
    with pytest.raises(ProofRejected) as error:
        verify_wrap(data)
    assert error.value.reason == "unknown_key"
    assert verifying_key(WRAP_KIND, NumpyHasher()).digest_hex in error.value.expected
    assert "a newer client knows newer keys" in error.value.expected
    assert error.value.got == proving_key(Exchange(), HASHED).verifying_key.digest_hex


def test_too_many_bytes_are_refused_unread() -> None:
    with pytest.raises(ProofMalformed) as error:
        verify_wrap(bytes(64 * 2**20 + 1))
    assert error.value.reason == "too_large"


def test_every_reason_of_the_light_client_is_one_of_the_native_verifier() -> None:
    known = {reason.value for reason in RejectionReason}
    found = set()
    for path in (ROOT / "proving" / "light").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
                "ProofMalformed",
                "ProofRejected",
            ):
                first = node.args[0]
                found |= {first.value} if isinstance(first, ast.Constant) else set()
    assert found >= {"merkle_path", "fold_mismatch", "final_polynomial", "proof_of_work"}
    assert found <= known


def test_the_key_file_is_the_registered_key_and_its_digest_is_pinned() -> None:
    key = verifying_key(WRAP_KIND, NumpyHasher())
    text = light_key_text(key)
    assert KEY_FILE.read_text("ascii") == text
    assert light_key_digest(text) == KEY_FILE_SHA256
    known = wrap_key()
    assert (known.digest, known.kind) == (key.digest, key.kind)
    assert known.elements == key.parameters.elements()
    assert [bytes(row) for row in key.preprocessed_cap.tolist()] == list(known.cap)
    assert len(known.outputs) == len(key.system.names)


def test_the_key_proves_a_hundred_bits_in_ninety_thousand_bytes() -> None:
    key = verifying_key(WRAP_KIND, NumpyHasher())
    assert key.proven_bits >= 100
    assert proof_bytes(key) <= 90_000
    assert key.parameters.digests.collision_bits >= 100


def test_a_damaged_key_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "wrap_key.json"
    monkeypatch.setattr(light_key_module, "KEY_FILE", other)
    for text, problem in (
        (None, "cannot be read"),
        (KEY_FILE.read_text() + " ", "is not the key file"),
    ):
        if text is not None:
            other.write_text(text)
        wrap_key.cache_clear()
        with pytest.raises(KeyDamaged, match=problem):
            verify_wrap(b"")
    wrap_key.cache_clear()


def test_the_small_field_is_the_provers() -> None:
    rng = random.Random(5)  # noqa: S311
    elements = [
        tuple(rng.choice([0, 1, P - 1, rng.randrange(P)]) for _ in range(5)) for _ in range(40)
    ]
    for left, right in pairwise(elements):
        a, b = Extension(left), Extension(right)
        mine: tuple[field.Element, field.Element] = (left, right)  # type: ignore[assignment]
        assert field.multiply(*mine) == (a * b).coordinates
        assert field.reduce(field.add(*mine)) == (a + b).coordinates
        assert field.reduce(field.subtract(*mine)) == (a - b).coordinates
        assert field.power(mine[0], 77) == a.power(77).coordinates
        if any(left):
            assert field.inverse(mine[0]) == a.inverse().coordinates
    nonzero: list[field.Element] = [one for one in elements if any(one)]  # type: ignore[misc]
    assert field.inverses(nonzero) == [field.inverse(one) for one in nonzero]
    with pytest.raises(ZeroDivisionError):
        field.inverses([field.ONE, field.ZERO])


def test_it_runs_where_there_is_nothing_but_the_standard_library(tmp_path: Path) -> None:
    stranger, noise = tmp_path / "stranger.proof", tmp_path / "noise.proof"
    stranger.write_bytes(honest_proof(Exchange(), HASHED).data)
    noise.write_bytes(b"ECLQ")
    result = run_alone(tmp_path / "alone", [stranger, noise])
    shown: list[list[object]] = result["shown"]  # type: ignore[assignment]
    assert [verdict for verdict, _ in shown] == [
        ["ProofRejected", "unknown_key", "header"],
        ["ProofMalformed", "bad_magic", "header"],
    ]
    assert {str(name).split(".")[0] for name in result["foreign"]} <= {"proving", "__main__"}  # type: ignore[attr-defined]
    assert {name for name in FILES if name.startswith("proving/light/")} == {
        str(path.relative_to(ROOT))
        for path in (ROOT / "proving" / "light").iterdir()
        if path.is_file() and path.suffix in {".py", ".json"}
    }


def test_checking_needs_no_key_but_the_one_given() -> None:
    key, data = (
        proving_key(Exchange(), WORKING).verifying_key,
        honest_proof(Exchange(), WORKING).data,
    )
    publics, _ = Exchange().witness()
    shown = np.frombuffer(check_proof(known_to_light(key), data), dtype="<u4").tolist()
    assert shown == [int(value) for value in publics]


def test_the_shipped_program_says_what_the_constraint_graph_says() -> None:
    """At random points of the challenge field, all of WRAP's constraints."""
    system, known = verifying_key(WRAP_KIND, NumpyHasher()).system, wrap_key()
    rng, layout = random.Random(9), system.layout  # noqa: S311
    columns = layout.fixed + layout.main + layout.main_next + layout.lookup + layout.lookup_next
    wide, narrow = columns + layout.selectors, layout.publics
    elements = [tuple(rng.randrange(P) for _ in range(5)) for _ in range(wide)]
    publics = [rng.randrange(P) for _ in range(narrow)]
    scalars = [rng.randrange(P) for _ in range(layout.alpha + layout.beta_powers + layout.share)]
    inputs = [
        *map(Extension, elements[:columns]),
        *map(Extension.of, publics),
        *map(Extension, elements[columns:]),
        *map(Extension.of, scalars),
    ]
    expected = [value.coordinates for value in system.program.evaluate(inputs, Extension.of)]
    given: list[field.Element] = elements  # type: ignore[assignment]
    found = evaluate(known, [*given], [*publics, *scalars, *known.constants])
    assert [field.reduce(value) for value in found] == expected


def test_a_point_on_a_domain_is_refused() -> None:
    known = wrap_key()
    on_trace = pow(field.root_of_unity(known.log_height), 77, P)
    on_coset = 3 * pow(field.root_of_unity(known.log_size), 12_345, P) % P
    for x in (1, on_trace, 3, on_coset):
        with pytest.raises(ProofRejected) as error:
            require_point_outside(known, (x, 0, 0, 0, 0))
        assert (error.value.reason, error.value.where) == ("point_in_domain", "openings")
    require_point_outside(known, (on_coset, 1, 0, 0, 0))
    require_point_outside(known, (2 * on_trace % P, 0, 0, 0, 0))


def test_a_public_message_that_meets_alpha_is_refused() -> None:
    known, publics = wrap_key(), list(range(24))
    beta: field.Element = (0, 1, 0, 0, 0)
    message = known.messages[1]
    alpha: field.Element = (message.bus, 0, 0, 0, 0)
    for (is_public, value), power in zip(message.values, field.powers(beta, 11)[1:], strict=False):
        alpha = field.add(alpha, field.scale(power, publics[value] if is_public else value))
    with pytest.raises(ProofRejected) as error:
        lookup_values(known, publics, field.reduce(alpha), beta)
    assert error.value.reason == "lookup_denominator_zero"
    lookup_values(known, [*publics[:8], 99, *publics[9:]], field.reduce(alpha), beta)
