"""The way of a transaction to the day's statement, taken off the tree of the proofs that were joined.

How many folds there are and on which side our word stands follows from the tree alone: a left fold over each node's
children. What is made here is looked at by `proving.light.inclusion`, which needs none of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from operators.pyramid_tree import Node, Segment
from proving.backends.port import Hasher
from proving.ledger.trees import WordTree, empty_digests
from proving.ledger.witness import SegmentWitness
from proving.ledger.words import block_word, transaction_word
from proving.light.inclusion import HistoryFold, Inclusion, RunFold
from proving.recursion.global_span import GlobalSpan, join_runs
from proving.recursion.span import (
    NO_HISTORY,
    Span,
    join_spans,
    opens_window,
    span_of_segment,
)
from schemas.errors import InvariantError, ParameterError
from schemas.run import WordElements
from schemas.transactions import Transaction, TransactionKind
from schemas.units import ZERO_WORD, Array, word_bytes, word_elements


@dataclass(frozen=True, slots=True)
class ListedTransaction:
    """A transaction in its window's list.

    Attributes:
        body: Its bytes.
        recipient: Second element of its word.
        shard: Its shard.
        window: Its window.
        index: Its place in the list.
        words: The window's whole list.
    """

    body: bytes
    recipient: int
    shard: int
    window: int
    index: int
    words: tuple[WordElements, ...]


def find_in_window(
    transaction: Transaction, witnesses: Sequence[SegmentWitness]
) -> ListedTransaction | None:
    """Returns a user's transaction in the list of a window that is made again, or None if it is not there.

    Args:
        transaction: What is looked for.
        witnesses: All segments of the window, in order.
    """
    words = tuple(window_words(witnesses))
    place = witnesses[0].statement
    for index, word in enumerate(words):
        is_new = transaction.kind is TransactionKind.REGISTER
        recipient = word[1] if is_new else transaction.recipient
        if word == transaction_word(transaction, recipient):
            body = transaction.body()
            return ListedTransaction(body, recipient, place.shard, place.window, index, words)
    return None


def window_words(witnesses: Iterable[SegmentWitness]) -> Iterable[WordElements]:
    """Yields the words of a window's list: transactions, and the closing words of its blocks."""
    for witness in witnesses:
        before = witness.statement.before
        height, keys = before.height, before.keys
        count, fee_sum = before.block_transactions, before.fee_sum
        for entry in witness.entries:
            transaction = entry.transaction
            if transaction is None:
                height += 1
                yield block_word(height, entry.slot, count, fee_sum)
                count = fee_sum = 0
                continue
            registers = transaction.kind is TransactionKind.REGISTER
            yield transaction_word(transaction, keys if registers else transaction.recipient)
            keys += registers
            count, fee_sum = count + 1, fee_sum + transaction.fee


def inclusion_path(day: Node, listed: ListedTransaction, hasher: Hasher) -> Inclusion:
    """Returns the path of a transaction to the statement of a day, or of any run.

    Raises:
        ParameterError: The tree has no such window, or its list is another one.
    """
    found = _in_runs(day, listed.window, hasher)
    if found is None:
        raise ParameterError(f"window {listed.window} is in no epoch of this run")
    epoch, run_folds = found
    part = epoch.parts[listed.shard]
    if part.span is None:
        raise ParameterError(f"shard {listed.shard} made no block in this epoch")
    waiting = iter(epoch.children)
    trees = [None if one.span is None else next(waiting) for one in epoch.parts]
    tree = trees[listed.shard]
    if not isinstance(tree, Node):
        raise InvariantError("an epoch's child is no tree of a shard")
    root, closing, folds = _in_part(tree, part.span, listed.window, hasher)
    array = WordTree(hasher, empty_digests(hasher))
    array.update({place: word_bytes(word) for place, word in enumerate(listed.words)})
    if array.root != root:
        raise ParameterError(f"window {listed.window} was closed with another list")
    others = [one.history(hasher) for one in epoch.parts]
    del others[listed.shard]
    return Inclusion(
        body=listed.body,
        recipient=listed.recipient,
        index=listed.index,
        siblings=tuple(map(word_elements, array.multiproof([listed.index]))),
        closing=closing,
        span_folds=tuple(folds),
        shards=tuple(others),
        run_folds=tuple(run_folds),
    )


Closed = tuple[bytes, tuple[WordElements, WordElements], list[HistoryFold]]
"""Root of a window's list, the histories beside it in the link that closed it, and the links above."""


def _in_runs(node: Node, window: int, hasher: Hasher) -> tuple[Node, list[RunFold]] | None:
    """Returns the epoch that holds a window and the folds above it, up to a node."""
    run = _run(node)
    if not run.first_window <= window < run.end_window:
        return None
    if node.parts:
        return node, []
    found: tuple[Node, list[RunFold]] | None = None
    joined: GlobalSpan | None = None
    for child in node.children:
        said = _run(child)
        if found is not None:
            found[1].append(RunFold(0, said.history))
        elif isinstance(child, Node) and (inner := _in_runs(child, window, hasher)) is not None:
            found = inner
            if joined is not None:
                found[1].append(RunFold(1, joined.history))
        joined = said if joined is None else join_runs([joined, said], hasher)
    return found


def _in_part(tree: Node, span: Span, window: int, hasher: Hasher) -> Closed:
    """Returns how a window is closed in what a shard did in an epoch; the last window closes at the epoch's end."""
    found = _in_spans(tree, window, hasher)
    last = span.after.root(Array.TXS)
    if found is not None:
        found[2].append(HistoryFold(0, (word_elements(last), NO_HISTORY)))
        return found
    if span.last_window != window:
        raise ParameterError(f"the shard made no block in window {window}")
    return last, (span.history, NO_HISTORY), []


def _in_spans(node: Segment | Node, window: int, hasher: Hasher) -> Closed | None:
    """Returns how a window is closed below a node, or None if it is closed above it or not there."""
    if isinstance(node, Segment):
        return None
    joined = _span(node.children[0])
    found = _in_spans(node.children[0], window, hasher)
    for child in node.children[1:]:
        span = _span(child)
        closed = joined.after.root(Array.TXS) if opens_window(joined, span) else ZERO_WORD
        if found is not None:
            found[2].append(HistoryFold(0, (word_elements(closed), span.history)))
        elif opens_window(joined, span) and joined.last_window == window:
            found = (closed, (joined.history, span.history), [])
        elif (inner := _in_spans(child, window, hasher)) is not None:
            found = inner
            found[2].append(HistoryFold(2, (joined.history, word_elements(closed))))
        joined = join_spans([joined, span], hasher)
    return found


def _span(node: Segment | Node) -> Span:
    if isinstance(node, Segment):
        return span_of_segment(node.statement)
    if isinstance(node.said, Span):
        return node.said
    raise InvariantError("a tree of one shard holds what is not a span")


def _run(node: Segment | Node) -> GlobalSpan:
    if isinstance(node, Node) and isinstance(node.said, GlobalSpan):
        return node.said
    raise InvariantError("a tree of runs holds what is not a run")
