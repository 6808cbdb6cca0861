"""Every claim of the ledger circuit bites: a forgery breaks it alone, and is accepted where it is missing.

`TraceChecker` decides what a proof shows: constraints that are not zero and messages that do not balance. A
trace with exactly one constraint in the report is accepted by the circuit that lacks this one.
"""

from __future__ import annotations

import numpy as np
import pytest

from operators.proof_worker import process_backend
from pipelines.adversary.forged_trace import claims_of
from pipelines.adversary.ledger_bites import (
    FINISHED_FORGERIES,
    IMPLIED,
    STEP_FORGERIES,
    forged_compressions,
)
from pipelines.adversary.ledger_claims import (
    FULL_LANE,
    forged_trace,
    is_shown_implied,
    same_claims,
    small_instance,
)
from pipelines.adversary.ledger_edits import AIR, SMALL, checker, forgery, honest, report
from pipelines.adversary.ledger_implied import SELECTORS, refutation, unrefuted_rows
from pipelines.adversary.ledger_message_bites import (
    ACCEPTED_WITHOUT,
    FINISHED_MESSAGES,
    LANE_MESSAGES,
    RANGE_FORGERIES,
)
from pipelines.adversary.weaker import Weaker
from proving.arithmetic.modulus import PERMUTATION_WIDTH
from proving.ledger.air import LedgerAir
from proving.ledger.layout import COMPRESSION_COLUMNS
from proving.stark.trace_check import TraceChecker
from schemas.errors import ParameterError
from schemas.units import LIMB_LIMIT

LANES = 3


def test_a_finished_honest_lane_is_the_honest_trace() -> None:
    forged = forgery()
    forged.finish()
    trace, publics = honest()
    memory = AIR.layout.memory
    outside = np.ones(len(trace), dtype=np.bool_)
    outside[memory.start : memory.start + memory.width] = False
    assert (forged.trace[outside] == trace[outside]).all()
    assert forged.publics == publics
    assert report(forged).holds


@pytest.mark.parametrize("name", [*STEP_FORGERIES, *FINISHED_FORGERIES])
def test_a_trace_that_breaks_one_constraint_alone_is_rejected_for_it(name: str) -> None:
    forged = forged_trace(name)
    found = checker(AIR).check(forged.trace, forged.publics)
    assert forged.missing == name
    assert (set(found.violations), found.unbalanced) == ({name}, {})


def test_a_lane_that_ends_inside_a_transaction_breaks_the_last_row_alone() -> None:
    forged = forged_trace(FULL_LANE)
    assert forged.trace[SMALL.layout.steps.column("transfer_debit"), -1] == 1
    found = checker(SMALL).check(forged.trace, forged.publics)
    assert (set(found.violations), found.unbalanced) == ({FULL_LANE}, {})


@pytest.mark.parametrize("version", ["old", "new"])
def test_every_round_of_a_compression_is_bitten_alone(version: str) -> None:
    """All at once, each on a padding row of its own; `forged_trace` gives them one by one."""
    prefix = f"node0.{version}."
    names = [c.name for c in checker(AIR).constraints if c.name.startswith(prefix)]
    assert len(names) == COMPRESSION_COLUMNS - PERMUTATION_WIDTH
    forged = forgery()
    forged.finish()
    lane = AIR.layout.nodes[0]
    first = forged.height - len(names)
    used = ("is_node", "uses_old", "uses_new")
    assert not any(forged.trace[lane.column(field), first:].any() for field in used)
    places = lane.places[version]
    forged.trace[places.start : places.stop, first:] = forged_compressions()
    found = report(forged)
    expected = {name: (first + number,) for number, name in enumerate(names)}
    assert (found.violations, found.unbalanced) == (expected, {})


@pytest.mark.parametrize(
    "name", ["node0.old.full0[0]", "node0.new.partial19", "node0.new.digest[7]"]
)
def test_a_forged_compression_breaks_its_constraint_alone(name: str) -> None:
    forged = forged_trace(name)
    found = checker(AIR).check(forged.trace, forged.publics)
    assert (found.violations, found.unbalanced) == ({name: (AIR.layout.height - 1,)}, {})


@pytest.mark.parametrize("name", RANGE_FORGERIES)
def test_a_value_outside_the_table_is_accepted_only_without_its_lookup(name: str) -> None:
    """The bus lacks what this one lookup asks for, whether or not the forger offers the rest of it."""
    forged = forged_trace(name)
    check = checker(AIR)
    found = check.check(forged.trace, forged.publics)
    asked = check.messages(forged.trace, forged.publics, name)
    assert (found.violations, found.unbalanced) == ({}, asked)
    assert any(value >= LIMB_LIMIT for _, (value,) in asked)
    offered = forgery()
    RANGE_FORGERIES[name](offered)
    offered.finish()
    found = report(offered)
    assert found.violations == {}
    assert found.unbalanced
    assert all(bus == "range" and value >= LIMB_LIMIT for bus, (value,) in found.unbalanced)


@pytest.mark.parametrize("name", [*LANE_MESSAGES, *FINISHED_MESSAGES])
def test_a_message_that_meets_nothing_is_all_that_is_wrong(name: str) -> None:
    """One tuple, or the two versions of one, does not balance; without the bus nothing is wrong."""
    bus, count, forge = (LANE_MESSAGES | FINISHED_MESSAGES)[name]
    forged = forgery()
    if name in FINISHED_MESSAGES:
        forged.finish()
    forge(forged)
    if name in LANE_MESSAGES:
        forged.finish()
    found = report(forged)
    assert found.violations == {}
    assert {found_bus for found_bus, _ in found.unbalanced} == {bus}
    assert len(found.unbalanced) == count
    assert set(found.unbalanced) & set(checker(AIR).messages(forged.trace, forged.publics, name))


@pytest.mark.parametrize("bus", ["memory", "tree", "hash", "range"])
def test_without_its_bus_a_forgery_is_accepted(bus: str) -> None:
    names = [n for n, entry in (LANE_MESSAGES | FINISHED_MESSAGES).items() if entry[0] == bus]
    check = TraceChecker(Weaker(AIR, bus), process_backend())
    for name in names:
        forged = forged_trace(name)
        assert name in ACCEPTED_WITHOUT or forged.missing == bus
        assert name in ACCEPTED_WITHOUT or check.check(forged.trace, forged.publics).holds


@pytest.mark.parametrize("name", ACCEPTED_WITHOUT)
def test_without_the_message_the_forgery_is_accepted(name: str) -> None:
    """All that does not balance is what this message says; without it everything does."""
    forged = forged_trace(name)
    found = checker(AIR).check(forged.trace, forged.publics)
    assert forged.missing == name
    assert found.violations == {}
    assert found.unbalanced == checker(AIR).messages(forged.trace, forged.publics, name)
    weaker = TraceChecker(Weaker(AIR, name), process_backend())
    assert weaker.check(forged.trace, forged.publics).holds


NEEDED = (
    "step.read",
    "step.write",
    "memory.first",
    "memory.last",
    "node0.tree.left",
    "node0.tree.right",
    "node0.tree.up",
)
"""Messages that every trace has on a touched cell or on the way to a root: without one of them its
counterparts meet nothing, and no trace balances."""

OFFERED = ("node0.hash.old", "node0.hash.new", *(m for m in FINISHED_MESSAGES if "range" in m))
"""Messages that only offer true tuples to others: without one of them fewer traces balance, none more."""


@pytest.mark.parametrize("name", NEEDED)
def test_without_a_needed_message_not_even_the_honest_trace_balances(name: str) -> None:
    trace, publics = honest()
    found = TraceChecker(Weaker(AIR, name), process_backend()).check(trace, publics)
    assert found.violations == {}
    assert found.unbalanced


def test_a_message_is_accepted_only_with_its_bus_because_it_is_needed_or_offers() -> None:
    assert {*ACCEPTED_WITHOUT, *NEEDED, *OFFERED} == {*LANE_MESSAGES, *FINISHED_MESSAGES}
    assert len(ACCEPTED_WITHOUT) + len(NEEDED) + len(OFFERED) == len(
        LANE_MESSAGES | FINISHED_MESSAGES
    )
    signs = {i.name: i.sign for i in checker(AIR).interactions}
    assert {signs[name] for name in OFFERED} == {1}


def test_every_claim_has_a_forgery_or_is_shown_to_follow_from_the_others() -> None:
    constraints, messages = claims_of(AIR)
    rounds = {name for name in constraints if name.startswith(("node0.old.", "node0.new."))}
    bitten = {*STEP_FORGERIES, *FINISHED_FORGERIES, FULL_LANE, *rounds}
    assert bitten | {*IMPLIED} == {*constraints}
    assert not bitten & {*IMPLIED}
    assert {*RANGE_FORGERIES, *LANE_MESSAGES, *FINISHED_MESSAGES} == {*messages}
    assert all(is_shown_implied(name) for name in IMPLIED)


def test_the_enumeration_leaves_the_honest_rows_and_finds_the_forged_one() -> None:
    for selector in SELECTORS:
        assert refutation({name: int(name == selector) for name in SELECTORS}) is None
    zeros = dict.fromkeys(SELECTORS, 0)
    forged = {"register_debit": -2, "transfer_debit": 1, "issue_debit": 1, "padding": 1}
    assert zeros | forged in unrefuted_rows("register_debit")
    implied = {f"step.{selector}.boolean" for selector in SELECTORS if not unrefuted_rows(selector)}
    assert implied == {*IMPLIED}


@pytest.mark.parametrize("name", ["node2.is_node.boolean", "node2.right.unchanged[3]"])
def test_a_forgery_of_the_first_hash_lane_becomes_one_of_any_other(name: str) -> None:
    forged = forged_trace(name, LANES)
    found = checker(small_instance(LANES)).check(forged.trace, forged.publics)
    assert (set(found.violations), found.unbalanced) == ({name}, {})


def test_circuits_of_one_shape_claim_the_same_at_every_height_and_others_do_not() -> None:
    assert same_claims(LedgerAir(12, LANES), small_instance(LANES), 3)
    assert not same_claims(LedgerAir(12, 1), small_instance(LANES), 3)


@pytest.mark.parametrize("name", ["step.nothing", "node0.old.full9[0]", "step.settle.boolean"])
def test_a_claim_without_a_forgery_is_named(name: str) -> None:
    with pytest.raises(ParameterError, match=f"no forgery of '{name.split('[', maxsplit=1)[0]}"):
        forged_trace(name)
