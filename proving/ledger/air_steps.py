"""The transaction lane: one row per step of a transaction, driven by the step table.

Balances move limb by limb with range-checked carries: in halves of 30 bits x + v - 2^30 c = y has a second
solution mod P. Source: proving/ledger/README.md "State machine", "Order", "Cells", "Money", "Fees", "Words",
"Counters" and "Boundaries".
"""

from __future__ import annotations

from proving.arithmetic.modulus import WORD
from proving.arithmetic.program import Symbol
from proving.ledger.air_links import constrain_links, is_link, link_claim
from proving.ledger.buses import HASH, MEMORY, RANGE, TREE
from proving.ledger.layout import COUNTER_NAMES, SPAN_WEIGHT, Lane
from proving.ledger.step_row import StepRow
from proving.stark.air import Row
from schemas.statement import AFTER_OFFSET, BEFORE_OFFSET
from schemas.steps import (
    ISSUE_DEBIT,
    RECEIVE_CREDIT,
    RECEIVE_LINK,
    REGISTER_DEBIT,
    REGISTER_KEY,
    SEND_DEBIT,
    SETTLE,
    STEPS,
    TRANSFER_DEBIT,
    Cell,
    Existence,
    Step,
    successors_of,
)
from schemas.units import (
    AMOUNT_LIMBS,
    FEE_UNIT,
    FIRST_ACCOUNT,
    LIMB_LIMIT,
    ReservedCell,
)

NONCE_ELEMENT = AMOUNT_LIMBS
"""Place of the nonce in an account cell, after the balance limbs."""

MONEY_FIELDS = ("amount", "carry", "fee", "time_left")
"""Fields whose elements are limbs on every row that touches an account, beside the new balance."""

RANGED_FIELDS = ("elapsed", "slot_advance", "above_first", "below_last")
"""Fields whose elements are limbs on every row that touches a cell."""


def constrain_steps(row: Row, lane: Lane, clock: Symbol) -> None:
    """Records the transaction lane.

    Args:
        row: Where the claims go; its publics follow `schemas.statement`.
        lane: The lane's columns.
        clock: The preprocessed row number, from 1.
    """
    step = StepRow(row, lane)
    touches = step.weigh(lambda s: s.array is not None)
    moves = step.weigh(lambda s: s.moves)
    _state_machine(row, step)
    _order(row, step, touches, clock)
    _cells(row, step)
    _money(row, step, moves)
    _fees(row, step)
    _words(row, step)
    constrain_links(row, step)
    _counters(row, step)
    _boundaries(row, step)
    _messages(row, step, touches, clock)
    _ranges(row, step, touches, moves)


def _state_machine(row: Row, step: StepRow) -> None:
    names = [s.name for s in STEPS] + ["padding"]
    for name in names:
        selector = step.cell(name)
        row.zero(f"step.{name}.boolean", selector * (selector - 1))
    row.zero("step.one", step.weigh(lambda _: 1) + step.cell("padding") - 1)
    for s in STEPS:
        allowed = step.following("padding") if s.tail else step.following("padding") * 0
        for successor in successors_of(s):
            allowed = allowed + step.following(successor.name)
        row.zero_on_transition(f"step.{s.name}.next", step.cell(s.name) * (1 - allowed))
    row.zero_on_transition(
        "step.padding.next", step.cell("padding") * (1 - step.following("padding"))
    )
    row.zero_on_first("step.first.head", 1 - step.weigh(lambda s: s.head))
    row.zero_on_last("step.last.padding", 1 - step.cell("padding"))


def _order(row: Row, step: StepRow, touches: Symbol, clock: Symbol) -> None:
    # Both limbs are in range, so previous_time < clock as integers: it must match a send in the past.
    elapsed = clock - step.cell("previous_time") - 1 - step.pair("elapsed")
    row.zero("step.order", touches * elapsed)


def _cells(row: Row, step: StepRow) -> None:
    cell, keys = step.cell("cell"), step.cell("keys")
    row.zero("step.reserve.cell", step.cell(ISSUE_DEBIT.name) * (cell - ReservedCell.RESERVE))
    row.zero("step.pool.cell", step.cell(SETTLE.name) * (cell - ReservedCell.PROPOSER_POOL))
    row.zero("step.transit.cell", step.weigh(_is_transit) * (cell - ReservedCell.TRANSIT))
    recipient = step.following("cell") - step.cell("word", 1)
    credits_next = step.cell(TRANSFER_DEBIT.name) + step.cell(ISSUE_DEBIT.name)
    credits_next = credits_next + step.following(RECEIVE_CREDIT.name)
    row.zero_on_transition("step.recipient.cell", credits_next * recipient)
    above = cell - FIRST_ACCOUNT - step.pair("above_first")
    below = keys - 1 - cell - step.span("below_last")
    is_account = step.weigh(lambda s: s.existence is Existence.ACCOUNT)
    may_be_reserve = step.weigh(lambda s: s.existence is Existence.ACCOUNT_OR_RESERVE)
    row.zero("step.account.above", is_account * above)
    row.zero("step.sponsor.above", may_be_reserve * (cell - ReservedCell.RESERVE) * above)
    row.zero("step.account.below", (is_account + may_be_reserve) * below)


def _is_transit(step: Step) -> bool:
    return step.cell is Cell.TRANSIT


def _money(row: Row, step: StepRow, moves: Symbol) -> None:
    old, new, amount = step.fields("old"), step.fields("new"), step.fields("amount")
    amount_sign = step.weigh(lambda s: s.amount_sign)
    fee_sign = step.weigh(lambda s: s.fee_sign)
    carry_sign = step.weigh(lambda s: 0 if not s.moves else -1 if s.takes else 1)
    carries = [*step.fields("carry"), step.cell("padding") * 0]
    for j in range(AMOUNT_LIMBS):
        # |terms| < 2^30 + 2^26: the integers agree, not only the residues.
        moved = amount_sign * amount[j]
        if j < 2:
            moved = moved + FEE_UNIT * fee_sign * step.cell("fee", j)
        if j == 2:
            moved = moved + FEE_UNIT * step.cell(SETTLE.name) * amount[3]
        carry = LIMB_LIMIT * carries[j] - (carries[j - 1] if j else 0)
        row.zero(f"step.balance[{j}]", moves * (new[j] - old[j]) - moved + carry_sign * carry)
    pays = step.weigh(lambda s: s.pays)
    nonce = moves * (new[NONCE_ELEMENT] - old[NONCE_ELEMENT]) - pays
    row.zero("step.nonce", nonce)
    for j in range(NONCE_ELEMENT + 1, WORD):
        row.zero(f"step.rest[{j}]", moves * (new[j] - old[j]))
    flows = step.weigh(lambda s: not s.tail and s is not REGISTER_DEBIT)
    for j in range(AMOUNT_LIMBS):
        same = step.following("amount", j) - amount[j]
        row.zero_on_transition(f"step.flow[{j}]", flows * same)


def _fees(row: Row, step: StepRow) -> None:
    pays, settles = step.weigh(lambda s: s.pays), step.cell(SETTLE.name)
    carries = [step.cell("fee_carry", j) for j in range(2)]
    for j, carry in enumerate(carries):
        row.zero(f"step.fee_carry[{j}]", carry * (carry - pays))
    for j in range(3):
        total = step.cell("fee_sum", j)
        expected = total - settles * total
        if j < 2:
            expected = expected + pays * step.cell("fee", j) - LIMB_LIMIT * carries[j]
        if j > 0:
            expected = expected + carries[j - 1]
        row.zero_on_transition(f"step.fee_sum[{j}]", step.following("fee_sum", j) - expected)
    for j, place in enumerate((("fee", 0), ("fee", 1), ("amount", 3))):
        row.zero(f"step.settle.fee[{j}]", settles * (step.cell(*place) - step.cell("fee_sum", j)))
    row.zero("step.settle.slot", settles * (step.cell("slot") - step.pair("amount")))
    count = step.cell("block_transactions")
    row.zero("step.settle.count", settles * (step.cell("amount", 2) - count))


def _words(row: Row, step: StepRow) -> None:
    pays, settles = step.weigh(lambda s: s.pays), step.cell(SETTLE.name)
    users = pays + step.cell(RECEIVE_LINK.name)
    word = step.fields("word")
    fee_sum = step.fields("fee_sum")
    registers = step.cell(REGISTER_DEBIT.name)
    expected: tuple[tuple[Symbol, Symbol, Symbol | int], ...] = (
        (pays, step.cell("cell"), step.cell("height") + 1),
        (registers, step.cell("keys"), step.cell("slot")),
        (users, step.pair("amount"), step.cell("block_transactions")),
        (users, step.pair("amount", 2), fee_sum[0] + LIMB_LIMIT * fee_sum[1]),
        (pays, step.cell("old", NONCE_ELEMENT), fee_sum[2]),
        (pays, step.pair("fee"), 0),
        (pays, step.cell("slot") + step.cell("time_left"), 0),
    )
    for j, (writers, user, block) in enumerate(expected):
        claim = settles * (word[j] - block) + writers * (word[j] - user)
        row.zero(f"step.word[{j}]", claim + link_claim(row, step, j))
    named = step.weigh(lambda s: s.head and s is not SEND_DEBIT)
    kinds = step.weigh(lambda s: int(s.kind) if s.head and s is not SEND_DEBIT else 0)
    row.zero("step.word[7]", named * word[7] - kinds + link_claim(row, step, 7))
    for j in range(2):
        row.zero(f"step.register.amount[{j}]", registers * step.pair("amount", 2 * j))


def _counters(row: Row, step: StepRow) -> None:
    heads, settles = step.weigh(lambda s: s.head), step.cell(SETTLE.name)
    registers = step.cell(REGISTER_KEY.name)
    count = step.cell("block_transactions")
    steps_up = (
        ("height", step.cell("height") + settles),
        ("sequence", step.cell("sequence") + heads),
        ("keys", step.cell("keys") + registers),
        ("block_transactions", count - settles * count + heads - settles),
        (
            "slot",
            step.cell("slot")
            + step.following("slot_advance")
            + SPAN_WEIGHT * step.following("slot_advance", 1),
        ),
    )
    for name, expected in steps_up:
        row.zero_on_transition(f"step.{name}.next", step.following(name) - expected)
    for j in range(2):
        # A slot may only move when a block opens: no transaction is in it yet.
        advance = step.cell("slot_advance", j)
        row.zero(f"step.slot_advance.open[{j}]", advance * count)
        row.zero(f"step.slot_advance.padding[{j}]", advance * step.cell("padding"))
    place = heads * step.cell("sequence") + registers * step.cell("keys")
    row.zero("step.place", step.cell("place") - place)


def _boundaries(row: Row, step: StepRow) -> None:
    counters = [(name, j) for name in COUNTER_NAMES for j in range(3 if name == "fee_sum" else 1)]
    for position, (name, j) in enumerate(counters):
        value = step.cell(name, j)
        before = row.publics[BEFORE_OFFSET + position]
        if name == "slot":
            before = before + step.span("slot_advance")
        row.zero_on_first(f"step.first.{name}[{j}]", value - before)
        after = row.publics[AFTER_OFFSET + position]
        row.zero_on_last(f"step.last.{name}[{j}]", value - after)


def _messages(row: Row, step: StepRow, touches: Symbol, clock: Symbol) -> None:
    cell = step.cell("cell")
    old, new, word = step.fields("old"), step.fields("new"), step.fields("word")
    kept = step.weigh(lambda s: int(s.array or 0))
    row.receive("step.read", MEMORY, touches, [kept, cell, step.cell("previous_time"), *old])
    row.send("step.write", MEMORY, touches, [kept, cell, clock, *new])
    appends = step.weigh(lambda s: s.append is not None)
    array = step.weigh(lambda s: int(s.append or 0))
    leaf: list[Symbol | int] = [array, 0, step.cell("place"), *[0] * WORD, *word]
    row.send("step.append", TREE, appends, leaf)
    row.receive("step.hash", HASH, step.cell(REGISTER_KEY.name), [*old, *new, *word])
    row.receive("step.link", HASH, step.weigh(is_link), [*old, *word, *new])


def _ranges(row: Row, step: StepRow, touches: Symbol, moves: Symbol) -> None:
    new = step.fields("new")
    for j in range(AMOUNT_LIMBS):
        row.receive(f"step.new.range[{j}]", RANGE, moves, [new[j]])
    for fields, times in ((MONEY_FIELDS, moves), (RANGED_FIELDS, touches)):
        for field in fields:
            for j, value in enumerate(step.fields(field)):
                row.receive(f"step.{field}.range[{j}]", RANGE, times, [value])
