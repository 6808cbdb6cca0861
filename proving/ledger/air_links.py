"""What the transaction lane says about links: the chains of words between this shard and the others.

Three steps touch a link: its cell becomes C(cell, word). Which shards there are is public, so that no value
leaves to nowhere, and none comes on a link that no other shard answers for. Source: proving/ledger/README.md
"Links".
"""

from __future__ import annotations

from proving.arithmetic.program import Symbol
from proving.ledger.step_row import StepRow
from proving.ledger.words import PEER_WEIGHT
from proving.stark.air import Row
from schemas.statement import SHARD_OFFSET, SHARDS_OFFSET
from schemas.steps import RECEIVE_LINK, RETURN_LINK, SEND_DEBIT, SEND_LINK, Step
from schemas.transactions import TransactionKind
from schemas.units import FIRST_ACCOUNT

INVERSE = ("carry", 0)
"""Where a row that touches a link holds the inverse of the other shard's distance: nothing carries there."""

SENT_ELEMENTS = (0, 1, 2, 3, 4)
"""Elements of a transaction's word that travel: sender, recipient, amount in two halves, nonce."""

RETURNED_ELEMENTS = (1, 0, 2, 3, 4)
"""The same on the way back, sender and recipient exchanged."""


def is_link(step: Step) -> int:
    """Returns whether a step touches a link, as the weight of its selector."""
    return int(step.link is not None)


def constrain_links(row: Row, step: StepRow) -> None:
    """Records what holds of a link's other end and of the words that go out."""
    links, peer, word = step.weigh(is_link), step.cell("cell"), step.fields("word")
    others = row.publics[SHARDS_OFFSET] - 1 - peer - step.span("below_last")
    row.zero("step.link.shard", links * others)
    distance = peer - row.publics[SHARD_OFFSET]
    row.zero("step.link.other", links * (distance * step.cell(*INVERSE) - 1))
    above = step.pair("above_first")
    row.zero("step.send.recipient", step.cell(SEND_LINK.name) * (word[1] - FIRST_ACCOUNT - above))
    row.zero(
        "step.return.unknown", step.cell(RETURN_LINK.name) * (word[0] - step.cell("keys") - above)
    )
    sends, returns = step.cell(SEND_DEBIT.name), step.following(RETURN_LINK.name)
    for j, (sent, returned) in enumerate(zip(SENT_ELEMENTS, RETURNED_ELEMENTS, strict=True)):
        out = step.following("word", j)
        claim = sends * (out - word[sent]) + returns * (out - word[returned])
        row.zero_on_transition(f"step.link.word[{j}]", claim)
    row.zero_on_transition("step.return.cell", returns * (step.following("cell") - peer))
    named = int(TransactionKind.OUTBOUND) + PEER_WEIGHT * step.following("cell")
    row.zero_on_transition("step.send.destination", sends * (word[7] - named))


def link_claim(row: Row, step: StepRow, position: int) -> Symbol | int:
    """Returns what a row that touches a link adds to the claim on one element of its word."""
    arrives = step.cell(RECEIVE_LINK.name)
    leaves = step.cell(SEND_LINK.name) + step.cell(RETURN_LINK.name)
    peer, shard = step.cell("cell"), row.publics[SHARD_OFFSET]
    value = step.cell("word", position)
    if position == 5:
        return arrives * (value - peer) + leaves * (value - shard)
    if position == 6:
        return arrives * (value - shard) + leaves * (value - peer)
    if position == 7:
        return leaves * (value - int(TransactionKind.INBOUND))
    return 0
