"""Attacks on the circuit: a false trace of random honest traffic, by aim.

Each attack breaks one rule at a random place with random numbers and makes everything else fit, as far as it
knows how. None of them can be accepted: whatever its numbers are, the trace says something false.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from pipelines.adversary.honest_traffic import ACCOUNTS
from pipelines.adversary.ledger_forgery import Forgery
from pipelines.adversary.ledger_traffic import PARAMETERS
from proving.arithmetic.modulus import P
from proving.ledger.words import PEER_WEIGHT
from schemas.statement import AFTER_OFFSET, BEFORE_OFFSET, NUM_COUNTERS, TOUCHED_ARRAYS
from schemas.steps import STEPS
from schemas.units import FIRST_ACCOUNT, LIMB_LIMIT, Array

DEBITS = ("transfer_debit", "issue_debit", "register_debit", "send_debit")

WRAPPING_CARRY = 65024
"""2^15 times this is -1 mod P."""

Attack = Callable[[Forgery, random.Random], None]


def rows_of(f: Forgery, *names: str) -> list[int]:
    """Returns the rows of some steps."""
    return [row for row in f.active_rows() if any(f.get(name, row) for name in names)]


def _touching(f: Forgery, rng: random.Random) -> int:
    return rng.choice([row for row in f.active_rows() if f.moves(row)])


def _limb(rng: random.Random) -> int:
    return rng.choice((1, rng.randrange(1, LIMB_LIMIT), LIMB_LIMIT, rng.randrange(1, P)))


def _padding_row(f: Forgery, rng: random.Random) -> int:
    return rng.randrange(f.active_rows()[-1] + 1, f.height)


def balance_from_nowhere(f: Forgery, rng: random.Random) -> None:
    """A balance is what no step made it."""
    row = _touching(f, rng)
    f.add("new", row, _limb(rng), rng.randrange(4))
    f.follow(row)


def carry_that_wraps(f: Forgery, rng: random.Random) -> None:
    """A carry whose product with 2^15 is small mod P."""
    row, position = _touching(f, rng), rng.randrange(2)
    takes = f.weigh(row, lambda step: int(step.takes))
    sign = -1 if takes else 1
    times = rng.randrange(1, 8)
    f.add("carry", row, sign * WRAPPING_CARRY * times, position)
    f.add("new", row, times, position)
    f.add("new", row, WRAPPING_CARRY * times, position + 1)
    f.follow(row)


def packed_limb(f: Forgery, rng: random.Random) -> None:
    """A limb holds what belongs to the next one."""
    row, position, times = _touching(f, rng), rng.randrange(3), rng.randrange(1, 2**14)
    takes = f.weigh(row, lambda step: int(step.takes))
    f.add("new", row, LIMB_LIMIT * times, position)
    f.add("carry", row, times if takes else -times, position)
    f.add("new", row, -times, position + 1)
    f.follow(row)


def credit_of_more(f: Forgery, rng: random.Random) -> None:
    """The recipient gets another amount than the sender gave."""
    row = rng.choice(rows_of(f, "transfer_credit", "issue_credit", "receive_credit"))
    f.add("amount", row, rng.randrange(1, LIMB_LIMIT), rng.randrange(4))
    f.move(row)
    f.follow(row)


def cell_without_a_step(f: Forgery, rng: random.Random) -> None:
    """An account that no step touches changes."""
    limbs = [rng.randrange(LIMB_LIMIT) for _ in range(4)]
    f.given[rng.randrange(2**12, 2**30)] = ((0,) * 8, (*limbs, 1, 0, 0, 0))


def credit_on_padding(f: Forgery, rng: random.Random) -> None:
    """A credit after the last block, of a debit that never was."""
    row = _padding_row(f, rng)
    f.put("padding", row, rng.choice((0, 0, 1)))
    f.put(rng.choice(("transfer_credit", "issue_credit")), row, 1)
    f.put_word("amount", row, [rng.randrange(LIMB_LIMIT // 2) for _ in range(4)])
    f.retouch(row, FIRST_ACCOUNT + rng.randrange(ACCOUNTS))


def padding_with_multiplicity(f: Forgery, rng: random.Random) -> None:
    """Selectors of padding that cancel, or do not."""
    row = _padding_row(f, rng)
    first, second = rng.sample([step.name for step in STEPS], 2)
    times = rng.randrange(1, P)
    f.put(first, row, times)
    f.put(second, row, rng.choice((-times, times, 0)))


def fees_from_nowhere(f: Forgery, rng: random.Random) -> None:
    """The pool is paid more than the block's fees."""
    row = rng.choice(rows_of(f, "settle"))
    field, position = rng.choice((("fee", 0), ("fee", 1), ("amount", 3)))
    f.add(field, row, rng.randrange(1, LIMB_LIMIT), position)
    f.move(row)
    f.follow(row)


def fee_that_overflows(f: Forgery, rng: random.Random) -> None:
    """The fee sum carries what was not paid."""
    row, position = rng.choice(f.active_rows()[:-1]), rng.randrange(2)
    times = rng.randrange(1, P)
    f.add("fee_carry", row, times, position)
    f.add_from("fee_sum", row + 1, -LIMB_LIMIT * times, position)
    f.add_from("fee_sum", row + 1, times, position + 1)


def negative_amount(f: Forgery, rng: random.Random) -> None:
    """A payment whose amount is below zero takes from the recipient."""
    debit = rng.choice(rows_of(f, "transfer_debit"))
    position = rng.randrange(4)
    amount = [0, 0, 0, 0]
    amount[position] = -rng.randrange(1, 2**20)
    for row in (debit, debit + 1):
        f.put_word("amount", row, amount)
    for half in range(2):
        f.put("word", debit, amount[2 * half] + LIMB_LIMIT * amount[2 * half + 1], 2 + half)
    f.replay()


def overdraft(f: Forgery, rng: random.Random) -> None:
    """A payment of more than there is."""
    debit = rng.choice(rows_of(f, "transfer_debit"))
    top = f.get("old", debit, 3) + 1 + rng.randrange(2**14)
    amount = (0, 0, 0, top)
    for row in (debit, debit + 1):
        f.put_word("amount", row, amount)
    f.put("word", debit, 0, 2)
    f.put("word", debit, LIMB_LIMIT * top, 3)
    f.replay()


def richer_root(f: Forgery, rng: random.Random) -> None:
    """The statement ends at another root than the trace; after `finish`."""
    array = rng.choice(TOUCHED_ARRAYS)
    _state_other(f, rng, AFTER_OFFSET + NUM_COUNTERS + 8 * (array - 1) + rng.randrange(8))


def other_start(f: Forgery, rng: random.Random) -> None:
    """The statement starts where the trace does not; after `finish`."""
    roots = [
        BEFORE_OFFSET + NUM_COUNTERS + 8 * (array - 1) + j
        for array in TOUCHED_ARRAYS
        for j in range(8)
    ]
    _state_other(f, rng, rng.choice([*range(BEFORE_OFFSET, BEFORE_OFFSET + NUM_COUNTERS), *roots]))


def _state_other(f: Forgery, rng: random.Random, place: int) -> None:
    f.publics[place] = (f.publics[place] + rng.randrange(1, P)) % P


def counted_cell(f: Forgery, rng: random.Random) -> None:
    """A cell that is there twice, minus once, or many times; after `finish`."""
    index = rng.choice((0, 1, FIRST_ACCOUNT, FIRST_ACCOUNT + 1))
    limbs = [rng.randrange(LIMB_LIMIT) for _ in range(4)]
    touched = rng.choice((1, 2, -1, rng.randrange(1, P)))
    f.remember(int(Array.ACC), index, [*limbs, 0, 0, 0, 0], touched=touched)


def aliased_index(f: Forgery, rng: random.Random) -> None:
    """A node calls itself by an index whose double wraps around P to that of another place; after `finish`."""
    row = rng.choice(f.find_nodes())
    index = f.node("index", row)
    half = pow(2, -1, P)
    aliases = (index + half, index - half, index * half % P, index + 2**30)
    f.put_node("index", row, rng.choice([alias for alias in aliases if alias != index]))


def subtree_that_changes(f: Forgery, rng: random.Random) -> None:
    """A subtree that no step touches is another afterwards; after `finish`."""
    side = rng.randrange(2)
    taken = f"takes_{('left', 'right')[side]}"
    row = rng.choice(f.find_nodes(**{taken: 0}))
    f.change_node(row, "new", 8 * side + rng.randrange(8))


def linked_otherwise(f: Forgery, rng: random.Random) -> None:
    """Another word goes out to a shard than its transaction says."""
    row = rng.choice(rows_of(f, "send_link", "return_link"))
    f.add("word", row, rng.randrange(1, P), rng.randrange(8))
    f.relink()


def arrived_otherwise(f: Forgery, rng: random.Random) -> None:
    """What came from a shard names another amount, recipient or pair of shards than what happens."""
    row = rng.choice(rows_of(f, "receive_link"))
    f.add("word", row, rng.randrange(1, P), rng.choice((1, 2, 3, 5, 6, 7)))
    f.relink()


def no_shard(f: Forgery, rng: random.Random) -> None:
    """Value goes to, or comes from, a shard that the chain does not have."""
    row = rng.choice(rows_of(f, "send_link", "receive_link"))
    peer = rng.choice((PARAMETERS.shard, PARAMETERS.shards, rng.randrange(PARAMETERS.shards, P)))
    f.put("cell", row, peer)
    f.put("word", row, peer, 6 if f.get("send_link", row) else 5)
    if f.get("send_link", row):
        f.put("word", row - 1, 10 + PEER_WEIGHT * peer, 7)
    if peer != PARAMETERS.shard:
        f.put("carry", row, pow(peer - PARAMETERS.shard, -1, P))
    f.relink()


def credit_of_another(f: Forgery, rng: random.Random) -> None:
    """The amount goes to an account that the transaction does not name."""
    row = rng.choice(rows_of(f, "transfer_credit", "issue_credit", "receive_credit"))
    named = f.get("word", row - 1, 1)
    others = [c for c in range(FIRST_ACCOUNT, f.get("keys", row)) if c != named]
    f.retouch(row, rng.choice([*others, rng.randrange(2**20)]))


def debit_of_another(f: Forgery, rng: random.Random) -> None:
    """An account pays that did not sign."""
    row = rng.choice(rows_of(f, "transfer_debit", "send_debit"))
    signer = f.get("cell", row)
    others = [c for c in range(f.get("keys", row)) if c != signer]
    f.retouch(row, rng.choice(others))


def pool_of_another(f: Forgery, rng: random.Random) -> None:
    """The fees go to an account."""
    row = rng.choice(rows_of(f, "settle"))
    f.retouch(row, rng.randrange(2, FIRST_ACCOUNT + ACCOUNTS))


def debit_of_less(f: Forgery, rng: random.Random) -> None:
    """The sender pays another amount than the transaction says."""
    row = rng.choice(rows_of(f, "transfer_debit", "issue_debit", "send_debit"))
    f.add("amount", row, -rng.randrange(1, LIMB_LIMIT), rng.randrange(4))
    f.move(row)
    f.follow(row)


def kept_nonce(f: Forgery, rng: random.Random) -> None:
    """The sender's nonce does not move by one, so that the transaction can come again."""
    row = rng.choice(rows_of(f, *DEBITS))
    f.add("new", row, rng.choice((-1, -2, 1, rng.randrange(1, P))), 4)
    f.follow(row)


def nonce_of_another(f: Forgery, rng: random.Random) -> None:
    """A transaction is executed at another nonce than it names."""
    row = rng.choice(rows_of(f, *DEBITS))
    f.add("word", row, rng.choice((-1, 1, rng.randrange(1, P))), 4)


def stale_read(f: Forgery, rng: random.Random) -> None:
    """A cell is read as it was before its last write."""
    touching = [row for row in f.active_rows() if f.moves(row)]
    again = [row for row in touching if f.get("previous_time", row)]
    row = rng.choice(again)
    cell = f.get("cell", row)
    written = [r for r in touching if r < row - 1 and f.get("cell", r) == cell][:-1]
    time = rng.choice([0, *(r + 1 for r in written)])
    old = f.word("old", next(r for r in touching if f.get("cell", r) == cell))
    f.put_word("old", row, f.word("new", time - 1) if time else old)
    f.put("previous_time", row, time)
    elapsed = row - time
    f.put_word("elapsed", row, (elapsed % LIMB_LIMIT, elapsed // LIMB_LIMIT))
    f.move(row)
    f.follow(row)


def read_of_the_future(f: Forgery, rng: random.Random) -> None:
    """A cell is read as it will be; the time between is below zero."""
    row = _touching(f, rng)
    time = row + 1 + rng.randrange(f.height)
    f.put("previous_time", row, time)
    elapsed = (row - time) % P
    f.put_word("elapsed", row, (elapsed % LIMB_LIMIT, elapsed // LIMB_LIMIT))


def lost_write(f: Forgery, rng: random.Random) -> None:
    """A cell keeps its word although a step wrote another."""
    touching = [row for row in f.active_rows() if f.touches(row)]
    cells = {f.place(row): row for row in touching}
    f.lost_writes.add(rng.choice([*cells.values()]))


def lost_append(f: Forgery, rng: random.Random) -> None:
    """A transaction is executed and not listed."""
    rows = rows_of(f, *(step.name for step in STEPS if step.append is not None))
    f.lost_appends.add(rng.choice(rows))


def place_taken_twice(f: Forgery, rng: random.Random) -> None:
    """A transaction is listed where another stands."""
    row = rng.choice(rows_of(f, *(step.name for step in STEPS if step.head))[1:])
    f.put("place", row, rng.choice((0, f.get("place", row) - 1, f.get("place", row) + 2**30)))


def wrong_counter(f: Forgery, rng: random.Random) -> None:
    """A counter moves by itself."""
    name = rng.choice(("height", "sequence", "keys", "block_transactions", "slot"))
    f.add_from(name, rng.randrange(1, f.height), rng.choice((1, -1, 2**30, rng.randrange(1, P))))


def segment_cut_inside(f: Forgery, rng: random.Random) -> None:
    """The segment ends after a debit, before its credit or its key."""
    row = rng.choice(rows_of(f, *DEBITS))
    cell, amount = f.get("cell", row + 1), f.word("amount", row + 1)
    f.truncate(row + 1)
    f.put("cell", row + 1, cell)
    f.put_word("amount", row + 1, amount)


def head_without_its_end(f: Forgery, rng: random.Random) -> None:
    """A debit is dropped and its credit is not."""
    row = rng.choice(rows_of(f, "transfer_debit"))
    for step in STEPS:
        f.put(step.name, row, 0)
    f.put("padding", row, 1)


LANE_ATTACKS: Mapping[str, tuple[Attack, ...]] = {
    "inflate": (
        balance_from_nowhere,
        carry_that_wraps,
        packed_limb,
        credit_of_more,
        cell_without_a_step,
        credit_on_padding,
        padding_with_multiplicity,
        fees_from_nowhere,
        fee_that_overflows,
        debit_of_less,
        linked_otherwise,
        arrived_otherwise,
        no_shard,
    ),
    "theft": (
        credit_of_another,
        debit_of_another,
        pool_of_another,
        negative_amount,
        overdraft,
        carry_that_wraps,
        stale_read,
        debit_of_less,
        credit_of_more,
        linked_otherwise,
        arrived_otherwise,
    ),
    "double-spend": (
        kept_nonce,
        nonce_of_another,
        stale_read,
        read_of_the_future,
        lost_write,
        lost_append,
        place_taken_twice,
        wrong_counter,
        segment_cut_inside,
        head_without_its_end,
    ),
}
"""Attacks on the transaction lane, before `Forgery.finish` makes the rest fit."""

FINISHED_ATTACKS: Mapping[str, tuple[Attack, ...]] = {
    "inflate": (richer_root, counted_cell, aliased_index),
    "theft": (subtree_that_changes, aliased_index),
    "double-spend": (other_start, counted_cell, aliased_index),
}
"""Attacks on the other lanes and on the statement, after it."""
