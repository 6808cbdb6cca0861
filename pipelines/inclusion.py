"""`wallet receipt --inclusion`: the path of a transaction to its day's statement, made from the log.

The log is trusted with nothing: the tree of the day and the window's list are made again from what is on it, and a path
is handed out only once a light client's check of it has passed against a statement that a quorum signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from operators.beacon_history import BeaconHistory, read_beacon
from operators.beacon_start import BeaconPlace, open_planner
from operators.inclusion_path import find_in_window, inclusion_path
from operators.pyramid_planner import links_of_row
from operators.pyramid_tree import Node, Segment
from operators.topic_view import TopicView
from pipelines.wallet import read_ledger, read_receipt
from pipelines.wallet_view import Receipt
from proving.kinds import kind_numbered
from proving.ledger.witness import SegmentWitness, decode_witness
from proving.light.errors import ProofError
from proving.light.inclusion import check_inclusion
from schemas.beacon_payload import ProofReference
from schemas.errors import EclipticaError, ParameterError, WireError
from schemas.job import JobEvent, ProofLevel, planned_envelope
from schemas.receipt import ReceiptState
from schemas.run import RunStatement
from schemas.tables import CONSENSUS, JOBS, PROOFS, WINDOWS
from schemas.topics import BEACON, shard_topic
from schemas.topics import JOBS as JOBS_TOPIC
from schemas.topics import PROOFS as PROOFS_TOPIC


class LogIncomplete(EclipticaError):
    """The log no longer holds, or never held, what a path is made of."""


@dataclass(frozen=True, slots=True)
class WrittenInclusion:
    """A receipt with the path that was written.

    Attributes:
        receipt: The receipt.
        inclusion: The file.
        bytes: Its size.
        statement: Word of the day's statement that the path leads to, hex.
        first_window: First window of the day.
        end_window: The window after its last.
    """

    receipt: Receipt
    inclusion: Path
    bytes: int
    statement: str | None
    first_window: int
    end_window: int


def write_inclusion(place: BeaconPlace, digest: str, shard: int, out: Path) -> WrittenInclusion:
    """Writes the path of a transaction to the statement of its day.

    Args:
        place: Log, genesis and clock of the chain.
        digest: The transaction's digest, hex.
        shard: Its shard.
        out: The file; replaced if it is there.

    Raises:
        ParameterError: There is no such transaction, or its day is not final on the beacon yet.
        LogIncomplete: The log lacks something that the path is made of.
    """
    view = TopicView(place.log)
    receipt = read_receipt(view, place.genesis, digest, shard)
    if receipt.state != ReceiptState.BEACON_FINAL or receipt.window is None:
        raise ParameterError(
            f"the transaction is {receipt.state}: it has a path once it is beacon_final",
            "ask again after the proof of its day was accepted",
        )
    history = read_beacon(view.rows(BEACON, CONSENSUS), place.genesis)
    day = history.day_with(receipt.window)
    transaction = read_ledger(view, shard).transaction(bytes.fromhex(digest))
    if day is None or transaction is None:
        raise LogIncomplete("the log was shortened while it was read", "ask again")
    tree = plan_day(place, view, history, day.run)
    witnesses = window_witnesses(view, tree, shard, receipt.window)
    listed = find_in_window(transaction, witnesses)
    if listed is None:
        raise LogIncomplete(f"window {receipt.window} as planned does not hold the transaction")
    path = inclusion_path(tree, listed, place.hasher)
    try:
        check_inclusion(path, day.run)
    except ProofError as error:
        raise LogIncomplete(
            f"the log gives another day than the beacon accepted: {error}"
        ) from error
    data = path.to_bytes()
    out.write_bytes(data)
    run = day.run
    return WrittenInclusion(
        receipt, out, len(data), receipt.proof_digest, run.first_window, run.end_window
    )


def plan_day(
    place: BeaconPlace, view: TopicView, history: BeaconHistory, run: RunStatement
) -> Node:
    """Returns the tree of a day that the beacon has accepted, planned again as the pyramid's process does.

    Raises:
        LogIncomplete: The log gives no such day.
    """
    for tree in planned_trees(place, view, history, run.end_window):
        if tree.level is ProofLevel.DAY and tree.said.elements() == run.elements():
            return tree
    raise LogIncomplete(f"the log gives no day of windows {run.first_window} to {run.end_window}")


def planned_trees(
    place: BeaconPlace, view: TopicView, history: BeaconHistory, end_window: int
) -> Iterator[Node]:
    """Yields the trees of accepted windows, if every shard is taken to have left the windows below one.

    Raises:
        LogIncomplete: An accepted segment was never planned.
    """
    planner = open_planner(place.genesis, place.configuration.clock, place.hasher)
    for shard in range(place.genesis.shards):
        for row in view.rows(shard_topic("windows", shard), WINDOWS):
            links = links_of_row(row, place.genesis.shards)
            if links is not None:
                planner.see_links(shard, row["window"], links)
    known = {one.statement.preimage(): one for one in _planned_segments(view)}
    for accepted in history.windows.values():
        found: list[Segment] = []
        for reference in accepted.said.proofs:
            witness = known.get(_claimed_by(view, reference))
            if witness is None:
                raise LogIncomplete(f"the segment of proofs/{reference.offset} was never planned")
            found.append(Segment(witness.statement, kind_numbered(witness.kind).name))
        planner.accept(found)
    for shard in range(place.genesis.shards):
        planner.reach(shard, end_window)
    yield from planner.plan()


def _claimed_by(view: TopicView, reference: ProofReference) -> bytes:
    """Returns the statement that the row of a proof claims, or nothing."""
    rows = [
        row
        for record, row in view.placed_rows(PROOFS_TOPIC, PROOFS, reference.offset, 1)
        if record.offset == reference.offset
    ]
    return bytes(rows[reference.row]["statement"]) if reference.row < len(rows) else b""


def window_witnesses(
    view: TopicView, tree: Node, shard: int, window: int
) -> Sequence[SegmentWitness]:
    """Returns the witnesses of a window's segments as a tree holds them, in order.

    Raises:
        LogIncomplete: One of them was never planned.
    """
    wanted = [
        leaf.statement
        for node in tree.nodes()
        for leaf in node.children
        if isinstance(leaf, Segment)
        and (leaf.statement.shard, leaf.statement.window) == (shard, window)
    ]
    known = {one.statement.preimage(): one for one in _planned_segments(view)}
    found = [known[one.preimage()] for one in wanted if one.preimage() in known]
    if not wanted or len(found) < len(wanted):
        raise LogIncomplete(f"the jobs of window {window} are not on the log")
    return sorted(found, key=lambda one: one.statement.segment)


def _planned_segments(view: TopicView) -> Iterable[SegmentWitness]:
    """Yields the witnesses of all planned segments."""
    for row in view.rows(JOBS_TOPIC, JOBS):
        envelope = planned_envelope(row) if row["event"] == JobEvent.PLANNED else None
        if envelope is None or envelope.level is not ProofLevel.SEGMENT:
            continue
        try:
            witness = decode_witness(envelope.witness)
        except WireError:
            continue
        if witness.statement.preimage() == envelope.statement:
            yield witness
