"""The pyramid's planner: which trees it makes of what is accepted, and what it waits for. Nothing is proven here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import islice

import pytest

from operators.pyramid_planner import Links, PyramidClock, PyramidPlanner, links_of_row
from operators.pyramid_role import envelope_of_node
from operators.pyramid_tree import (
    Node,
    Segment,
    lift_nodes,
    run_node,
    shard_node,
    work_of,
    wrap_node,
)
from pipelines.sample_shards import CHAIN, SampleEpoch, sample_epochs
from pipelines.sample_window import sample_window
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.reference import ReferenceBackend
from proving.errors import ProofError
from proving.ledger.layout import make_layout
from proving.recursion.global_span import GlobalSpan, join_runs
from proving.recursion.lift import LIFT_SLOTS
from proving.recursion.pyramid_work import (
    DayWork,
    EpochWork,
    JoinWork,
    LiftWork,
    WrapWork,
    decode_work,
    encode_work,
    prove_work,
    read_said,
    said_bytes,
)
from proving.recursion.span import Span, join_spans, lift_spans
from proving.segment_proofs import LARGE_SEGMENT_KIND, SEGMENT_KIND
from schemas.errors import InvariantError, ParameterError, WireError
from schemas.job import ProofLevel
from schemas.units import ZERO_WORD

HASHER = NumpyHasher()
VALIDATORS = (1, 2, 3, 4, 5, 6, 7, 8)
CLOCK = PyramidClock(windows_per_epoch=1, epochs_per_hour=2, hours_per_day=2)


@cache
def epochs() -> list[SampleEpoch]:
    return list(islice(sample_epochs(2, HASHER, make_layout(7, 1)), 5))


def statements(epoch: SampleEpoch, shard: int) -> list[Segment]:
    return [Segment(witness.statement, SEGMENT_KIND) for witness in epoch.witnesses[shard]]


def links_after(number: int, shard: int) -> Links:
    """Returns a shard's links after an epoch: what the next one begins with."""
    part = epochs()[number + 1].parts[shard]
    return Links(part.sent, part.received)


def planner(clock: PyramidClock = CLOCK) -> PyramidPlanner:
    at = [part.at for part in epochs()[0].parts]
    return PyramidPlanner.start(CHAIN, clock, at, validators=VALIDATORS, hasher=HASHER)


def feed(
    made: PyramidPlanner, number: int, shards: Sequence[int] = (0, 1), *, with_links: bool = True
) -> None:
    for shard in shards:
        if with_links:
            made.see_links(shard, number, links_after(number, shard))
        made.accept(statements(epochs()[number], shard))


def test_a_day_is_planned_as_its_windows_are_accepted() -> None:
    made, levels = planner(), []
    for number in range(4):
        feed(made, number)
        trees = list(made.plan())
        levels.append([tree.level for tree in trees])
    epoch, hour, day = ProofLevel.EPOCH, ProofLevel.SHARD_HOUR, ProofLevel.DAY
    assert levels == [[epoch], [epoch, hour], [epoch], [epoch, hour, day]]
    root = trees[-1].said
    assert isinstance(root, GlobalSpan)
    assert (root.chain, root.shards, root.first_window, root.end_window) == (CHAIN, 2, 0, 4)
    assert root.validators == VALIDATORS
    assert [node.level for node in trees[-1].nodes()].count(epoch) == 4
    assert (made.epoch, made.epochs, made.hours) == (4, [], [])


def planned_epochs(made: PyramidPlanner) -> list[Node]:
    """Returns the epochs among the trees that are planned now."""
    return [tree for tree in made.plan() if tree.level is ProofLevel.EPOCH]


def test_an_epoch_waits_for_every_shard_and_for_links_that_fit_the_roots() -> None:
    made = planner()
    feed(made, 0, [0])
    assert planned_epochs(made) == []
    feed(made, 0, [1], with_links=False)
    assert planned_epochs(made) == []
    made.see_links(1, 0, links_after(0, 1))
    assert len(planned_epochs(made)) == 1
    wrong = planner()
    wrong.see_links(0, 0, Links((ZERO_WORD, bytes([1]) * 32), (ZERO_WORD,) * 2))
    feed(wrong, 0)
    assert planned_epochs(wrong) == [], "links that do not fit the proven roots are not believed"


def jobs_of(nodes: Iterable[Node]) -> set[bytes]:
    """Returns the ids of the jobs that prove nodes."""
    return {envelope_of_node(node, b"").job_id for node in nodes}


def all_nodes(planned: Iterable[Node]) -> list[Node]:
    return [node for tree in planned for node in tree.nodes()]


def is_above(node: Segment | Node, leaves: Sequence[Segment]) -> bool:
    if isinstance(node, Segment):
        return node in leaves
    return any(is_above(child, leaves) for child in node.children)


@cache
def nodes_on_time() -> list[Node]:
    """Returns the nodes of a day whose windows are accepted together."""
    made, found = planner(), []
    for number in range(4):
        feed(made, number)
        found += all_nodes(made.plan())
    return found


@pytest.mark.parametrize(("shard", "late", "before", "after"), [(0, 3, 11, 5), (1, 0, 4, 12)])
def test_a_late_window_leaves_only_its_way_to_the_top_to_be_planned(
    shard: int, late: int, before: int, after: int
) -> None:
    """All else of the day is planned while it is late, as the same jobs as on a day without a delay."""
    made, whole = planner(), nodes_on_time()
    for number in range(4):
        feed(made, number, [one for one in (0, 1) if one != shard or number < late])
    early = jobs_of(all_nodes(made.plan()))
    assert list(made.plan()) == [], "nothing is planned twice"
    for number in range(late, 4):
        feed(made, number, [shard])
    added = jobs_of(all_nodes(made.plan())) - early
    missed = [one for number in range(late, 4) for one in statements(epochs()[number], shard)]
    assert added == jobs_of(node for node in whole if is_above(node, missed))
    assert early == jobs_of(whole) - added
    assert (len(early), len(added)) == (before, after)


def test_a_shard_without_a_block_in_an_epoch_takes_part_as_it_stands() -> None:
    sparse = planner()
    feed(sparse, 0, [0])
    assert planned_epochs(sparse) == []
    sparse.reach(1, 1)  # its first block lies in the next epoch
    (tree,) = sparse.plan()
    assert tree.parts[1].span is None
    assert len(tree.children) == 1


def test_an_epoch_without_any_block_is_filled_with_a_lift_that_takes_no_part() -> None:
    """A chain that stood still for a while, or began late, still gets its day."""
    made = planner()
    for shard in (0, 1):
        made.reach(shard, 3)  # the first blocks of all lie in window 3
    assert list(made.plan()) == [], "there is no proof yet that could fill the slots"
    first = statements(epochs()[3], 0)
    made.accept(first)
    idle, *_ = made.plan()
    assert (idle.children, [part.span for part in idle.parts]) == ((), [None, None])
    assert idle.filler is not None
    assert idle.filler.children == (first[0],)
    assert [node.level for node in idle.nodes()] == [ProofLevel.WINDOW, ProofLevel.EPOCH]
    assert work_of(idle, lambda _: None) is None
    work = work_of(idle, partial(all_but, None))
    assert isinstance(work, EpochWork)
    assert work.children.fill().span == idle.filler.said
    assert decode_work(encode_work(work)) == work


def test_a_delivery_inside_an_epoch_is_refused_by_name() -> None:
    """The sample's shards deliver from window to window, which is too early in epochs of two windows."""
    made = planner(PyramidClock(windows_per_epoch=2, epochs_per_hour=1, hours_per_day=9))
    feed(made, 0)
    assert list(made.plan()) == []
    feed(made, 1)
    with pytest.raises(ParameterError, match="shard 0 received something else than shard 1"):
        list(made.plan())


def test_a_window_counts_once() -> None:
    made = planner()
    feed(made, 0, [0])
    with pytest.raises(InvariantError, match="window 0 of shard 0 was accepted twice"):
        feed(made, 0, [0])


def segments(count: int, kind: str = SEGMENT_KIND) -> list[Segment]:
    witnesses = sample_window(40 * count, 3, make_layout(7, 1))
    return [Segment(witness.statement, kind) for witness in witnesses][:count]


@pytest.mark.parametrize("count", [1, LIFT_SLOTS, LIFT_SLOTS + 1, 7 * LIFT_SLOTS])
def test_segments_are_lifted_and_lifts_joined_as_far_as_needed(count: int) -> None:
    given = segments(count)
    assert len(given) == count
    tree = shard_node(given, HASHER)
    lifts = [node for node in tree.nodes() if node.level is ProofLevel.WINDOW]
    assert [len(lift.children) for lift in lifts] == [
        min(LIFT_SLOTS, count - start) for start in range(0, count, LIFT_SLOTS)
    ]
    assert isinstance(tree.said, Span)
    assert tree.said.last_segment == count - 1
    assert (tree.level is ProofLevel.WINDOW) == (count <= LIFT_SLOTS)
    if count <= LIFT_SLOTS:
        assert tree.said == lift_spans([one.statement for one in given], HASHER)


def test_a_lift_goes_on_over_windows_and_takes_one_kind_of_segment() -> None:
    given = [*statements(epochs()[0], 0)[-1:], *statements(epochs()[1], 0)[:1]]
    (lift,) = lift_nodes(given, HASHER)
    assert isinstance(lift.said, Span)
    assert (lift.said.first_window, lift.said.last_window) == (0, 1)
    large = [given[0], replace(given[1], kind=LARGE_SEGMENT_KIND)]
    assert [len(node.children) for node in lift_nodes(large, HASHER)] == [1, 1]
    many = segments(3, LARGE_SEGMENT_KIND)
    assert [len(node.children) for node in lift_nodes(many, HASHER)] == [1, 1, 1]


def trees() -> list[Node]:
    made, found = planner(PyramidClock(1, 9, 9)), []
    for number in range(4):
        feed(made, number)
        found += list(made.plan())
    return found


def test_runs_are_joined_in_groups_and_a_single_one_only_if_forced() -> None:
    found = trees()
    one = run_node(found[:1], ProofLevel.SHARD_HOUR, HASHER)
    assert one is found[0]
    forced = run_node(found[:1], ProofLevel.DAY, HASHER, is_forced=True)
    assert (forced.level, forced.children, forced.said) == (
        ProofLevel.DAY,
        (found[0],),
        found[0].said,
    )
    whole = run_node(found, ProofLevel.DAY, HASHER)
    assert whole.said == join_runs(
        [one.said for one in found if isinstance(one.said, GlobalSpan)], HASHER
    )


def test_a_node_has_work_once_the_proofs_below_it_are_there() -> None:
    found = trees()
    day = wrap_node(run_node(found, ProofLevel.DAY_RUN, HASHER))
    kinds = set()
    for node in day.nodes():
        last = node.children[-1]
        assert work_of(node, lambda _: None) is None
        assert work_of(node, partial(all_but, last)) is None
        work = work_of(node, partial(all_but, None))
        assert work is not None
        kinds.add(type(work))
        assert decode_work(encode_work(work)) == work
        assert read_said(said_bytes(node.said)) == node.said
        with pytest.raises((ProofError, ParameterError)):
            prove_work(work, ReferenceBackend())
    assert kinds == {LiftWork, EpochWork, DayWork, WrapWork} | (
        {JoinWork} if has_joins(day) else set()
    )


def all_but(missing: Segment | Node | None, child: Segment | Node) -> bytes | None:
    return None if child is missing else b"a proof"


def has_joins(tree: Node) -> bool:
    return any(node.level is ProofLevel.SHARD_EPOCH for node in tree.nodes())


def test_bytes_that_are_no_work_are_refused_by_name() -> None:
    work = work_of(trees()[0], lambda _: b"a proof")
    assert work is not None
    data = encode_work(work)
    for changed, name in (
        (b"", "work.version"),
        (b"\x02" + data[1:], "work.version"),
        (data[:1] + b"\x07" + data[2:], "work.kind"),
        (data[:-1], "work"),
        (data + b"\0", "work"),
    ):
        with pytest.raises(WireError, match=name):
            decode_work(changed)
    for size in (0, 159, 161, 768):
        with pytest.raises(WireError):
            read_said(b"\xff" * size)


def test_links_of_a_row_are_of_the_chains_shards() -> None:
    word = bytes(range(32))
    row = {"links": word + ZERO_WORD * 3}
    assert links_of_row(row, 2) == Links((word, ZERO_WORD), (ZERO_WORD, ZERO_WORD))
    for other in ({}, {"links": None}, {"links": word}):
        assert links_of_row(other, 2) is None


def test_a_span_of_several_lifts_is_their_join() -> None:
    given = segments(LIFT_SLOTS + 1)
    tree = shard_node(given, HASHER)
    spans = [node.said for node in lift_nodes(given, HASHER) if isinstance(node.said, Span)]
    assert tree.said == join_spans(spans, HASHER)
    assert all(isinstance(leaf, Segment) for lift in tree.children for leaf in lift.children)  # type: ignore[union-attr]


def places(trees: Sequence[Node]) -> set[tuple[ProofLevel, bytes]]:
    return {(node.level, said_bytes(node.said)) for tree in trees for node in tree.nodes()}


def test_a_late_segment_of_a_shard_leaves_the_lifts_and_joins_beside_it() -> None:
    """Of seven lifts the last grows by a segment: it and what is above it are new, and nothing else."""
    given = segments(7 * LIFT_SLOTS)
    before, after = (shard_node(part, HASHER) for part in (given[:-1], given))
    new = places([after]) - places([before])
    way = 0
    node: Segment | Node = after
    while isinstance(node, Node):
        assert (node.level, said_bytes(node.said)) in new
        way, node = way + 1, node.children[-1]
    assert len(new) == way
    assert way < len(places([after]))
