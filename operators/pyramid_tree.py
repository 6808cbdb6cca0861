"""The pyramid as a tree: which proofs are made of which, and what each will say. Nothing here is proven.

What a node says follows from the accepted segments alone, so a tree is known as soon as its epoch is over, and a node
whose children have not changed is the same node: a late window redoes only what lies above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from proving.backends.port import Hasher
from proving.recursion.day import DAY_SLOTS
from proving.recursion.global_proofs import EpochChildren, GlobalProof
from proving.recursion.global_span import GlobalSpan, join_runs, merge_shards
from proving.recursion.join import JOIN_SLOTS
from proving.recursion.pyramid_work import (
    DayWork,
    EpochWork,
    JoinWork,
    LiftWork,
    Said,
    Work,
    WrapWork,
)
from proving.recursion.shard_part import ShardPart
from proving.recursion.span import Span, join_spans, lift_spans
from proving.recursion.span_proofs import LIFTS, SpanProof
from schemas.errors import InvariantError
from schemas.job import ProofLevel
from schemas.run import WordElements
from schemas.statement import SegmentStatement


@dataclass(frozen=True, slots=True)
class Segment:
    """An accepted segment, a leaf.

    Attributes:
        statement: What its proof shows.
        kind: Kind of the proof.
    """

    statement: SegmentStatement
    kind: str


@dataclass(frozen=True, slots=True)
class Node:
    """A recursive proof to be.

    Attributes:
        level: Level of the pyramid.
        said: What it will say.
        children: What it is made of, in order; of an epoch the shards that made a block.
        parts: Of an epoch what every shard did; otherwise empty.
        filler: Of an epoch without any block, a lift whose proof fills the slots and takes no part.
    """

    level: ProofLevel
    said: Said
    children: tuple[Segment | Node, ...]
    parts: tuple[ShardPart, ...] = ()
    filler: Node | None = None

    def nodes(self) -> Iterator[Node]:
        """Yields all nodes of the tree, children first."""
        for child in (*self.children, self.filler):
            if isinstance(child, Node):
                yield from child.nodes()
        yield self


ProofOf = Callable[[Segment | Node], bytes | None]
"""Returns the proof of something, or None while there is none."""


def lift_nodes(segments: Sequence[Segment], hasher: Hasher) -> list[Node]:
    """Returns the lifts of consecutive segments, over windows; each takes segments of one kind."""
    nodes: list[Node] = []
    for kind, grouped in groupby(segments, lambda segment: segment.kind):
        same, (_, slots) = list(grouped), LIFTS[kind]
        for start in range(0, len(same), slots):
            part = tuple(same[start : start + slots])
            said = lift_spans([segment.statement for segment in part], hasher)
            nodes.append(Node(ProofLevel.WINDOW, said, part))
    return nodes


def shard_node(segments: Sequence[Segment], hasher: Hasher) -> Node:
    """Returns the tree of what a shard did in an epoch; a single lift needs no join above it.

    Args:
        segments: Its segments, consecutive; at least one.
        hasher: Poseidon2.
    """
    return _joined(lift_nodes(segments, hasher), JOIN_SLOTS, lambda part: _join(part, hasher))


def epoch_node(
    trees: Sequence[Node | None],
    parts: Sequence[ShardPart],
    windows: range,
    *,
    chain: int,
    validators: WordElements,
    hasher: Hasher,
    filler: Node | None = None,
) -> Node:
    """Returns the node of what all shards did in an epoch.

    Args:
        trees: Tree of every shard, or None if it made no block.
        parts: Where every shard stood and its links; spans are taken from the trees.
        windows: The epoch's windows.
        chain: Chain number.
        validators: Root of the set in charge.
        hasher: Poseidon2.
        filler: Any lift, for an epoch in which no shard made a block.

    Raises:
        ParameterError: The parts do not make up an epoch, by name.
    """
    merged = tuple(
        replace(part, span=None if tree is None else _span(tree))
        for part, tree in zip(parts, trees, strict=True)
    )
    run = merge_shards(merged, windows, chain=chain, validators=validators, hasher=hasher)
    children = tuple(tree for tree in trees if tree is not None)
    return Node(ProofLevel.EPOCH, run, children, merged, None if children else filler)


def run_node(
    children: Sequence[Node], level: ProofLevel, hasher: Hasher, *, is_forced: bool = False
) -> Node:
    """Returns the tree of adjacent runs; what is above them is of a level.

    Args:
        children: At least one run; a single one is returned as it is, unless forced.
        level: Level of the proofs that join them.
        hasher: Poseidon2.
        is_forced: Make a proof above a single run too: the one that ends a day is of kind `day`.
    """
    return _joined(
        list(children), DAY_SLOTS, lambda part: _run(part, level, hasher), is_forced=is_forced
    )


def wrap_node(day: Node) -> Node:
    """Returns the node that says the same as a day's run, in a proof for light clients."""
    return Node(ProofLevel.DAY, day.said, (day,))


def work_of(node: Node, proof_of: ProofOf) -> Work | None:
    """Returns the work of a node, or None while a child's proof is missing."""
    proofs = [proof_of(child) for child in node.children]
    found = [proof for proof in proofs if proof is not None]
    if len(found) < len(proofs):
        return None
    if isinstance(node.said, Span):
        if all(isinstance(child, Segment) for child in node.children):
            return LiftWork(tuple(found))
        return JoinWork(
            tuple(
                SpanProof(_span(child), proof)
                for child, proof in zip(node.children, found, strict=True)
            )
        )
    if node.level is ProofLevel.DAY:
        return WrapWork(GlobalProof(_global(node), found[0]))
    if node.parts:
        return _epoch_work(node, node.said, found, proof_of)
    return DayWork(
        tuple(
            GlobalProof(_global(child), proof)
            for child, proof in zip(node.children, found, strict=True)
        )
    )


def _epoch_work(
    node: Node, run: GlobalSpan, found: Sequence[bytes], proof_of: ProofOf
) -> Work | None:
    """Returns the work of an epoch, or None while the proof that fills it is missing."""
    spare = None
    if node.filler is not None:
        proof = proof_of(node.filler)
        if proof is None:
            return None
        spare = SpanProof(_span(node.filler), proof)
    waiting = iter(found)
    proofs = tuple(None if part.span is None else next(waiting) for part in node.parts)
    windows = range(run.first_window, run.end_window)
    return EpochWork(EpochChildren(run.chain, windows, run.validators, node.parts, proofs, spare))


def _joined(
    nodes: list[Node],
    slots: int,
    join: Callable[[Sequence[Node]], Node],
    *,
    is_forced: bool = False,
) -> Node:
    """Joins nodes in groups until one is left; with `is_forced` at least once."""
    while len(nodes) > 1 or is_forced:
        is_forced = False
        groups = [nodes[start : start + slots] for start in range(0, len(nodes), slots)]
        nodes = [
            join(group) if len(group) > 1 or len(groups) == 1 else group[0] for group in groups
        ]
    return nodes[0]


def _join(part: Sequence[Node], hasher: Hasher) -> Node:
    said = join_spans([_span(node) for node in part], hasher)
    return Node(ProofLevel.SHARD_EPOCH, said, tuple(part))


def _run(part: Sequence[Node], level: ProofLevel, hasher: Hasher) -> Node:
    return Node(level, join_runs([_global(node) for node in part], hasher), tuple(part))


def _span(node: Segment | Node) -> Span:
    if isinstance(node, Node) and isinstance(node.said, Span):
        return node.said
    raise InvariantError("a tree of one shard holds what is not a span")


def _global(node: Segment | Node) -> GlobalSpan:
    if isinstance(node, Node) and isinstance(node.said, GlobalSpan):
        return node.said
    raise InvariantError("a tree of runs holds what is not a run")
