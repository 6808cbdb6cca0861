"""What the log says about blocks, windows and proofs so far: the progress of a chain, folded row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from operators.block_payload import decode_payload
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.ledger.state import compress_words
from proving.recursion.pyramid_work import read_said
from proving.recursion.span import Span
from schemas.block import genesis_hash, header_from_bytes
from schemas.errors import WireError
from schemas.genesis import Genesis
from schemas.job import JobEnvelope, JobEvent, ProofLevel, planned_envelope
from schemas.units import ZERO_WORD


@dataclass(slots=True)
class ChainView:
    """Progress of one shard; feed it the rows of its topics in log order.

    Attributes:
        genesis: Clock of the chain.
        shard: Shard.
        end_window: Windows from this one on are not looked at; None to look at all.
        height: Height of the last final block; 0 before the first.
        tip_window: Window of the last final block, or -1.
        tip: Its block hash; empty before the first.
        last_user_window: Window of the last block that held anything, or -1.
        filled_window: The same without `end_window`.
        ended_window: The last window with a block that a block of a later window has ended, or -1.
        closed_window: The last closed window without `end_window`, or -1.
        sent: Words put on the link to each other shard.
        received: Words taken from each other shard.
        window_segments: Number of segments of each closed window.
        window_transactions: Number of transactions of each closed window.
        planned: Jobs of segments planned, by id.
        accepted: Jobs of segments whose proof the beacon has accepted.
        nodes: Recursive jobs planned: level and the windows that they are about, half-open.
        kept: Recursive jobs whose proof is on file.
        accounts_root: Root of ACC after the last closed window.
        state_root: State root after the last final block; the zero word before the first.
    """

    genesis: Genesis
    shard: int = 0
    end_window: int | None = None
    height: int = 0
    tip_window: int = -1
    tip: bytes = b""
    last_user_window: int = -1
    filled_window: int = -1
    ended_window: int = -1
    closed_window: int = -1
    sent: Counter[int] = field(default_factory=Counter)
    received: Counter[int] = field(default_factory=Counter)
    window_segments: dict[int, int] = field(default_factory=dict)
    window_transactions: dict[int, int] = field(default_factory=dict)
    planned: set[bytes] = field(default_factory=set)
    accepted: set[bytes] = field(default_factory=set)
    nodes: dict[bytes, tuple[ProofLevel, range]] = field(default_factory=dict)
    kept: set[bytes] = field(default_factory=set)
    accounts_root: bytes = ZERO_WORD
    state_root: bytes = ZERO_WORD

    def add_block(self, row: Mapping[str, Any]) -> None:
        """Takes a row of `blocks.<shard>`; one that does not follow is passed over."""
        try:
            header = header_from_bytes(row["header"])
            content = decode_payload(row["payload"])
        except WireError:
            return
        before = self.tip or genesis_hash(self.genesis.chain, header.shard)
        if (header.height, header.parent_hash) != (self.height + 1, before):
            return
        self.tip, self.height = header.block_hash(), header.height
        self.state_root = header.post_state_root
        window = self.genesis.window_of(header.slot)
        if window > self.tip_window:
            self.ended_window = self.tip_window
        self.tip_window = window
        self.sent.update(entry.peer for entry in content.sent)
        self.received.update(entry.peer for entry in content.received)
        if header.transaction_count:
            self.filled_window = self.tip_window
            if not self.is_beyond(self.tip_window):
                self.last_user_window = self.tip_window

    def add_window(self, row: Mapping[str, Any]) -> None:
        """Takes a row of `windows.<shard>`."""
        self.accounts_root = row["accounts_root"] or ZERO_WORD
        self.closed_window = row["window"]
        if self.is_beyond(row["window"]):
            return
        self.window_segments[row["window"]] = row["segments"]
        self.window_transactions[row["window"]] = row["transactions"]

    def is_beyond(self, window: int) -> bool:
        """Whether a window lies past what is looked at."""
        return self.end_window is not None and window >= self.end_window

    def add_job(self, row: Mapping[str, Any]) -> None:
        """Takes a row of `jobs`."""
        job_id = row["job_id"]
        if row["event"] == JobEvent.PLANNED:
            envelope = planned_envelope(row)
            if envelope is None or self.is_beyond(envelope.window):
                return
            if envelope.level is not ProofLevel.SEGMENT:
                self._add_node(job_id, envelope)
            elif envelope.shard == self.shard:
                self.planned.add(job_id)
        elif row["event"] == JobEvent.ACCEPTED and job_id in self.planned:
            self.accepted.add(job_id)
        elif row["event"] == JobEvent.ACCEPTED and job_id in self.nodes:
            self.kept.add(job_id)

    def _add_node(self, job_id: bytes, envelope: JobEnvelope) -> None:
        try:
            said = read_said(envelope.statement)
        except WireError:
            return
        end = said.last_window + 1 if isinstance(said, Span) else said.end_window
        self.nodes[job_id] = envelope.level, range(said.first_window, end)

    def proven_days(self, windows_per_day: int) -> int:
        """Returns how many days from the first on have their proof on file."""
        kept = {self.nodes[job_id] for job_id in self.kept}
        days = 0
        while (
            ProofLevel.DAY,
            range(days * windows_per_day, (days + 1) * windows_per_day),
        ) in kept:
            days += 1
        return days

    @property
    def segments(self) -> int:
        """Segments of all closed windows."""
        return sum(self.window_segments.values())

    @property
    def is_sealed(self) -> bool:
        """Whether a block of a later epoch follows the last block that held transactions."""
        if self.last_user_window < 0:
            return True
        epoch_of = self.genesis.epoch_of
        return epoch_of(self.tip_window) > epoch_of(self.last_user_window)

    @property
    def is_settled(self) -> bool:
        """Whether every window in which anything happened is closed, so that `accounts_root` is of all of it."""
        return self.filled_window <= self.closed_window

    @property
    def is_planned(self) -> bool:
        """Whether every window that a block has ended is closed, with its jobs; whoever closes them may be behind."""
        return self.ended_window <= self.closed_window

    @property
    def is_proven(self) -> bool:
        """Whether every window with transactions is closed and every closed window proven and accepted."""
        return (
            self.last_user_window < self.tip_window or self.last_user_window < 0
        ) and self._windows_are_proven()

    def _windows_are_proven(self) -> bool:
        is_closed = self.last_user_window < 0 or self.last_user_window in self.window_segments
        return is_closed and len(self.accepted) >= self.segments


@dataclass(frozen=True, slots=True)
class ShardViews:
    """Progress of all shards of a chain.

    Attributes:
        shards: One view per shard, by number.
    """

    shards: tuple[ChainView, ...]

    def add_job(self, row: Mapping[str, Any]) -> None:
        """Takes a row of `jobs`."""
        for view in self.shards:
            view.add_job(row)

    def is_beyond(self, window: int) -> bool:
        """See `ChainView.is_beyond`."""
        return self.shards[0].is_beyond(window)

    @property
    def pyramid(self) -> dict[str, tuple[int, int]]:
        """Per level how many recursive proofs are on file, and how many are planned; every view knows all shards'."""
        view = self.shards[0]
        planned = Counter(level for level, _ in view.nodes.values())
        kept = Counter(view.nodes[job_id][0] for job_id in view.kept)
        return {
            level.value: (kept[level], planned[level]) for level in ProofLevel if planned[level]
        }

    @property
    def kept(self) -> int:
        """Recursive proofs on file."""
        return len(self.shards[0].kept)

    def proven_days(self, windows_per_day: int) -> int:
        """See `ChainView.proven_days`."""
        return self.shards[0].proven_days(windows_per_day)

    @property
    def height(self) -> int:
        """Final blocks of all shards."""
        return sum(view.height for view in self.shards)

    @property
    def segments(self) -> int:
        """Segments of all closed windows."""
        return sum(view.segments for view in self.shards)

    @property
    def accepted(self) -> int:
        """Proof jobs whose proof the beacon has accepted."""
        return sum(len(view.accepted) for view in self.shards)

    @property
    def windows(self) -> int:
        """Closed windows."""
        return sum(len(view.window_segments) for view in self.shards)

    @property
    def window_transactions(self) -> int:
        """Transactions of all closed windows."""
        return sum(sum(view.window_transactions.values()) for view in self.shards)

    @property
    def is_proven(self) -> bool:
        """See `ChainView.is_proven`."""
        return all(view.is_proven for view in self.shards)

    @property
    def is_planned(self) -> bool:
        """See `ChainView.is_planned`."""
        return all(view.is_planned for view in self.shards)

    @property
    def is_sealed(self) -> bool:
        """See `ChainView.is_sealed`."""
        return all(view.is_sealed for view in self.shards)

    @property
    def is_settled(self) -> bool:
        """See `ChainView.is_settled`."""
        return all(view.is_settled for view in self.shards)

    @property
    def is_delivered(self) -> bool:
        """Whether every shard has taken all that the others have sent to it."""
        return all(
            one.sent[other.shard] == other.received[one.shard]
            for one in self.shards
            for other in self.shards
        )

    @property
    def root(self) -> bytes:
        """The word that names what everybody owns after the last closed windows: see `global_root`.

        It is of accounts alone: a link's word depends on the order of what was sent and what came back on it, which
        depends on when the epochs of the shards ended.
        """
        return global_root([view.accounts_root for view in self.shards])


def shard_views(genesis: Genesis, end_window: int | None = None) -> ShardViews:
    """Returns the views of all shards before the first row; windows from `end_window` on are not looked at."""
    return ShardViews(
        tuple(ChainView(genesis, shard, end_window) for shard in range(genesis.shards))
    )


def global_root(roots: Sequence[bytes]) -> bytes:
    """Returns the root of a binary tree over a word of every shard, filled up with zero words; at least one."""
    hasher = NumpyHasher()
    level = list(roots)
    while len(level) > 1:
        level += [ZERO_WORD] * (len(level) % 2)
        level = [
            compress_words(hasher, level[place], level[place + 1])
            for place in range(0, len(level), 2)
        ]
    return level[0]
