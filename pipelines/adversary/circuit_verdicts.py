"""What a circuit says about the proofs in its slots, in the native verifier's words: reason and place.

A circuit computes all its values whatever the proofs are, and then some claims hold and some do not. The first
one that does not, in the order in which the native verifier checks, is the circuit's reason.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from proving.backends.port import FieldArray, Hasher
from proving.errors import ProofError, RejectionReason
from proving.recursion.execution import Execution
from proving.recursion.tape import Unknown
from proving.stark.check import verify_stark
from proving.stark.encoding import decode_proof
from proving.stark.key import VerifyingKey

ACCEPTED = ""
"""Reason of a proof that is accepted."""

FINAL = "fri/final"
"""Where the native verifier names the final polynomial."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier says about a proof.

    Attributes:
        reason: Name of a `RejectionReason`, or of a claim that has none; `ACCEPTED`.
        where: Place inside the proof.
    """

    reason: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class ProofClaim:
    """A claim of a circuit about a proof.

    Attributes:
        verdict: What a verifier says that finds it false.
        rank: Its place in the order of the native verifier's checks.
    """

    verdict: Verdict
    rank: tuple[int, int]


class CircuitVerifier:
    """The proofs in a circuit's slots, judged by the circuit's claims.

    Args:
        execution: The circuit.
        key: Any key with the constraint system and the parameters of the children.
    """

    def __init__(self, execution: Execution, key: VerifyingKey) -> None:
        self._execution = execution
        self._stages = _stages(key)
        tape = execution.tape
        self._claims: list[dict[int, ProofClaim]] = []
        self._paths: list[dict[int, ProofClaim]] = []
        starts = np.cumsum([0, *map(len, tape.chains)]).tolist()
        for begun, done in tape.verifications:
            adds = range(begun.multiply_adds, done.multiply_adds)
            self._claims.append(
                {
                    number: self._claim(tape.multiply_adds[number].what)
                    for number in adds
                    if tape.multiply_adds[number].unknown is Unknown.NONE
                }
            )
            rows = range(starts[begun.chains], starts[done.chains])
            self._paths.append(self._path_claims(rows))

    @property
    def slots(self) -> int:
        """Proofs that the circuit verifies."""
        return len(self._claims)

    @property
    def claims(self) -> int:
        """Claims about all of them."""
        return sum(map(len, self._claims)) + sum(map(len, self._paths))

    def verdicts(self, publics: FieldArray, inputs: FieldArray, hasher: Hasher) -> list[Verdict]:
        """Returns what the circuit says about every slot's proof.

        Args:
            publics: (num_publics, 8) public words.
            inputs: (n,) the circuit's inputs.
            hasher: Poseidon2.

        Raises:
            ProvingError: A challenge is one of the few that no proof can be verified with.
        """
        values = self._execution.run(publics, inputs, hasher)
        adds, paths = map(set, self._execution.failed(values))
        found: list[Verdict] = []
        for claims, ends in zip(self._claims, self._paths, strict=True):
            broken = [claims[number] for number in adds & claims.keys()]
            broken += [ends[row] for row in paths & ends.keys()]
            first = min(broken, key=lambda claim: claim.rank, default=None)
            found.append(Verdict(ACCEPTED) if first is None else first.verdict)
        return found

    def _claim(self, what: str) -> ProofClaim:
        reason, stage, query = _reading(what)
        where = stage if query is None else f"{stage}/query {query}"
        place = (reason, stage)
        if place not in self._stages:  # a claim about values that no proof can spoil
            return ProofClaim(Verdict(what), (-1, 0))
        return ProofClaim(Verdict(reason, where), (self._stages[place], query or 0))

    def _path_claims(self, rows: range) -> dict[int, ProofClaim]:
        """Returns the claims of paths; a tree's paths are those of the queries, in order."""
        arrays, trees = self._execution.arrays, self._execution.tape.trees
        seen: Counter[str] = Counter()
        found: dict[int, ProofClaim] = {}
        for row in rows:
            if arrays.meets_cap[row]:
                tree = trees[arrays.trees[row] - 1]
                layer = re.fullmatch(r"layer(\d+)", tree)
                stage = f"fri/round {layer[1]}" if layer else f"{tree.split()[0]} columns"
                query, seen[tree] = seen[tree], seen[tree] + 1
                reason = RejectionReason.MERKLE_PATH.value
                rank = (self._stages[reason, stage], query)
                found[row] = ProofClaim(Verdict(reason, f"{stage}/query {query}"), rank)
        return found


def native_verdict(key: VerifyingKey, proof: bytes, hasher: Hasher) -> Verdict:
    """Returns what the native verifier says of bytes; anything but a named refusal is let through as raised."""
    try:
        verify_stark(key, None, proof, hasher)
    except ProofError as error:
        return Verdict(error.reason.value, error.where)
    return Verdict(ACCEPTED)


def unreadable(key: VerifyingKey, proof: bytes) -> Verdict | None:
    """Returns why bytes cannot be read as a proof, so that no circuit can be given them; None if they can."""
    try:
        decode_proof(key, proof)
    except ProofError as error:
        return Verdict(error.reason.value, error.where)
    return None


def _reading(what: str) -> tuple[str, str, int | None]:
    """Returns reason, stage and query of the name of a claim."""
    head, _, tail = what.partition(", query ")
    query = int(tail) if tail else None
    if what == "the constraints":
        return RejectionReason.CONSTRAINTS_NOT_SATISFIED.value, "openings", None
    if work := re.fullmatch(r"the (?:work|form|top bit) of (\w+)", what):
        return RejectionReason.PROOF_OF_WORK.value, work[1], None
    if fold := re.fullmatch(r"fri round (\d+)", head):
        return RejectionReason.FOLD_MISMATCH.value, f"fri/round {fold[1]}", query
    if head == "the final polynomial":
        return RejectionReason.FINAL_POLYNOMIAL.value, FINAL, query
    return what, "", None


def _stages(key: VerifyingKey) -> dict[tuple[str, str], int]:
    """Returns reasons and places in the order of `proving.stark.check`."""
    work, path = RejectionReason.PROOF_OF_WORK.value, RejectionReason.MERKLE_PATH.value
    layers = range(len(key.schedule))
    order = [
        (work, "lookup_nonce"),
        (work, "point_nonce"),
        (RejectionReason.CONSTRAINTS_NOT_SATISFIED.value, "openings"),
        (work, "batching_nonce"),
        *[(work, f"layer{number}_nonce") for number in layers],
        (work, "query_nonce"),
        *[(path, f"{name} columns") for name in key.widths],
    ]
    for number in layers:
        order.append((path, f"fri/round {number}"))
        order.append((RejectionReason.FOLD_MISMATCH.value, f"fri/round {number}"))
    order.append((RejectionReason.FINAL_POLYNOMIAL.value, FINAL))
    return {place: rank for rank, place in enumerate(order)}
