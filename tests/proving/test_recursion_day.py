"""DAY: runs that follow each other become one, and nothing else does; and the whole pyramid, proven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from pipelines.sample_shards import CHAIN, sample_epochs
from proving.arithmetic.modulus import P
from proving.backends.cpu import CpuBackend
from proving.backends.port import FieldArray
from proving.errors import ProofRejected, RejectionReason
from proving.kinds import recursive_program, verifying_key
from proving.ledger.layout import make_layout
from proving.recursion.children import NO_KEY
from proving.recursion.day import RunInputs, day_inputs
from proving.recursion.global_proofs import (
    DAY_KIND,
    EPOCH_KIND,
    EpochChildren,
    GlobalProof,
    day_witness,
    prove_day,
    prove_epoch,
    verify_run,
)
from proving.recursion.global_span import GlobalSpan, fold_words, join_runs
from proving.recursion.recursive_proofs import recursive_publics
from proving.recursion.span_proofs import prove_lift
from proving.segment_proofs import prove_segment
from proving.stark.encoding import encode_proof, proof_sections
from schemas.errors import ParameterError

BACKEND = CpuBackend(threads=2)
OWN = ("the chain", "the validators", "the windows", "slot", "the switch", "the statement")
"""How the claims of the links begin; all others are about the proofs in the slots."""


def word(seed: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(0, P, 8).tolist())


@cache
def runs() -> tuple[GlobalSpan, ...]:
    first = GlobalSpan(7, 2, 4, 8, word(1), word(2), word(3), word(4))
    second = replace(first, first_window=8, end_window=9, before=word(3), after=word(5))
    third = replace(second, first_window=9, end_window=20, before=word(5), after=word(6))
    return first, second, third


@cache
def places() -> list[RunInputs]:
    return day_inputs(verifying_key(EPOCH_KIND, BACKEND))


@cache
def noise() -> bytes:
    """Bytes that read as an epoch's proof, of noise."""
    key, rng = verifying_key(EPOCH_KIND, BACKEND), np.random.default_rng(5)
    sections = proof_sections(key)
    return encode_proof(
        key, {one.name: rng.integers(0, P, one.shape, dtype=np.uint32) for one in sections}
    )


def problems(
    chosen: Sequence[GlobalSpan], run: GlobalSpan, changes: Mapping[int, int] | None = None
) -> set[str]:
    """Returns which claims of the links do not hold, the slots' proofs being noise."""
    inputs = day_witness([GlobalProof(one, noise()) for one in chosen], BACKEND)
    for place, value in (changes or {}).items():
        inputs[place] = value
    return broken(run, inputs, OWN)


def broken(run: GlobalSpan, inputs: FieldArray, named: tuple[str, ...]) -> set[str]:
    publics = recursive_publics(DAY_KIND, run.digest(BACKEND), NO_KEY, BACKEND)
    words = np.array(publics, dtype=np.uint32).reshape(-1, 8)
    execution = recursive_program(DAY_KIND, BACKEND).execution
    found = execution.problems(execution.run(words, inputs, BACKEND))
    return {problem for problem in found if problem.startswith(named)}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_runs_that_follow_each_other_are_joined(count: int) -> None:
    joined = join_runs(runs()[:count], BACKEND)
    assert problems(runs()[:count], joined) == set()
    assert (joined.first_window, joined.end_window) == (4, runs()[count - 1].end_window)
    assert (joined.before, joined.after) == (word(2), runs()[count - 1].after)


def test_the_history_is_folded_in_order() -> None:
    first, second, third = runs()
    history = fold_words(first.history, second.history, BACKEND)
    assert join_runs([first, second], BACKEND).history == history
    history = fold_words(history, third.history, BACKEND)
    assert join_runs(runs(), BACKEND).history == history


@pytest.mark.parametrize(
    ("problem", "slot", "fields"),
    [
        ("the chain of slot 1", 1, {"chain": 8}),
        ("the chain of slot 2", 2, {"shards": 3}),
        ("the validators of slot 1", 1, {"validators": word(9)}),
        ("the windows of slot 1", 1, {"first_window": 7}),
        ("the windows of slot 2", 2, {"first_window": 10}),
        ("slot 1 follows", 1, {"before": word(2)}),
        ("slot 2 follows", 2, {"before": word(3)}),
    ],
)
def test_a_run_that_does_not_follow_is_refused_by_circuit_and_prover(
    problem: str, slot: int, fields: dict[str, object]
) -> None:
    chosen = list(runs())
    chosen[slot] = replace(chosen[slot], **fields)  # type: ignore[arg-type]
    assert problem in problems(chosen, join_runs(runs(), BACKEND))
    with pytest.raises(ParameterError, match=f"child {slot} "):
        join_runs(chosen, BACKEND)


def test_the_order_and_the_switches_count() -> None:
    first, second, third = runs()
    whole = join_runs(runs(), BACKEND)
    for wrong in ([second, first, third], [first, third, second], [first, second, second]):
        assert problems(wrong, whole)
    slots = places()
    part = join_runs([first, second], BACKEND)
    assert problems(runs(), part) == {"the statement"}
    assert problems(runs(), part, {slots[2].switch.start: 0}) == set()
    assert "the switch of slot 3" in problems(runs(), part, {slots[4].switch.start: 1}) | problems(
        runs(), whole, {slots[3].switch.start: 5}
    )
    gap = problems(runs(), whole, {slots[2].switch.start: 0, slots[3].switch.start: 1})
    assert "the switch of slot 3" in gap


@pytest.mark.parametrize(
    ("problem", "fields"),
    [
        ("are no run", {"end_window": 4}),
        ("are no run", {"first_window": -1}),
        ("are no run", {"end_window": 2**30}),
        ("with 0 shards", {"shards": 0}),
        ("no chain", {"chain": 2**30}),
        ("eight residues", {"before": word(1)[:7]}),
        ("eight residues", {"history": (P, *word(1)[1:])}),
    ],
)
def test_a_run_out_of_range_is_refused_whatever_the_proof(
    problem: str, fields: dict[str, object]
) -> None:
    changed = replace(runs()[0], **fields)  # type: ignore[arg-type]
    with pytest.raises(ProofRejected, match=problem) as error:
        verify_run(GlobalProof(changed, b"no proof"), BACKEND)
    assert error.value.reason is RejectionReason.BAD_STATEMENT


@pytest.mark.slow
def test_two_epochs_of_two_shards_become_one_day() -> None:
    epochs: list[GlobalProof] = []
    for _, epoch in zip(range(2), sample_epochs(2, BACKEND, make_layout(12, 1)), strict=False):
        lifts = [
            prove_lift([prove_segment(one, BACKEND).data for one in witnesses], BACKEND)
            for witnesses in epoch.witnesses
        ]
        children = EpochChildren(
            CHAIN,
            range(epoch.window, epoch.window + 1),
            word(1),
            epoch.parts_with([lift.span for lift in lifts]),
            [lift.data for lift in lifts],
        )
        epochs.append(prove_epoch(children, BACKEND))
        assert verify_run(epochs[-1], BACKEND).proven_bits >= 100
        links = [part.received_after for part in children.parts]
        assert any(map(any, links[0])) == bool(epoch.window)
    day = prove_day(epochs, BACKEND)
    again = prove_day([day], BACKEND)
    for claim in (day, again):
        assert verify_run(claim, BACKEND).proven_bits >= 100
        assert (claim.run.first_window, claim.run.end_window) == (0, 2)
    slot = places()[0]
    of_proofs = ("the key", "the vk_self", "the run")
    for place, problem in (
        (slot.child.choices[0].start, "the key of slot 0"),
        (slot.child.cap.start, "the key of slot 0"),
        (slot.child.body.start, "the run of slot 0"),
        (slot.child.body.start + 8, "the vk_self of slot 0"),
        (slot.run.start + 8, "the run of slot 0"),
    ):
        inputs = day_witness(epochs, BACKEND)
        inputs[place] = 1
        assert problem in broken(day.run, inputs, of_proofs), problem
    for foreign in (replace(day.run, end_window=3), replace(day.run, validators=word(2))):
        with pytest.raises(ProofRejected) as error:
            verify_run(GlobalProof(foreign, day.data), BACKEND)
        assert error.value.reason is RejectionReason.STATEMENT_MISMATCH
    with pytest.raises(ParameterError, match="child 1 begins with window 0, not 2"):
        prove_day([day, epochs[0]], BACKEND)
