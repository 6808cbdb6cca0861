"""Days of two shards over many windows, some without a block, joined in trees of several shapes; nothing is proven."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from operators.pyramid_tree import (
    Node,
    Segment,
    epoch_node,
    lift_nodes,
    run_node,
    shard_node,
    wrap_node,
)
from pipelines.sample_window import EXPIRY, ISSUER_KEY, opening_transactions
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.ledger.layout import make_layout
from proving.ledger.rules import PUBLIC_FEE, LedgerParameters
from proving.ledger.segments import cut_window
from proving.ledger.state import Block, Ledger, genesis_ledger
from proving.ledger.witness import SegmentWitness
from proving.recursion.global_span import GlobalSpan, join_runs
from proving.recursion.shard_part import ShardPart
from proving.recursion.span import Span, join_spans
from proving.segment_proofs import SEGMENT_KIND
from schemas.job import ProofLevel
from schemas.transactions import Transaction, TransactionKind
from schemas.units import FIRST_ACCOUNT, ZERO_WORD

CHAIN = 7
SHARDS = 2
ACCOUNTS = 4
WINDOWS_PER_EPOCH = 4
EPOCHS = 4
VALIDATORS = (5, 4, 3, 2, 1, 6, 7, 8)
HASHER = NumpyHasher()
BUSY = {0: (0, 1, 3, 5, 6, 9, 10, 11, 12, 15), 1: (1, 8, 9, 10, 14)}
"""Windows in which a shard makes a block; shard 1 has none in the second epoch."""

NOTHING = (ZERO_WORD,) * SHARDS


@dataclass(frozen=True)
class Sent:
    """A transaction and the window of its block."""

    window: int
    transaction: Transaction


@dataclass(frozen=True)
class Day:
    """What happened, before anything is joined.

    Attributes:
        witnesses: Segments by shard and window.
        parts: Where the shards stood before every epoch.
        sent: All transactions of users.
    """

    witnesses: dict[tuple[int, int], list[SegmentWitness]]
    parts: list[list[ShardPart]]
    sent: list[Sent]


@cache
def day() -> Day:
    """Executes the windows."""
    ledgers = [
        genesis_ledger(LedgerParameters(CHAIN, shard, shards=SHARDS), HASHER, ISSUER_KEY)
        for shard in range(SHARDS)
    ]
    found = Day({}, [], [])
    for window in range(WINDOWS_PER_EPOCH * EPOCHS):
        for ledger in ledgers:
            ledger.open_window(window)
        if window % WINDOWS_PER_EPOCH == 0:
            found.parts.append(
                [ShardPart(None, one.boundary(), NOTHING, NOTHING, NOTHING) for one in ledgers]
            )
        for shard, ledger in enumerate(ledgers):
            if window in BUSY[shard]:
                body = _body(ledger, shard, window)
                block = Block(ledger.height + 1, window, window, tuple(body))
                cut = cut_window(ledger, [block], window, make_layout(7, 1))
                found.witnesses[shard, window] = cut
                found.sent.extend(Sent(window, one) for one in body)
    return found


def _body(ledger: Ledger, shard: int, window: int) -> list[Transaction]:
    """Returns the opening in a shard's first block, and afterwards a few transfers."""
    if not ledger.height:
        opening = opening_transactions(ACCOUNTS)
        return [replace(one, chain=CHAIN, shard=shard) for one in opening]
    nonce = BUSY[shard].index(window) - 1
    return [
        Transaction(
            TransactionKind.TRANSFER, CHAIN, shard, FIRST_ACCOUNT + sender, FIRST_ACCOUNT,
            1000 * window + sender, PUBLIC_FEE, nonce, EXPIRY,
        )
        for sender in range(1, ACCOUNTS)
    ]  # fmt: skip


Join = Callable[[Sequence[Node]], Node]
Shape = Callable[[list[Node], Join], Node]


def flat(nodes: list[Node], join: Join) -> Node:
    """Joins all at once."""
    return join(nodes) if len(nodes) > 1 else nodes[0]


def left(nodes: list[Node], join: Join) -> Node:
    """Joins the first two, then the next to it, and so on."""
    made = nodes[0]
    for node in nodes[1:]:
        made = join([made, node])
    return made


def right(nodes: list[Node], join: Join) -> Node:
    """Joins the last two, then the one before, and so on."""
    made = nodes[-1]
    for node in reversed(nodes[:-1]):
        made = join([node, made])
    return made


def threes(nodes: list[Node], join: Join) -> Node:
    """Joins in groups of three until one is left."""
    while len(nodes) > 1:
        nodes = [flat(nodes[start : start + 3], join) for start in range(0, len(nodes), 3)]
    return nodes[0]


SHAPES: dict[str, Shape] = {"flat": flat, "left": left, "right": right, "threes": threes}


def single_lifts(segments: Sequence[Segment]) -> list[Node]:
    """Returns a lift of every segment, so that there is much to join."""
    return [node for one in segments for node in lift_nodes([one], HASHER)]


def join_of_spans(part: Sequence[Node]) -> Node:
    """Joins trees of one shard."""
    said = [node.said for node in part]
    spans = [one for one in said if isinstance(one, Span)]
    return Node(ProofLevel.SHARD_EPOCH, join_spans(spans, HASHER), tuple(part))


def join_of_runs(part: Sequence[Node]) -> Node:
    """Joins trees of runs."""
    said = [node.said for node in part]
    runs = [one for one in said if isinstance(one, GlobalSpan)]
    return Node(ProofLevel.DAY_RUN, join_runs(runs, HASHER), tuple(part))


@cache
def tree_of(spans: str = "planner", runs: str = "planner") -> Node:
    """Returns the day's tree, its shards' spans and its runs joined in shapes; `planner` is the pyramid's own."""
    found, epochs = day(), []
    for number, parts in enumerate(found.parts):
        start = number * WINDOWS_PER_EPOCH
        windows = range(start, start + WINDOWS_PER_EPOCH)
        trees: list[Node | None] = []
        for shard in range(SHARDS):
            mine = [
                Segment(witness.statement, SEGMENT_KIND)
                for window in windows
                for witness in found.witnesses.get((shard, window), [])
            ]
            if not mine:
                trees.append(None)
            elif spans == "planner":
                trees.append(shard_node(mine, HASHER))
            else:
                trees.append(SHAPES[spans](single_lifts(mine), join_of_spans))
        made = epoch_node(trees, parts, windows, chain=CHAIN, validators=VALIDATORS, hasher=HASHER)
        epochs.append(made)
    if runs == "planner":
        return wrap_node(run_node(epochs, ProofLevel.DAY_RUN, HASHER, is_forced=True))
    return SHAPES[runs](epochs, join_of_runs)
