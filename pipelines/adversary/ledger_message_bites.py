"""Every message of the ledger circuit has a forgery in which it alone meets nothing.

A value outside the range table is all that is wrong in the first half: without its lookup the forgery is
accepted. In the second half one tuple, or the two versions of one, does not balance.
"""

from __future__ import annotations

import numpy as np
import pytest

from proving.arithmetic.modulus import P
from proving.arithmetic.residues import Residues
from proving.ledger.layout import SPAN_WEIGHT
from proving.stark.trace_check import TraceChecker
from schemas.units import LIMB_LIMIT, Array, ReservedCell
from pipelines.adversary.ledger_edits import (
    AIR,
    BIG_FEE,
    CREDIT,
    DEBIT,
    ISSUE,
    ISSUE_TO_NEW,
    KEY_ROW,
    SETTLE,
    Forge,
    Weakened,
    both,
    checker,
    edit,
    forgery,
    honest,
    report,
)
from pipelines.adversary.ledger_forgery import Forgery


def out_of_range(field: str, row: int, position: int, weight: int = LIMB_LIMIT) -> Forge:
    """Another pair of limbs with the same sum, one of them outside the table."""

    def run(f: Forgery) -> None:
        if position == 0:
            f.add(field, row, -LIMB_LIMIT, 0)
            f.add(field, row, LIMB_LIMIT // weight, 1)
        else:
            f.add(field, row, 1, 0)
            f.add(field, row, -pow(weight, -1, P), 1)

    return run


def large_limb(position: int) -> Forge:
    """An amount whose limbs say the same, one of them with a bit too much."""

    def run(f: Forgery) -> None:
        for row in (ISSUE, ISSUE + 1):
            f.add("amount", row, LIMB_LIMIT, position)
            f.add("amount", row, -1, position + 1)
            f.move(row)
        for half in range(2):
            low, high = (f.get("amount", ISSUE, 2 * half + j) for j in range(2))
            f.put("word", ISSUE, low + LIMB_LIMIT * high, 2 + half)

    return run


def _theft(f: Forgery) -> None:
    """A payment of a negative amount."""
    f.put_word("amount", DEBIT, (0, 0, 0, -1))
    f.put_word("amount", CREDIT, (0, 0, 0, -1))
    f.put("word", DEBIT, 0, 2)
    f.put("word", DEBIT, -LIMB_LIMIT, 3)
    f.move(DEBIT)
    f.move(CREDIT)


def _overdraft(f: Forgery) -> None:
    """A payment of more than there is."""
    amount = (0, 0, 0, LIMB_LIMIT // 2)
    f.put_word("amount", DEBIT, amount)
    f.put_word("amount", CREDIT, amount)
    f.put("word", DEBIT, 0, 2)
    f.put("word", DEBIT, LIMB_LIMIT * amount[3], 3)
    f.move(DEBIT)
    f.move(CREDIT)


def large_balance(position: int) -> Forge:
    """A balance whose limbs say the same, one of them with a bit too much."""
    return both(
        edit("new", ISSUE_TO_NEW, LIMB_LIMIT, position),
        edit("carry", ISSUE_TO_NEW, 1, position),
        edit("new", ISSUE_TO_NEW, -1, position + 1),
    )


def money_from_a_wrapped_carry(position: int) -> Forge:
    """2^15 * 65024 = -1 mod P: a carry that adds one below and takes little above."""

    return both(
        edit("carry", CREDIT, 65024, position),
        edit("new", CREDIT, 1, position),
        edit("carry", CREDIT, 2, position + 1),
        edit("new", CREDIT, 65024 - 2 * LIMB_LIMIT, position + 1),
        edit("new", CREDIT, 2, position + 2),
    )


def _fee_with_a_bit_too_much(f: Forgery) -> None:
    f.add("fee", BIG_FEE, LIMB_LIMIT, 0)
    f.add("fee", BIG_FEE, -1, 1)
    f.put("fee_carry", BIG_FEE, 1, 0)
    f.move(BIG_FEE)


def _negative_fee(f: Forgery) -> None:
    """The payer is paid out of the proposers' pool."""
    f.put("fee", DEBIT, -1, 1)
    f.put("word", DEBIT, f.get("fee", DEBIT) - LIMB_LIMIT, 5)
    f.move(DEBIT)
    f.put("fee_sum", CREDIT, -1, 1)
    f.put("fee_sum", SETTLE, -1, 1)
    f.put("fee", SETTLE, -1, 1)
    f.move(SETTLE)
    f.put("word", SETTLE, f.get("fee", SETTLE) - LIMB_LIMIT, 3)


RANGE_FORGERIES: dict[str, Forge] = {
    "step.new.range[3]": _overdraft,
    "step.amount.range[3]": _theft,
    "step.fee.range[0]": _fee_with_a_bit_too_much,
    "step.fee.range[1]": _negative_fee,
    "step.time_left.range[0]": both(edit("time_left", DEBIT, -1), edit("word", DEBIT, -1, 6)),
}
for _j in range(3):
    RANGE_FORGERIES[f"step.new.range[{_j}]"] = large_balance(_j)
    RANGE_FORGERIES[f"step.amount.range[{_j}]"] = large_limb(_j)
for _j in range(2):
    RANGE_FORGERIES[f"step.carry.range[{_j}]"] = money_from_a_wrapped_carry(_j)
    RANGE_FORGERIES[f"step.elapsed.range[{_j}]"] = out_of_range("elapsed", CREDIT, _j)
    RANGE_FORGERIES[f"step.above_first.range[{_j}]"] = out_of_range("above_first", CREDIT, _j)
    for _name, _row in (("below_last", CREDIT), ("slot_advance", DEBIT)):
        RANGE_FORGERIES[f"step.{_name}.range[{_j}]"] = out_of_range(_name, _row, _j, SPAN_WEIGHT)


def _stale_read(f: Forgery) -> None:
    previous = f.get("previous_time", CREDIT)
    f.put("previous_time", CREDIT, previous - 1)
    f.add("elapsed", CREDIT, 1)


def _false_key(f: Forgery) -> None:
    f.add("word", KEY_ROW, 1)


def _free_money(f: Forgery) -> None:
    f.given[300] = ((0,) * 8, (7, 0, 0, 0, 0, 0, 0, 0))


def _second_row_of_a_cell(f: Forgery) -> None:
    f.remember(int(Array.ACC), int(ReservedCell.RESERVE), [0] * 8)


def taken_from_nowhere(side: int) -> Forge:
    def run(f: Forgery) -> None:
        field = f"takes_{('left', 'right')[side]}"
        f.put_node(field, f.find_nodes(tree=int(Array.KEY), **{field: 0})[-1], 1)

    return run


def last_node(field: str) -> Forge:
    return lambda f: f.put_node(field, f.height - 1, 1)


def table_row(strip: int) -> Forge:
    def run(f: Forgery) -> None:
        f.trace[AIR.layout.ranges[strip], 0] += 1

    return run


LANE_MESSAGES: dict[str, tuple[str, int, Forge]] = {
    "step.read": ("memory", 2, _stale_read),
    "step.write": ("memory", 2, lambda f: f.lost_writes.add(SETTLE)),
    "step.append": ("tree", 1, lambda f: f.lost_appends.add(SETTLE)),
    "step.hash": ("hash", 1, _false_key),
    "memory.first": ("memory", 2, _free_money),
    "memory.last": ("memory", 2, _free_money),
}
FINISHED_MESSAGES: dict[str, tuple[str, int, Forge]] = {
    "memory.leaf": ("tree", 1, _second_row_of_a_cell),
    "node0.tree.left": ("tree", 1, taken_from_nowhere(0)),
    "node0.tree.right": ("tree", 1, taken_from_nowhere(1)),
    "node0.tree.up": ("tree", 1, last_node("is_node")),
    "node0.hash.old": ("hash", 1, last_node("uses_old")),
    "node0.hash.new": ("hash", 1, last_node("uses_new")),
}
FINISHED_MESSAGES |= {
    f"range[{strip}]": ("range", 1, table_row(strip)) for strip in range(len(AIR.layout.ranges))
}
"""Bus, number of tuples that do not balance, and the forgery."""

IMPLIED_MESSAGES = {
    "step.carry.range[2]": "the two top limbs in range leave one carry: 2^15 c cannot wrap below 2^15",
}


@pytest.mark.parametrize("name", RANGE_FORGERIES)
def test_a_value_outside_the_table_is_all_that_is_wrong(name: str) -> None:
    """With that one lookup deleted the forgery is accepted; with it, the range bus does not balance."""
    for unchecked in (name, ""):
        forged = forgery(unchecked=unchecked)
        RANGE_FORGERIES[name](forged)
        forged.finish()
        found = report(forged)
        assert found.violations == {}
        assert found.unbalanced
        assert {bus for bus, _ in found.unbalanced} == {"range"}
        wrong = any(value >= LIMB_LIMIT for _, (value,) in found.unbalanced)
        assert wrong
        if unchecked:
            assert lookups_of(forged, name) == found.unbalanced


@pytest.mark.parametrize("name", [*LANE_MESSAGES, *FINISHED_MESSAGES])
def test_a_message_that_meets_nothing_is_all_that_is_wrong(name: str) -> None:
    forged = forgery()
    if name in LANE_MESSAGES:
        bus, count, forge = LANE_MESSAGES[name]
        forge(forged)
        forged.finish()
    else:
        bus, count, forge = FINISHED_MESSAGES[name]
        forged.finish()
        forge(forged)
    found = report(forged)
    assert found.violations == {}
    assert {found_bus for found_bus, _ in found.unbalanced} == {bus}
    assert len(found.unbalanced) == count
    assert set(found.unbalanced) & messages_of(forged, name)


def _no_hash_is_asked(f: Forgery) -> None:
    f.add("word", KEY_ROW, 1)
    f.finish()
    for row in range(f.height):
        for version in ("old", "new"):
            f.put_node(f"uses_{version}", row, 0)


def _lists_stay_empty(f: Forgery) -> None:
    f.lost_appends |= {row for row in range(f.height) if f.get("padding", row) == 0}
    f.finish()


def _balances_move_below_an_old_root(f: Forgery) -> None:
    f.finish()
    f.seal(Array.ACC)


ACCEPTED_WITHOUT: dict[str, Forge] = {
    "step.hash": _no_hash_is_asked,
    "step.append": _lists_stay_empty,
    "memory.leaf": _balances_move_below_an_old_root,
}
"""Messages of this half without which something false is shown, with the trace that shows it."""

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


@pytest.mark.parametrize("name", ACCEPTED_WITHOUT)
def test_without_the_message_the_forgery_is_accepted(name: str) -> None:
    """All that does not balance is what this message says; without it everything does."""
    forged = forgery()
    ACCEPTED_WITHOUT[name](forged)
    found = report(forged)
    assert found.violations == {}
    assert found.unbalanced
    assert set(found.unbalanced) == messages_of(forged, name)
    assert TraceChecker(Weakened(name)).check(forged.trace, forged.publics).holds


@pytest.mark.parametrize("name", NEEDED)
def test_without_a_needed_message_not_even_the_honest_trace_balances(name: str) -> None:
    trace, publics = honest()
    found = TraceChecker(Weakened(name)).check(trace, publics)
    assert found.violations == {}
    assert found.unbalanced


def test_every_message_that_is_no_range_lookup_is_one_of_the_three() -> None:
    assert {*ACCEPTED_WITHOUT, *NEEDED, *OFFERED} == {*LANE_MESSAGES, *FINISHED_MESSAGES}
    assert len(ACCEPTED_WITHOUT) + len(NEEDED) + len(OFFERED) == len(
        LANE_MESSAGES | FINISHED_MESSAGES
    )
    signs = {i.name: i.sign for i in checker(AIR).interactions}
    assert {signs[name] for name in OFFERED} == {1}


def messages_of(forged: Forgery, name: str) -> set[tuple[str, tuple[int, ...]]]:
    """Returns the tuples that one interaction puts on its bus."""
    check = checker(forged.air)
    following = np.roll(forged.trace, -1, axis=1)
    columns = [*check.fixed, *forged.trace, *following]
    inputs = [Residues(column.astype(np.uint64)) for column in columns]
    size = forged.height
    inputs += [Residues(np.full(size, value, dtype=np.uint64)) for value in forged.publics]
    outputs = check.program.evaluate(
        inputs, lambda value: Residues(np.full(size, value, dtype=np.uint64))
    )
    place = len(check.constraints)
    for interaction in check.interactions:
        end = place + 1 + interaction.bus.width
        if interaction.name == name:
            break
        place = end
    times, *values = (output.residues.tolist() for output in outputs[place:end])
    tuples = zip(*values, strict=True)
    return {(interaction.bus.name, v) for m, v in zip(times, tuples, strict=True) if m}


def test_every_message_has_a_forgery_of_its_own_or_follows_from_the_others() -> None:
    names = {interaction.name for interaction in checker(AIR).interactions}
    bitten = {*RANGE_FORGERIES, *LANE_MESSAGES, *FINISHED_MESSAGES}
    assert bitten | set(IMPLIED_MESSAGES) == names
    assert not bitten & set(IMPLIED_MESSAGES)


def test_the_top_carry_is_fixed_by_the_two_limbs_beside_it() -> None:
    """The reason in `IMPLIED_MESSAGES`: no other carry moves both limbs by less than 2^15."""
    shifts = np.arange(1, LIMB_LIMIT, dtype=np.int64)
    others = -shifts * pow(LIMB_LIMIT, -1, P) % P
    assert (others * LIMB_LIMIT % P == P - shifts).all()
    assert int(np.minimum(others, P - others).min()) >= LIMB_LIMIT


def lookups_of(forged: Forgery, name: str) -> dict[tuple[str, tuple[int, ...]], int]:
    """Returns what one lookup takes from the range bus, as the report of a circuit without it counts."""
    field, position = name.removeprefix("step.").split(".range[")
    counts: dict[tuple[str, tuple[int, ...]], int] = {}
    for row in range(forged.height):
        if times := forged.touches(row):
            message = ("range", (forged.get(field, row, int(position[:-1])),))
            counts[message] = counts.get(message, 0) - times
    return counts
