"""The shell around a consensus core: log records in, actions carried out, the application asked.

One node is one core with its journal, its application and its reader. `pump` does what can be done now and
returns; the process decides when to call it again. Nothing is published before the journal holds it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from operators.application import Application, BlockContent, CheckState
from operators.consensus import Simplex
from operators.consensus_messages import encode_evidence
from operators.consensus_ports import (
    Action,
    Alarm,
    BlockChecked,
    Broadcast,
    BuildProposal,
    CheckBlock,
    Event,
    Evidence,
    Finalized,
    Journal,
    MessageReceived,
    ProposalBuilt,
    ProposalUnavailable,
    SetTimer,
    Signer,
    Tick,
    Verifier,
    WorkAvailable,
)
from operators.consensus_votes import Committee
from operators.event_log import EventLog, LogReader, Record, StoredRecord
from operators.log_schemas import registry_of
from operators.metrics import NO_METRICS, Metrics
from operators.vote_journal import VoteJournal
from schemas.block import Block, Certificate
from schemas.errors import InvariantError, WireError
from schemas.metrics import (
    BLOCK_SECONDS,
    CONSENSUS_MESSAGES,
    CONSENSUS_STEP_SECONDS,
    CONSENSUS_TIMEOUTS,
    CONSENSUS_UNDECODABLE,
    CONSENSUS_VIEW,
    FINAL_HEIGHT,
)
from schemas.tables import CONSENSUS, SCHEMA_HEADER, SchemaRegistry, encode
from schemas.topics import BEACON, BEACON_SHARD, FAULTS, shard_topic

POLL_RECORDS = 512
"""Records taken in per pump."""

STEP_EVENTS = 32
"""Events per step of the core: it takes only messages of views near its own, and moves on with each step, so
that a long backlog must not be shown to it all at once."""

MAX_MESSAGE_BYTES = 4 * 2**20
"""Longer consensus messages are not looked at."""

KINDS = ("proposal", "vote", "certificate", "status", "chain")

CLOCK_SKEW_MILLIS = 2_000
"""How far a leader's clock may be ahead of one's own. A proposal of a later slot gets no vote: else one leader would move
the slots of all, and with them the expiry of every transaction. A time server keeps clocks within a tenth of it."""

OBSERVER = -1
"""Sender of messages that no validator has sent."""

FinalBlock = tuple[Block, Certificate]


class HaltedError(InvariantError):
    """The core has raised an alarm and signs nothing more."""


class NoSigner:
    """What an observer signs with."""

    def sign(self, message: bytes) -> bytes:
        """Refuses.

        Raises:
            InvariantError: Always.
        """
        raise InvariantError(f"an observer was asked to sign {len(message)} bytes")


class FinalSink(Protocol):
    """What a node tells about final blocks, in height order and each once per start."""

    def __call__(self, block: Block, certificate: Certificate, at_millis: int) -> None:
        """Takes a block that the application has just made final; `at_millis` is the log's time."""
        ...


def shard_label(shard: int) -> str:
    """Returns the label of a shard's metrics."""
    return "beacon" if shard == BEACON_SHARD else str(shard)


def message_topics(shard: int) -> Mapping[str, str]:
    """Returns the topic of each kind of message of a shard."""
    proposals, votes = shard_topic("proposals", shard), shard_topic("votes", shard)
    certificates = shard_topic("certificates", shard)
    return {
        "proposal": proposals,
        "vote": votes,
        "certificate": certificates,
        "status": certificates,
        "chain": certificates,
    }


def beacon_topics() -> Mapping[str, str]:
    """Returns the topic of each kind of message of the beacon."""
    return dict.fromkeys(KINDS, BEACON)


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Who a node is.

    Attributes:
        committee: Chain, shard, epoch and validators.
        own_index: Index of its validator, or None to observe.
        signer: Signs with the validator's key.
        verifier: Checks signatures of the committee.
    """

    committee: Committee
    own_index: int | None
    signer: Signer
    verifier: Verifier


@dataclass(slots=True)
class ConsensusNode:
    """A running core; built by `start_node`.

    Attributes:
        log: Where it publishes.
        reader: Reads the message topics and the feeds.
        topics: Topic of each kind of message.
        identity: Who it is.
        core: The core.
        application: What it replicates.
        journal: Its votes on disk; None for an observer.
        slot_at: Slot of a time in UTC milliseconds.
        feeds: Topics of the application and what takes their records.
        on_final: Told about every final block.
        on_message: Told about every message and the record it came in, or None.
        undecodable: Records that were no consensus message.
        metrics: Where steps, messages and time-outs are recorded.
    """

    log: EventLog
    reader: LogReader
    topics: Mapping[str, str]
    identity: NodeIdentity
    core: Simplex
    application: Application
    journal: VoteJournal | None
    slot_at: Callable[[int], int]
    feeds: Mapping[str, Callable[[StoredRecord], None]]
    on_final: FinalSink
    on_message: Callable[[StoredRecord, bytes], None] | None = None
    undecodable: int = 0
    metrics: Metrics = NO_METRICS
    _registry: SchemaRegistry = field(init=False)
    _timer: int | None = 0
    _has_work: bool = False
    _waiting: dict[bytes, CheckBlock] = field(default_factory=dict)
    _unwritten: list[bytes] = field(default_factory=list)
    _outgoing: list[Broadcast] = field(default_factory=list)
    _log_millis: int = 0
    _wall_millis: int = 0
    _set_back_millis: int = 0

    def __post_init__(self) -> None:
        """Looks for schemas of other versions on the log."""
        self._registry = registry_of(self.log)

    def pump(self, now_millis: int) -> bool:
        """Takes in what the log has, acts on it, and says whether anything was there.

        A clock that was set back stops no timer: the core's time stands still at that moment and goes on.

        Raises:
            HaltedError: The core has raised an alarm.
            LogError: The log does not take what must be published.
        """
        self._set_back_millis += max(0, self._wall_millis - now_millis)
        self._wall_millis = now_millis
        self.core.latest_slot = self.slot_at(now_millis + CLOCK_SKEW_MILLIS)
        records = self.reader.poll(POLL_RECORDS)
        begun = time.perf_counter()
        events: list[Event] = []
        is_fed = False
        for record in records:
            self._log_millis = max(self._log_millis, record.append_millis)
            feed = self.feeds.get(record.topic)
            if feed is not None:
                feed(record)
                is_fed = True
            else:
                for message in self._messages(record):
                    if self.on_message is not None:
                        self.on_message(record, message)
                    events.append(MessageReceived(message))
        if self._timer is not None and now_millis + self._set_back_millis >= self._timer:
            self._timer = None
            events.insert(0, Tick())
            self.metrics.count(CONSENSUS_TIMEOUTS, self._shard)
        if is_fed:
            waiting, self._waiting = self._waiting, {}
            for request in waiting.values():
                events += self._check(request)
        for first in range(0, len(events), STEP_EVENTS):
            self._run(events[first : first + STEP_EVENTS], now_millis)
        if not events:
            self._run(events, now_millis)
        if records:
            self.metrics.observe(CONSENSUS_STEP_SECONDS, time.perf_counter() - begun, self._shard)
        return bool(records)

    def measure(self) -> None:
        """Records where it stands."""
        self.metrics.set(CONSENSUS_VIEW, self.core.view, self._shard)
        self.metrics.set(FINAL_HEIGHT, self.core.tip.height, self._shard)
        self.metrics.set(CONSENSUS_UNDECODABLE, self.undecodable, self._shard)

    def next_tick(self) -> int | None:
        """Returns when the core wants to be called again, UTC milliseconds; None when it does not."""
        return None if self._timer is None else self._timer - self._set_back_millis

    def close(self) -> None:
        """Gives the journal back."""
        if self.journal is not None:
            self.journal.close()

    @property
    def _shard(self) -> str:
        return shard_label(self.identity.committee.shard)

    @contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.metrics.observe(BLOCK_SECONDS, time.perf_counter() - begun, self._shard, kind)

    def _messages(self, record: StoredRecord) -> Iterable[bytes]:
        fingerprint = record.header(SCHEMA_HEADER).decode("ascii", "replace")
        try:
            batch = self._registry.decode(CONSENSUS, fingerprint, record.value)
        except WireError:
            self.undecodable += 1
            return []
        messages: list[bytes] = batch.column("message").to_pylist()
        return [message for message in messages if len(message) <= MAX_MESSAGE_BYTES]

    def _run(self, events: Sequence[Event], now_millis: int) -> None:
        inbox: deque[Event] = deque(events)
        while True:
            core_millis = now_millis + self._set_back_millis
            actions = self.core.step(list(inbox), core_millis) if inbox else []
            inbox.clear()
            for action in actions:
                inbox.extend(self._perform(action, now_millis))
            if not inbox:
                inbox.extend(self._news_of_work(now_millis))
            if not inbox:
                break
        self._publish(now_millis)

    def _perform(self, action: Action, now_millis: int) -> Iterable[Event]:
        match action:
            case Journal(records):
                if self.journal is None:
                    raise InvariantError("an observer has nothing to journal")
                self._unwritten += records
            case Broadcast():
                self._outgoing.append(action)
                self.metrics.count(CONSENSUS_MESSAGES, self._shard, action.kind)
            case CheckBlock():
                with self._timed("check"):
                    return self._check(action)
            case BuildProposal():
                with self._timed("build"):
                    return [self._build(action, now_millis)]
            case Finalized(block, certificate):
                with self._timed("finalize"):
                    self.application.finalize(block.hash)
                self.on_final(block, certificate, self._log_millis or now_millis)
            case SetTimer(at_millis):
                self._timer = at_millis
            case Alarm(reason):
                raise HaltedError(
                    f"consensus halted: {reason}",
                    "more than f validators misbehave; look at the log",
                )
            case Evidence(equivocation):
                self._accuse(encode_evidence(equivocation), now_millis)
        return []

    def _accuse(self, evidence: bytes, now_millis: int) -> None:
        """Puts evidence of a contradiction on the log; one observer does it for all."""
        if self.identity.own_index is None:
            self.log.append(FAULTS, [message_record(OBSERVER, evidence, now_millis)])

    def _check(self, request: CheckBlock) -> list[Event]:
        block = request.block
        header = block.header
        verdict = self.application.check(
            block.hash,
            header.parent_hash,
            header.height,
            header.slot,
            BlockContent(
                block.payload,
                header.transactions_root,
                header.post_state_root,
                header.transaction_count,
            ),
        )
        if verdict.state is CheckState.MISSING:
            self._waiting[block.hash] = request
        return [BlockChecked(block.hash, verdict)]

    def _build(self, request: BuildProposal, now_millis: int) -> Event:
        now = self.application.slot_of(request.parent_hash, self.slot_at(now_millis))
        slot = max(request.parent_slot, now)
        content = self.application.build(
            request.parent_hash, request.parent_height + 1, slot, required=request.required
        )
        if content is None:
            return ProposalUnavailable(request.view)
        return ProposalBuilt(request.view, request.parent_hash, slot, content)

    def _news_of_work(self, now_millis: int) -> list[Event]:
        """Tells the core when the branch it would build on has, or no longer has, something to propose."""
        if self.identity.own_index is None:
            return []
        parent = self.core.best_parent()
        slot = self.slot_at(now_millis)
        has_work = parent is not None and self.application.has_work(
            parent.hash, max(parent.slot, slot)
        )
        if has_work == self._has_work:
            return []
        self._has_work = has_work
        return [WorkAvailable(has_work)]

    def _publish(self, now_millis: int) -> None:
        """Writes the journal, in one go for everything this step has signed, and only then lets it out."""
        if self.journal is not None and self._unwritten:
            self.journal.append(self._unwritten)
            self._unwritten = []
        outgoing, self._outgoing = self._outgoing, []
        by_topic: dict[str, list[Record]] = {}
        sender = OBSERVER if self.identity.own_index is None else self.identity.own_index
        for broadcast in outgoing:
            record = message_record(sender, broadcast.message, now_millis)
            by_topic.setdefault(self.topics[broadcast.kind], []).append(record)
        for topic, records in by_topic.items():  # what the log loses is sent again from the journal
            self.log.append(topic, records, is_durable=False)


def message_record(sender: int, message: bytes, now_millis: int) -> Record:
    """Returns the log record of a consensus message."""
    row = {"sender": sender, "message": message, "sent_millis": now_millis}
    headers, body = encode(CONSENSUS, CONSENSUS.batch([row]))
    return Record(body, headers)
