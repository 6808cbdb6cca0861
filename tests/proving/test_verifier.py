"""The auditor's call: policies, one test per reason to refuse, and the meta-test that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from proving.arithmetic.modulus import P
from proving.arithmetic.program import Program
from proving.backends.port import FieldArray
from proving.backends.reference import ReferenceBackend
from proving.errors import ProofMalformed, ProofRejected, RejectionReason
from proving.kinds import ProofKind, kind_table
from proving.prover import prove_stark
from proving.stark.air import Bus, PublicMessage, Row
from proving.stark.challenge_field import Extension, powers
from proving.stark.check import hear_indices, lookup_values, require_point_outside, verify_stark
from proving.stark.parameters import ProofParameters
from proving.stark.transcript import Label, Transcript
from proving.verifier import AcceptancePolicy, KeyRing, statement_digest, verify
from schemas.errors import ParameterError
from tests.suites.circuits import NOTE, Exchange, Fibonacci
from tests.suites.proofs import (
    BACKEND,
    GRINDING,
    check,
    element_at,
    honest_proof,
    proving_key,
    section_offsets,
    with_element,
)

STRONG = ProofParameters(log_blowup=7, num_queries=25, log_final_length=1, query_pow_bits=16)
"""A hundred proven bits for a 32-row circuit."""


def policy(parameters: ProofParameters = STRONG, minimum_bits: int = 100) -> AcceptancePolicy:
    keys = [proving_key(air, parameters).verifying_key for air in (Exchange(), Fibonacci())]
    return AcceptancePolicy(KeyRing.of(keys), BACKEND, minimum_bits)


def test_an_accepted_proof_gives_its_statement_key_bits_and_transcript() -> None:
    proof = honest_proof(Exchange(), STRONG)
    statement = verify(proof.data, policy())
    key = proving_key(Exchange(), STRONG).verifying_key
    publics = tuple(Exchange().witness()[0])
    assert (statement.kind, statement.publics, statement.key_digest) == (7, publics, key.digest)
    assert statement.proven_bits == key.proven_bits >= 100
    assert statement.statement_digest == statement_digest(7, publics, BACKEND)
    assert statement.events == proof.events


def test_unknown_key() -> None:
    proof = honest_proof(Exchange(), GRINDING).data
    with pytest.raises(ProofRejected) as error:
        verify(proof, policy())
    assert error.value.reason is RejectionReason.UNKNOWN_KEY
    with pytest.raises(ProofMalformed) as malformed:
        verify(with_element(honest_proof(Exchange(), STRONG).data, 8, 9), policy())
    assert malformed.value.reason is RejectionReason.UNKNOWN_KEY


def test_parameters_too_weak() -> None:
    """The default policy refuses what proves less than 100 bits, even under an accepted key."""
    proof = honest_proof(Exchange(), GRINDING).data
    with pytest.raises(ProofRejected) as error:
        verify(proof, policy(GRINDING))
    assert error.value.reason is RejectionReason.PARAMETERS_TOO_WEAK
    bits = proving_key(Exchange(), GRINDING).verifying_key.proven_bits
    assert (error.value.expected, error.value.got) == ("100 bits", str(bits))
    assert verify(proof, policy(GRINDING, bits)).proven_bits == bits < 100
    with pytest.raises(ProofRejected):
        verify(proof, policy(GRINDING, bits + 1))


def test_statement_mismatch() -> None:
    proof = honest_proof(Exchange(), STRONG).data
    publics = tuple(Exchange().witness()[0])
    assert verify(proof, replace(policy(), publics=publics)).publics == publics
    for wrong in (publics[:-1], (*publics, 0), (publics[0] + 1, *publics[1:]), ()):
        with pytest.raises(ProofRejected) as error:
            verify(proof, replace(policy(), publics=wrong))
        assert error.value.reason is RejectionReason.STATEMENT_MISMATCH


def test_bad_magic() -> None:
    with pytest.raises(ProofMalformed) as error:
        verify(b"PK\3\4" + bytes(100), policy())
    assert error.value.reason is RejectionReason.BAD_MAGIC


def test_unknown_version() -> None:
    with pytest.raises(ProofMalformed) as error:
        verify(with_element(honest_proof(Exchange(), STRONG).data, 4, 0), policy())
    assert error.value.reason is RejectionReason.UNKNOWN_VERSION


@pytest.mark.parametrize("cut", [0, 2, 20, 44, -1])
def test_truncated(cut: int) -> None:
    with pytest.raises(ProofMalformed) as error:
        verify(honest_proof(Exchange(), STRONG).data[:cut], policy())
    assert error.value.reason is RejectionReason.TRUNCATED


def test_trailing_bytes() -> None:
    with pytest.raises(ProofMalformed) as error:
        verify(honest_proof(Exchange(), STRONG).data + b"\0", policy())
    assert error.value.reason is RejectionReason.TRAILING_BYTES


def test_too_large() -> None:
    with pytest.raises(ProofMalformed) as error:
        verify(b"ECLP" + bytes(2**26), policy())
    assert error.value.reason is RejectionReason.TOO_LARGE


def _changed(section: str, place: int = 0, step: int = 1) -> bytes:
    """Returns a proof of `Exchange` with one element of a section changed."""
    key = proving_key(Exchange(), GRINDING).verifying_key
    data = honest_proof(Exchange(), GRINDING).data
    offset = section_offsets(key)[section][0] + 4 * place
    return with_element(data, offset, element_at(data, offset) + step)


def _rejection(data: bytes) -> ProofRejected:
    with pytest.raises(ProofRejected) as error:
        check(proving_key(Exchange(), GRINDING), data)
    return error.value


def test_non_canonical_element() -> None:
    data = honest_proof(Exchange(), GRINDING).data
    key = proving_key(Exchange(), GRINDING).verifying_key
    with pytest.raises(ProofMalformed) as error:
        check(
            proving_key(Exchange(), GRINDING),
            with_element(data, section_offsets(key)["final_polynomial"][0], P),
        )
    assert error.value.reason is RejectionReason.NON_CANONICAL_ELEMENT


def test_bad_statement() -> None:
    """Publics that the circuit itself refuses, and messages on a bus it does not have."""

    class Picky(Exchange):
        def public_messages(self, publics: Sequence[int]) -> list[PublicMessage]:
            raise ParameterError("a(0) is odd")

    class Stray(Fibonacci):
        def public_messages(self, publics: Sequence[int]) -> list[PublicMessage]:
            return [PublicMessage(NOTE, 1, (1,))]

    for air, honest, text in ((Picky(), Exchange(), "odd"), (Stray(), Fibonacci(), "unknown bus")):
        key = proving_key(honest, GRINDING)
        stranger = replace(key, verifying_key=replace(key.verifying_key, air=air))
        with pytest.raises(ProofRejected) as error:
            check(stranger, honest_proof(honest, GRINDING).data)
        assert error.value.reason is RejectionReason.BAD_STATEMENT
        assert text in error.value.got


def test_point_in_domain() -> None:
    """SOUNDNESS 1 item 13: every point of both domains, and none of their neighbours."""
    key = proving_key(Exchange(), GRINDING).verifying_key
    root = pow(3, (P - 1) >> 7, P)
    trace_points = [pow(root, 4 * i, P) for i in range(32)]
    coset = [3 * pow(root, i, P) % P for i in range(128)]
    for point in (*trace_points, *coset):
        with pytest.raises(ProofRejected) as error:
            require_point_outside(Extension.of(point), key)
        assert error.value.reason is RejectionReason.POINT_IN_DOMAIN
    for outside in (Extension.of(2), Extension.of(root), Extension((3, 1, 0, 0, 0))):
        require_point_outside(outside, key)


class Constant(ReferenceBackend):
    """A permutation after which the transcript draws 1 wherever it draws."""

    def permute(self, states: FieldArray) -> FieldArray:
        drawn = np.zeros_like(states)
        drawn[:, 0] = 1
        return drawn


def test_a_point_drawn_in_a_domain_ends_the_verification() -> None:
    """Item 13: with the hash above, the point of every transcript is the first row."""
    key = proving_key(Fibonacci()).verifying_key
    with pytest.raises(ProofRejected) as error:
        verify_stark(key, None, honest_proof(Fibonacci()).data, Constant())
    assert error.value.reason is RejectionReason.POINT_IN_DOMAIN


def test_index_not_uniform() -> None:
    """SOUNDNESS 1 item 9: with the hash below, the second index is drawn from P - 1."""

    class Biased(ReferenceBackend):
        def permute(self, states: FieldArray) -> FieldArray:
            drawn = np.ones_like(states)
            drawn[:, 1] = P - 1
            return drawn

    assert hear_indices(Transcript(Biased()), 1, 5).tolist() == [1]
    with pytest.raises(ProofRejected) as error:
        hear_indices(Transcript(Biased()), 2, 5)
    assert error.value.reason is RejectionReason.INDEX_NOT_UNIFORM


WIDE = Bus("wide", 4, 5)


class Wide(Exchange):
    """With messages of five values, which fill the challenge field."""

    def constraints(self, row: Row) -> None:
        super().constraints(row)
        row.send("wide out", WIDE, 1, row.local[:5])
        row.receive("wide in", WIDE, 1, row.local[:5])


def _solve(columns: list[tuple[int, ...]], target: tuple[int, ...]) -> list[int]:
    """Solves sum_j x_j columns_j = target mod P by elimination."""
    rows = [[*(column[k] for column in columns), target[k]] for k in range(5)]
    for pivot in range(5):
        found = next(k for k in range(pivot, 5) if rows[k][pivot])
        rows[pivot], rows[found] = rows[found], rows[pivot]
        inverse = pow(rows[pivot][pivot], -1, P)
        rows[pivot] = [value * inverse % P for value in rows[pivot]]
        for k in range(5):
            if k != pivot:
                factor = rows[k][pivot]
                rows[k] = [(a - factor * b) % P for a, b in zip(rows[k], rows[pivot], strict=True)]
    return [row[5] for row in rows]


def test_lookup_denominator_zero() -> None:
    """SOUNDNESS 1 item 23: a public message whose fingerprint is exactly alpha."""
    key = proving_key(Wide(), GRINDING).verifying_key
    rehearsal = Transcript(BACKEND)
    alpha = Extension(rehearsal.challenge(Label.LOOKUP_ALPHA))
    beta = Extension(rehearsal.challenge(Label.LOOKUP_BETA))
    columns = [power.coordinates for power in list(powers(beta, 6))[1:]]
    values = _solve(columns, (alpha - WIDE.number).coordinates)
    with pytest.raises(ProofRejected) as error:
        lookup_values(key, [PublicMessage(WIDE, 1, tuple(values))], Transcript(BACKEND))
    assert error.value.reason is RejectionReason.LOOKUP_DENOMINATOR_ZERO
    values[0] = (values[0] + 1) % P
    lookup_values(key, [PublicMessage(WIDE, 1, tuple(values))], Transcript(BACKEND))


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
def test_proof_of_work(section: str) -> None:
    """SOUNDNESS 1 item 11: the next nonce that fails, in every phase that is credited."""
    places = {}
    for step in range(1, 4):
        error = _rejection(_changed(section, step=step))
        places[error.reason] = error.where
    assert places[RejectionReason.PROOF_OF_WORK] == section


@pytest.mark.parametrize(
    "section",
    [
        "fixed_openings",
        "main_openings",
        "lookup_openings",
        "quotient_openings",
        "main_next_openings",
        "lookup_next_openings",
    ],
)
def test_constraints_not_satisfied(section: str) -> None:
    error = _rejection(_changed(section))
    assert (error.reason, error.where) == (RejectionReason.CONSTRAINTS_NOT_SATISFIED, "openings")
    assert error.expected != error.got


@pytest.mark.parametrize("tree", ["fixed", "main", "lookup", "quotient"])
def test_merkle_path(tree: str) -> None:
    """SOUNDNESS 1 item 10: a changed row or sibling is named with its tree and query."""
    for section, place, query in (("rows", 0, 0), ("paths", 8 * 5 * 3 + 1, 3)):
        error = _rejection(_changed(f"{tree}_{section}", place))
        assert error.reason is RejectionReason.MERKLE_PATH
        assert error.where == f"{tree} columns/query {query}"


class ShiftedFold(ReferenceBackend):
    """Folds the given layer to a neighbouring codeword: another constant coefficient.

    Args:
        number: Which fold of a proof to change.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.folds = 0

    def run(self, program: Program, inputs: Sequence[FieldArray | int], size: int) -> FieldArray:
        result = super().run(program, inputs, size)
        if program.name.startswith("fold"):
            if self.folds == self.number:
                result[0] = (result[0].astype(np.uint64) + 1) % P
            self.folds += 1
        return result


def _folded_falsely(number: int) -> ProofRejected:
    publics, trace = Exchange().witness()
    key = proving_key(Exchange(), GRINDING)
    return _rejection(prove_stark(key, publics, trace, ShiftedFold(number)).data)


def test_fold_mismatch() -> None:
    error = _folded_falsely(0)
    assert (error.reason, error.where) == (
        RejectionReason.FOLD_MISMATCH,
        "fri/round 1/query 0",
    )


def test_final_polynomial() -> None:
    error = _folded_falsely(1)
    assert (error.reason, error.where) == (
        RejectionReason.FINAL_POLYNOMIAL,
        "fri/final/query 0",
    )


def test_every_reason_has_a_test_of_its_name() -> None:
    missing = {f"test_{reason.value}" for reason in RejectionReason} - set(globals())
    assert missing == set()


def test_two_keys_with_one_digest_make_no_ring() -> None:
    key = proving_key(Exchange(), STRONG).verifying_key
    with pytest.raises(ParameterError, match=key.digest_hex):
        KeyRing.of([key, key])


def test_kinds_have_unique_numbers_and_names_and_build_their_keys() -> None:
    kind = ProofKind(7, "exchange", "window", Exchange, STRONG)
    table = kind_table([kind, replace(kind, number=8, name="other")])
    assert (table.by_name["exchange"], table.by_number[8].name) == (kind, "other")
    key = kind.proving_key(BACKEND).verifying_key
    assert key.digest == proving_key(Exchange(), STRONG).verifying_key.digest
    assert kind_table([]).by_number == {}
    for clash in (replace(kind, number=8), replace(kind, name="other"), replace(kind, number=0)):
        with pytest.raises(ParameterError, match="unique"):
            kind_table([kind, clash])


def test_a_statement_digest_binds_kind_publics_and_their_number() -> None:
    digests = {
        statement_digest(kind, publics, BACKEND)
        for kind, publics in ((1, (1, 2)), (2, (1, 2)), (1, (1, 2, 0)), (1, (2, 1)), (1, ()))
    }
    assert len(digests) == 5
