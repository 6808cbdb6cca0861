"""Days of a small chain of two shards with windows of one block: what is said of them, without proofs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import islice

from operators.pyramid_planner import Links, PyramidClock, PyramidPlanner
from operators.pyramid_tree import Node, Segment, work_of
from pipelines.sample_shards import CHAIN, SampleEpoch, sample_epochs
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import Backend
from proving.ledger.layout import make_layout
from proving.recursion.global_span import GlobalSpan
from proving.recursion.pyramid_work import prove_work
from proving.segment_proofs import SEGMENT_KIND, prove_segment
from schemas.errors import InvariantError
from schemas.job import ProofLevel
from schemas.run import WordElements
from schemas.statement import Boundary, SegmentStatement

SHARDS = 2
WINDOWS_PER_DAY = 2
WINDOWS = 5
HASHER = NumpyHasher()


@cache
def epochs() -> list[SampleEpoch]:
    """Returns the first windows of the chain."""
    return list(islice(sample_epochs(SHARDS, HASHER, make_layout(7, 1)), WINDOWS))


def statements(window: int, shard: int) -> list[SegmentStatement]:
    """Returns what the segments of a window of a shard say."""
    return [witness.statement for witness in epochs()[window].witnesses[shard]]


def ended_at(window: int, shard: int) -> Boundary:
    """Returns where a window of a shard ended."""
    return statements(window, shard)[-1].after


def begun_at() -> list[Boundary]:
    """Returns where the shards stood before the first window."""
    return [part.at for part in epochs()[0].parts]


def planned(
    validators: WordElements, clock: PyramidClock, windows: Sequence[int] = range(WINDOWS - 1)
) -> list[Node]:
    """Returns the trees that are planned as windows are accepted: epochs, hours and days."""
    planner = PyramidPlanner.start(CHAIN, clock, begun_at(), validators=validators, hasher=HASHER)
    found: list[Node] = []
    for window in windows:
        for shard in range(SHARDS):
            after = epochs()[window + 1].parts[shard]
            planner.see_links(shard, window, Links(after.sent, after.received))
            listed = statements(window, shard)
            planner.accept([Segment(one, SEGMENT_KIND) for one in listed])
        found += planner.plan()
    return found


@cache
def days(validators: WordElements) -> list[GlobalSpan]:
    """Returns what the proofs of the first days say."""
    clock = PyramidClock(1, 1, WINDOWS_PER_DAY)
    found = [tree.said for tree in planned(validators, clock) if tree.level is ProofLevel.DAY]
    return [said for said in found if isinstance(said, GlobalSpan)]


def prove_tree(tree: Segment | Node, backend: Backend) -> bytes:
    """Proves a tree of the first windows from its segments up; minutes."""
    proofs: dict[Segment | Node, bytes] = {}
    witnesses = {
        witness.statement: witness
        for epoch in epochs()
        for listed in epoch.witnesses
        for witness in listed
    }
    for node in tree.nodes() if isinstance(tree, Node) else ():
        for child in node.children:
            if isinstance(child, Segment):
                proofs[child] = prove_segment(witnesses[child.statement], backend).data
        work = work_of(node, proofs.get)
        if work is None:
            raise InvariantError("a child comes before its parent")
        proofs[node] = prove_work(work, backend)[1]
    return proofs[tree]
