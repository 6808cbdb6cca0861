"""What one shard contributes to a proof about all shards, and what it must hold to be one's part.

The native twin of the claims in `proving.recursion.epoch` and `proving.recursion.epoch_links`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proving.backends.port import Hasher
from proving.ledger.state import Ledger
from proving.ledger.trees import WordTree, empty_digests
from proving.recursion.span import NO_HISTORY, History, Span, fold_history, reopened
from schemas.statement import Boundary
from schemas.units import ZERO_WORD, Array, word_elements

LinkHeads = tuple[bytes, ...]
"""What an array of links holds for every shard of the chain, by number; the zero word where nothing was sent."""


@dataclass(frozen=True, slots=True)
class ShardPart:
    """What one shard did in a run of windows.

    Attributes:
        span: Its segments; None if it made no block, and then nothing moved.
        at: Where it stood: the boundary before its span, or where it stayed.
        sent: What OUT held before, for every shard.
        received: What INB held before, for every shard.
        received_after: What INB holds after.
    """

    span: Span | None
    at: Boundary
    sent: LinkHeads
    received: LinkHeads
    received_after: LinkHeads

    @property
    def after(self) -> Boundary:
        """Where the shard stands afterwards, as the next window begins."""
        return self.at if self.span is None else reopened(self.span.after)

    def history(self, hasher: Hasher) -> History:
        """Returns the history of the run with its last window closed; zeros if there was no block."""
        if self.span is None:
            return NO_HISTORY
        closed = word_elements(self.span.after.root(Array.TXS))
        return fold_history(self.span.history, closed, NO_HISTORY, hasher)


def why_not_part(
    part: ShardPart, shard: int, windows: range, *, chain: int, shards: int, hasher: Hasher
) -> str | None:
    """Returns why something is not what a shard did in a run of windows, or None."""
    at, span = part.at, part.span
    if at != reopened(at) or at.block_transactions or at.fee_sum:
        return "begins inside a window"
    if span is not None:
        problem = _why_not_span(span, at, windows, (chain, shard, shards))
        if problem:
            return problem
    arrays = {
        "OUT before": (part.sent, at.root(Array.OUT)),
        "INB before": (part.received, at.root(Array.INB)),
        "INB after": (part.received_after, part.after.root(Array.INB)),
    }
    for name, (heads, root) in arrays.items():
        if len(heads) != shards or links_tree(heads, hasher).root != root:
            return f"shows other links than {name} holds"
    return None


def _why_not_span(
    span: Span, at: Boundary, windows: range, owner: tuple[int, int, int]
) -> str | None:
    if (span.chain, span.shard, span.shards) != owner:
        return "is of another chain or shard"
    if span.before != at or span.first_segment:
        return "does not begin where a window begins"
    if span.after.block_transactions or span.after.fee_sum:
        return "ends inside a block"
    if span.first_window not in windows or span.last_window not in windows:
        return "has segments of other windows"
    return None


def why_not_delivered(parts: Sequence[ShardPart]) -> str | None:
    """Returns which link delivered something else than all that had been sent before, or nothing; or None."""
    for receiver, part in enumerate(parts):
        for sender, other in enumerate(parts):
            allowed = (other.sent[receiver], part.received[sender])
            if sender != receiver and part.received_after[sender] not in allowed:
                return f"shard {receiver} received something else than shard {sender} had sent"
    return None


def link_heads(ledger: Ledger, array: Array) -> LinkHeads:
    """Returns what a ledger's array of links holds now."""
    return tuple(ledger.link(array, peer) for peer in range(ledger.parameters.shards))


def links_tree(heads: LinkHeads, hasher: Hasher) -> WordTree:
    """Returns an array of links from what it holds."""
    tree = WordTree(hasher, empty_digests(hasher))
    tree.update({shard: word for shard, word in enumerate(heads) if word != ZERO_WORD})
    return tree


def link_path(tree: WordTree, shard: int) -> list[int]:
    """Returns the siblings of a cell up to the root, leaf first, as elements: 30 words."""
    return [element for word in tree.multiproof([shard]) for element in word_elements(word)]
