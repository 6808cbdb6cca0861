"""A forgery for every constraint of the ledger circuit that breaks it alone, and why two have none.

A trace that breaks exactly one constraint is accepted by the circuit that lacks this one.
"""

from __future__ import annotations

import numpy as np

from pipelines.adversary.ledger_edits import (
    CREDIT,
    DEBIT,
    ISSUE_TO_NEW,
    KEY_ROW,
    PAD,
    RECEIVE,
    RETURN,
    SEND,
    SETTLE,
    SPONSORED,
    Forge,
    both,
    edit,
)
from pipelines.adversary.ledger_forgery import Forgery
from proving.arithmetic.modulus import PERMUTATION_WIDTH, P
from proving.arithmetic.poseidon2_integers import (
    EXTERNAL_CONSTANTS,
    INTERNAL_CONSTANTS,
    cube,
    external_layer,
    internal_layer,
)
from proving.arithmetic.residues import Residues
from proving.ledger.layout import COMPRESSION_COLUMNS, COUNTER_NAMES, SPAN_WEIGHT
from proving.ledger.words import PEER_WEIGHT
from proving.stark.air import FieldArray
from schemas.statement import AFTER_OFFSET, BEFORE_OFFSET
from schemas.units import AMOUNT_LIMBS, FIRST_ACCOUNT, LIMB_LIMIT, Array, ReservedCell


def jump(field: str, position: int = 0) -> Forge:
    """A counter that moves by itself where nothing happens."""
    return lambda f: f.add_from(field, PAD + 5, 1, position)


def lost_credit(row: int) -> Forge:
    """The transaction ends before it is done."""

    def run(f: Forgery) -> None:
        cell, amount, word = f.get("cell", row), f.word("amount", row), f.word("word", row)
        f.truncate(row)
        f.put("cell", row, cell)
        f.put_word("amount", row, amount)
        f.put_word("word", row, word)

    return run


def key_after(row: int) -> Forge:
    """A key is registered out of the blue."""
    return lambda f: f.extra_key(row)


def credit_to(cell: int, named: int) -> Forge:
    """The last transfer's word names one account and its amount goes to another."""

    def run(f: Forgery) -> None:
        f.put("word", DEBIT, named, 1)
        f.retouch(CREDIT, cell)

    return run


def _sponsor(f: Forgery) -> None:
    f.put("word", SPONSORED, 3, 0)
    f.put("word", SPONSORED, 0, 4)
    f.retouch(SPONSORED, 3, (0, 0, 0, 1, 0, 0, 0, 0))


def _issue_from_account(f: Forgery) -> None:
    f.retouch(ISSUE_TO_NEW, 21)
    f.put("word", ISSUE_TO_NEW, 21, 0)
    f.put("word", ISSUE_TO_NEW, f.get("old", ISSUE_TO_NEW, 4), 4)


def _two_steps(f: Forgery) -> None:
    f.put("register_key", CREDIT, 1)
    f.put("place", CREDIT, f.get("keys", CREDIT))
    f.hash_here(CREDIT)
    f.add_from("keys", CREDIT + 1, 1)


def _two_steps_and_less_padding(f: Forgery) -> None:
    f.truncate(SETTLE)
    _two_steps(f)
    f.put("padding", CREDIT, -1)


def _key_undone(f: Forgery) -> None:
    """A key word that is no hash, registered once and then minus once, with a list of its own."""
    f.truncate(SETTLE)
    for field in ("old", "new"):
        f.put_word(field, KEY_ROW, f.word(field, CREDIT))
    f.put_word("word", KEY_ROW, [0] * 8)
    f.put("register_key", CREDIT, -1)
    f.put("padding", CREDIT, 1)
    f.put("place", CREDIT, -f.get("keys", CREDIT))
    f.add_from("keys", SETTLE, -1)


def cancelling(*, number: int = 0, **selectors: int) -> Forge:
    """The last row, which is padding, takes steps that undo one another.

    Args:
        number: The kind that its word names.
        selectors: Step -> how often it is taken.
    """

    def run(f: Forgery) -> None:
        last = f.height - 1
        for name, value in selectors.items():
            f.put(name, last, value)
        f.put("word", last, f.get("keys", last), 1)
        f.put("word", last, number, 7)
        f.put("above_first", last, -FIRST_ACCOUNT)
        f.put("below_last", last, f.get("keys", last) - 1)

    return run


def links_that_cancel(name: str, other: str) -> Forge:
    """The last row puts a word on a link and takes it off again; the row before holds its mirror image."""

    def run(f: Forgery) -> None:
        last = f.height - 1
        f.put(name, last, -1)
        f.put(other, last, 1)
        f.put_word("word", last, (f.get("keys", last), FIRST_ACCOUNT))
        f.put_word("word", last - 1, (FIRST_ACCOUNT, f.get("keys", last)))

    return run


def carry_of_nothing(position: int) -> Forge:
    """The fee sum carries on a row that pays nothing."""

    def run(f: Forgery) -> None:
        f.truncate(SETTLE)
        f.put("fee_carry", CREDIT, 1, position)
        f.add_from("fee_sum", SETTLE, -LIMB_LIMIT, position)
        f.add_from("fee_sum", SETTLE, 1, position + 1)

    return run


def settled_fee(field: str, position: int) -> Forge:
    """The pool is credited with more fees than were paid."""

    def run(f: Forgery) -> None:
        f.add(field, SETTLE, 1, position)
        f.move(SETTLE)

    return run


def late_advance(position: int) -> Forge:
    """The slot moves inside a block."""
    weight = SPAN_WEIGHT if position else 1

    def run(f: Forgery) -> None:
        f.put("slot_advance", CREDIT, 1, position)
        f.add_from("slot", CREDIT, weight)
        f.add("amount", SETTLE, weight)
        f.add("word", SETTLE, weight, 1)

    return run


def idle_advance(position: int) -> Forge:
    """The slot moves where nothing happens."""

    def run(f: Forgery) -> None:
        f.put("slot_advance", PAD + 4, 1, position)
        f.add_from("slot", PAD + 4, SPAN_WEIGHT if position else 1)

    return run


def instead_of_credit(name: str, value: int) -> Forge:
    """A step of the transit cell that does nothing, or undoes nothing, beside a credit that makes up for it."""

    def run(f: Forgery) -> None:
        f.put(name, KEY_ROW, value)
        f.put("transfer_credit", KEY_ROW, -value)
        f.put("cell", KEY_ROW, ReservedCell.TRANSIT)
        f.put("above_first", KEY_ROW, ReservedCell.TRANSIT - FIRST_ACCOUNT)
        f.put("below_last", KEY_ROW, f.get("keys", KEY_ROW) - 1 - ReservedCell.TRANSIT)

    return run


def reroute(peer: int) -> Forge:
    """What came from shard 0 and goes back is said to come from another and to go back there."""

    def run(f: Forgery) -> None:
        arrival = RETURN + 2
        for row, element in ((arrival, 5), (arrival + 1, 6)):
            f.put("cell", row, peer)
            f.put("word", row, peer, element)
            f.put("carry", row, pow(peer - 1, -1, P) if peer != 1 else 0)
            f.put_word("below_last", row, (max(0, 2 - peer), 0))
        f.relink()

    return run


def _sent_to_reserved(f: Forgery) -> None:
    f.put("word", SEND, 3, 1)
    f.put("word", SEND + 1, 3, 1)
    f.put_word("above_first", SEND + 1, (0, 0))
    f.relink()


def _returned_though_known(f: Forgery) -> None:
    f.put("word", RETURN, 17, 1)
    f.put("word", RETURN + 1, 17, 0)
    f.put_word("above_first", RETURN + 1, (0, 0))
    f.relink()


def sent_otherwise(position: int) -> Forge:
    """The word on the link is not that of the transaction."""

    def run(f: Forgery) -> None:
        f.add("word", SEND + 1, 1, position)
        if position == 1:
            f.add("above_first", SEND + 1, 1)
        f.relink()

    return run


def _returned_elsewhere(f: Forgery) -> None:
    row = RETURN + 3
    f.put("cell", row, 2)
    f.put("word", row, 2, 6)
    f.put("carry", row, 1)
    f.put_word("below_last", row, (0, 0))
    f.relink()


STEP_FORGERIES: dict[str, Forge] = {
    "step.send_transit.boolean": instead_of_credit("send_transit", -1),
    "step.receive_transit.boolean": instead_of_credit("receive_transit", -1),
    "step.send_debit.next": lost_credit(SEND + 1),
    "step.send_link.next": lost_credit(SEND + 2),
    "step.receive_link.next": lost_credit(RECEIVE + 1),
    "step.receive_credit.next": lost_credit(RECEIVE + 2),
    "step.send_transit.next": key_after(SEND + 3),
    "step.receive_transit.next": key_after(RECEIVE + 3),
    "step.return_link.next": key_after(RETURN + 2),
    "step.transit.cell": lambda f: f.retouch(RECEIVE + 2, 20),
    "step.link.shard": reroute(77),
    "step.link.other": reroute(1),
    "step.send.recipient": _sent_to_reserved,
    "step.send.destination": lambda f: f.add("word", SEND, 2 * PEER_WEIGHT, 7),
    "step.return.unknown": _returned_though_known,
    "step.return.cell": _returned_elsewhere,
    "step.transfer_credit.boolean": both(
        edit("transfer_credit", KEY_ROW, -1), edit("issue_credit", KEY_ROW)
    ),
    "step.issue_credit.boolean": both(
        edit("transfer_credit", KEY_ROW), edit("issue_credit", KEY_ROW, -1)
    ),
    "step.register_key.boolean": _key_undone,
    "step.transfer_debit.boolean": cancelling(transfer_debit=-1, send_debit=1, number=1),
    "step.issue_debit.boolean": cancelling(issue_debit=-1, send_debit=1, number=3),
    "step.send_debit.boolean": cancelling(send_debit=-1, transfer_debit=1, number=1),
    "step.register_debit.boolean": cancelling(register_debit=-2, transfer_debit=1, issue_debit=1),
    "step.receive_credit.boolean": cancelling(receive_credit=-1, transfer_credit=1),
    "step.send_link.boolean": links_that_cancel("send_link", "return_link"),
    "step.return_link.boolean": links_that_cancel("return_link", "send_link"),
    "step.padding.boolean": _two_steps_and_less_padding,
    "step.one": _two_steps,
    "step.transfer_debit.next": lost_credit(CREDIT),
    "step.issue_debit.next": lost_credit(ISSUE_TO_NEW + 1),
    "step.register_debit.next": lambda f: f.truncate(KEY_ROW),
    "step.transfer_credit.next": key_after(SETTLE),
    "step.register_key.next": key_after(KEY_ROW + 1),
    "step.issue_credit.next": key_after(ISSUE_TO_NEW + 2),
    "step.settle.next": key_after(PAD),
    "step.padding.next": key_after(PAD + 1),
    "step.first.head": key_after(0),
    "step.order": edit("elapsed", DEBIT),
    "step.reserve.cell": _issue_from_account,
    "step.pool.cell": lambda f: f.retouch(SETTLE, 20),
    "step.recipient.cell": credit_to(17, 16),
    "step.account.above": credit_to(3, 3),
    "step.sponsor.above": _sponsor,
    "step.account.below": credit_to(1000, 1000),
    "step.nonce": edit("new", CREDIT, 1, 4),
    "step.place": edit("place", SETTLE),
    "step.settle.slot": edit("amount", SETTLE),
    "step.settle.count": edit("amount", SETTLE, 1, 2),
    "step.settle.fee[0]": settled_fee("fee", 0),
    "step.settle.fee[1]": settled_fee("fee", 1),
    "step.settle.fee[2]": settled_fee("amount", 3),
}
STEP_FORGERIES |= {f"step.balance[{j}]": edit("new", CREDIT, 1, j) for j in range(4)}
STEP_FORGERIES |= {f"step.link.word[{j}]": sent_otherwise(j) for j in range(5)}
STEP_FORGERIES |= {f"step.rest[{j}]": edit("new", CREDIT, 1, j) for j in range(5, 8)}
STEP_FORGERIES |= {
    f"step.flow[{j}]": both(edit("amount", CREDIT, 1, j), edit("new", CREDIT, 1, j))
    for j in range(AMOUNT_LIMBS)
}
STEP_FORGERIES |= {f"step.fee_carry[{j}]": carry_of_nothing(j) for j in range(2)}
STEP_FORGERIES |= {f"step.word[{j}]": edit("word", SETTLE, 1, j) for j in range(8)}
STEP_FORGERIES |= {
    f"step.register.amount[{j}]": both(
        edit("amount", SPONSORED, 1, 2 * j), edit("word", SPONSORED, 1, 2 + j)
    )
    for j in range(2)
}
STEP_FORGERIES |= {f"step.{name}.next": jump(name) for name in COUNTER_NAMES if name != "fee_sum"}
STEP_FORGERIES |= {f"step.fee_sum[{j}]": jump("fee_sum", j) for j in range(3)}
STEP_FORGERIES |= {f"step.slot_advance.open[{j}]": late_advance(j) for j in range(2)}
STEP_FORGERIES |= {f"step.slot_advance.padding[{j}]": idle_advance(j) for j in range(2)}

_ENUMERATED = (
    "every row where it is another number breaks step.next, step.one, step.word[7] or step.nonce, or takes from "
    "the memory bus what nobody sends"
)
IMPLIED = {
    "step.settle.boolean": f"{_ENUMERATED}, or from the tree bus a leaf of an array without a root, or needs a "
    "key word that is a given block's word, or would have one cell be two",
    "step.receive_link.boolean": f"{_ENUMERATED}, or would have one distance be two",
}
"""Claims that the others imply, so that no trace breaks them alone; `ledger_implied` enumerates the rows."""


def _swallowed_leaf(f: Forgery, side: int) -> None:
    """A row that is no node takes a leaf off the bus."""
    last = f.height - 1
    f.remember(5, side, [0] * 8)
    f.put_node(f"takes_{('left', 'right')[side]}", last, 1)
    f.put_node("tree", last, 5)


def _counted_twice(f: Forgery, side: int) -> None:
    """A node takes an untouched child twice, which two rows send."""
    name, other = ("left", "right")[side], ("left", "right")[1 - side]
    taken = {f"takes_{name}": 0, f"takes_{other}": 1}
    row = f.find_nodes(tree=int(Array.KEY), **taken)[-1]
    level, child = f.node("level", row), 2 * f.node("index", row) + side
    for place in (f.height - 1, f.height - 2):
        f.put_untouched(place, Array.KEY, level - 1, child)
    f.put_node(f"takes_{name}", row, 2)


def _node_undone(f: Forgery) -> None:
    for place, flag in ((f.height - 1, 1), (f.height - 2, -1)):
        f.put_node("tree", place, 5)
        f.put_node("is_node", place, flag)


def _cell_undone(f: Forgery) -> None:
    f.remember(5, 0, [0] * 8)
    f.remember(5, 0, [0] * 8, touched=-1)


def secret_change(side: int, position: int) -> Forge:
    """A subtree that no step touches changes."""

    def run(f: Forgery) -> None:
        wanted = {f"takes_{('left', 'right')[side]}": 0}
        f.change_node(f.find_nodes(tree=int(Array.KEY), **wanted)[-1], "new", 8 * side + position)

    return run


def stated(offset: int) -> Forge:
    """A public input says something else."""
    return lambda f: f.publics.__setitem__(offset, (f.publics[offset] + 1) % P)


COUNTERS = [(name, j) for name in COUNTER_NAMES for j in range(3 if name == "fee_sum" else 1)]
FINISHED_FORGERIES: dict[str, Forge] = {
    "memory.touched.boolean": _cell_undone,
    "node0.is_node.boolean": _node_undone,
    "node0.takes_left.boolean": lambda f: _counted_twice(f, 0),
    "node0.takes_right.boolean": lambda f: _counted_twice(f, 1),
    "node0.takes_left.node": lambda f: _swallowed_leaf(f, 0),
    "node0.takes_right.node": lambda f: _swallowed_leaf(f, 1),
}
FINISHED_FORGERIES |= {
    f"node0.{side}.unchanged[{j}]": secret_change(bit, j)
    for bit, side in enumerate(("left", "right"))
    for j in range(8)
}
for _place, (_name, _j) in enumerate(COUNTERS):
    FINISHED_FORGERIES[f"step.first.{_name}[{_j}]"] = stated(BEFORE_OFFSET + _place)
    FINISHED_FORGERIES[f"step.last.{_name}[{_j}]"] = stated(AFTER_OFFSET + _place)


def forged_compressions() -> FieldArray:
    """Returns one compression per stored column, wrong in that column alone: (156, 140)."""
    size = COMPRESSION_COLUMNS - PERMUTATION_WIDTH
    given = [Residues(np.full(size, j, dtype=np.uint64)) for j in range(PERMUTATION_WIDTH)]
    columns = list(given)

    def store(column: Residues) -> Residues:
        wrong = np.arange(size) == len(columns) - PERMUTATION_WIDTH
        columns.append(column + Residues(wrong.astype(np.uint64)))
        return columns[-1]

    state = external_layer(given)
    for index, constants in enumerate(EXTERNAL_CONSTANTS):
        if index == len(EXTERNAL_CONSTANTS) // 2:
            for constant in INTERNAL_CONSTANTS:
                state = internal_layer([store(cube(state[0] + constant)), *state[1:]])
        cubes = [cube(value + constant) for value, constant in zip(state, constants, strict=True)]
        if index < len(EXTERNAL_CONSTANTS) - 1:
            cubes = [store(value) for value in cubes]
        state = external_layer(cubes)
    for j in range(8):
        store(state[j] + given[j])
    return np.stack([column.residues for column in columns]).astype(np.uint32)
