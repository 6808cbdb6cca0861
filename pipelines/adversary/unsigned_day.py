"""A day that is honestly proven over a stolen transfer, before both verifiers, the light client and a validator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from operators.proof_worker import process_backend
from pipelines.adversary.attacked_days import (
    LAST_WINDOW,
    ProvenDays,
    foreign_certificates,
)
from pipelines.adversary.bare_light import Answer, BareLight
from pipelines.adversary.day_case import DayCase
from pipelines.adversary.unsigned_transfer import validators_say
from pipelines.sample_days import stolen_transfer
from pipelines.sample_votes import Voted
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.light.wrap import verify_wrap as verify_light
from proving.recursion.wrap_proofs import verify_wrap

REFUSED = {3: "rejected", 4: "malformed"}
"""Exit codes of the light client that refuse."""


def show_unsigned(light: BareLight, case: DayCase, days: ProvenDays) -> dict[str, Any]:
    """Returns what validators, verifiers and the light client say of the day with the stolen transfer.

    Both verifiers accept its proof, for no circuit checks a signature. A validator refuses its block, and without a
    quorum's certificate the light client refuses the day. The certificate is all that keeps it out: with the signatures
    of a quorum, which would take more traitors than the chain tolerates, it is accepted.

    Args:
        light: A bare light client.
        case: The honest day.
        days: That day and the other.

    Raises:
        ProofError: The day's proof does not hold.
    """
    native = verify_wrap(days.stolen_claim, process_backend())
    shown = verify_light(days.stolen_proof)
    path = days.stolen.path_to(stolen_transfer(), LAST_WINDOW)
    given = case.changed({"proof": days.stolen_proof, "inclusion": path.to_bytes()})
    refused = {
        name: _named(light.verify("stolen", replace(given, certificate=data)))
        for name, data in _certificates_of_a_thief(days)
    }
    signed = replace(given, certificate=Voted(days.stolen_run).certificate().to_bytes())
    by_quorum = light.verify("stolen", signed).exit_code
    verdicts = validators_say(NumpyHasher())
    own, *forged = verdicts.values()
    return {
        "ok": all(one.startswith(tuple(REFUSED.values())) for one in refused.values())
        and (by_quorum, own, set(forged)) == (0, "valid", {"invalid: bad_signature"}),
        "transfer": stolen_transfer().digest().hex(),
        "amount": stolen_transfer().amount,
        "native_verifier": f"valid, {native.proven_bits} proven bits",
        "light_proof_check": f"valid, statement {shown.statement.hex()}",
        "light_verify": refused,
        "light_verify_if_a_quorum_had_signed": f"exit {by_quorum}",
        "validator_says": verdicts,
    }


def _certificates_of_a_thief(days: ProvenDays) -> Iterator[tuple[str, bytes]]:
    """Yields what a thief can lay beside his day: others' signatures, honest votes for something else, too few."""
    stolen = Voted(days.stolen_run)
    yield "certificate_of_the_honest_day", Voted(days.run).certificate().to_bytes()
    yield from foreign_certificates(days.stolen_run).items()
    made = stolen.certificate()
    honest = Voted(days.run)
    yield "votes_of_the_honest_day", replace(made, votes=honest.votes()).to_bytes()
    yield "one_traitor", replace(made, votes=stolen.votes((2,))).to_bytes()
    ((_, signature),) = stolen.votes((2,))
    repeated = tuple((signer, signature) for signer in (0, 1, 2))
    yield "one_traitor_three_times", replace(made, votes=repeated).to_bytes()
    yield "no_votes", replace(made, votes=()).to_bytes()


def _named(answer: Answer) -> str:
    return f"{REFUSED.get(answer.exit_code, answer.exit_code)}: {answer.reason}"
