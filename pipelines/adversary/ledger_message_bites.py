"""A forgery for every message of the ledger circuit in which it alone meets nothing.

A value outside the range table is all that is wrong in the first half: without its lookup the forgery is
accepted. In the second half one tuple, or the two versions of one, does not balance; without four of its
messages something false is accepted, without the others only when their whole bus is deleted.
"""

from __future__ import annotations

from pipelines.adversary.ledger_edits import (
    AIR,
    BIG_FEE,
    CREDIT,
    DEBIT,
    ISSUE,
    ISSUE_TO_NEW,
    KEY_ROW,
    RETURN,
    SETTLE,
    Forge,
    both,
    edit,
)
from pipelines.adversary.ledger_forgery import Forgery
from proving.arithmetic.modulus import P
from proving.ledger.layout import SPAN_WEIGHT
from schemas.units import LIMB_LIMIT, LINK_ARRAYS, Array, ReservedCell


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


def _money_from_a_wrapped_borrow(f: Forgery) -> None:
    """A debit of nearly 2^60 leaves more than there was: -2^15 * 65024 = 1 mod P hides the borrow below.

    The recipient must have room for it, so account 16 was given less.
    """
    for row in (ISSUE, ISSUE + 1):
        f.put_word("amount", row, (0, 0, 0, 8))
    f.put("word", ISSUE, 0, 2)
    f.put("word", ISSUE, LIMB_LIMIT * 8, 3)
    f.replay()
    top = 32300
    for row in (DEBIT, CREDIT):
        f.put_word("amount", row, (0, 0, 0, top))
        f.move(row)
    f.put("word", DEBIT, 0, 2)
    f.put("word", DEBIT, LIMB_LIMIT * top, 3)
    f.add("carry", DEBIT, -65024, 2)
    f.add("new", DEBIT, 1, 2)
    f.add("new", DEBIT, 65024, 3)


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
    "step.carry.range[2]": _money_from_a_wrapped_borrow,
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
    """A node takes a child that nobody sends."""

    def run(f: Forgery) -> None:
        field = f"takes_{('left', 'right')[side]}"
        f.put_node(field, f.find_nodes(tree=int(Array.KEY), **{field: 0})[-1], 1)

    return run


def last_node(field: str) -> Forge:
    """A padding row offers its compression."""
    return lambda f: f.put_node(field, f.height - 1, 1)


def table_row(strip: int) -> Forge:
    """The table is asked once more than it is."""

    def run(f: Forgery) -> None:
        f.trace[AIR.layout.ranges[strip], 0] += 1

    return run


LANE_MESSAGES: dict[str, tuple[str, int, Forge]] = {
    "step.read": ("memory", 2, _stale_read),
    "step.write": ("memory", 2, lambda f: f.lost_writes.add(SETTLE)),
    "step.append": ("tree", 1, lambda f: f.lost_appends.add(SETTLE)),
    "step.hash": ("hash", 1, _false_key),
    "step.link": ("hash", 1, edit("new", RETURN + 3)),
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


def _no_key_is_hashed(f: Forgery) -> None:
    f.add("word", KEY_ROW, 1)
    f.unhashed |= {row for row in f.active_rows() if f.get("register_key", row)}
    f.finish()


def _no_link_is_hashed(f: Forgery) -> None:
    f.add("new", RETURN + 3, 1)
    f.unhashed |= {row for row in f.active_rows() if f.links(row)}
    f.finish()


def _lists_stay_empty(f: Forgery) -> None:
    f.lost_appends |= {row for row in range(f.height) if f.get("padding", row) == 0}
    f.finish()


def _balances_move_below_an_old_root(f: Forgery) -> None:
    f.finish()
    for array in (Array.ACC, *LINK_ARRAYS):
        f.seal(array)


ACCEPTED_WITHOUT: dict[str, Forge] = {
    "step.hash": _no_key_is_hashed,
    "step.link": _no_link_is_hashed,
    "step.append": _lists_stay_empty,
    "memory.leaf": _balances_move_below_an_old_root,
}
"""Messages of this half without which something false is shown, with the trace that shows it."""
