"""Forged ledger segments through prover and verifier: rejected, and accepted by the circuit without one claim."""

from __future__ import annotations

import pytest

from pipelines.adversary.ledger_bites import STEP_FORGERIES
from pipelines.adversary.ledger_edits import AIR, Weakened, forgery, honest
from pipelines.adversary.ledger_forgery import Forgery
from pipelines.adversary.ledger_message_bites import RANGE_FORGERIES
from proving.errors import ProofRejected
from proving.prover import prove_stark
from proving.stark.check import verify_stark
from proving.stark.setup import ProvingKey, make_proving_key
from tests.suites.proofs import BACKEND, SMALL


@pytest.fixture(scope="module")
def key() -> ProvingKey:
    return make_proving_key(7, AIR, SMALL, BACKEND)


def judge(key: ProvingKey, forged: Forgery) -> None:
    proof = prove_stark(key, forged.publics, forged.trace, BACKEND, check_witness=False)
    verify_stark(key.verifying_key, forged.publics, proof.data, BACKEND)


def forged_by(name: str, unchecked: str = "") -> Forgery:
    forged = forgery(unchecked=unchecked)
    (STEP_FORGERIES | RANGE_FORGERIES)[name](forged)
    forged.finish()
    return forged


def test_the_honest_segment_is_accepted(key: ProvingKey) -> None:
    trace, publics = honest()
    proof = prove_stark(key, publics, trace, BACKEND)
    verify_stark(key.verifying_key, publics, proof.data, BACKEND)


@pytest.mark.parametrize(
    "name", ["step.recipient.cell", "step.height.next", "step.amount.range[3]", "step.fee.range[1]"]
)
def test_a_forged_segment_is_rejected_for_the_one_claim_it_breaks(
    key: ProvingKey, name: str
) -> None:
    """Credit to a third account, a height that moves by itself, a negative payment, a negative fee."""
    with pytest.raises(ProofRejected, match="constraints_not_satisfied"):
        judge(key, forged_by(name))
    weakened = make_proving_key(7, Weakened(name), SMALL, BACKEND)
    assert weakened.verifying_key.digest != key.verifying_key.digest
    judge(weakened, forged_by(name, unchecked=name))
