"""How far each shard's windows are accepted, followed on the beacon's topic for those who must not run ahead of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from operators.consensus_chain import genesis_tip
from operators.event_log import EventLog
from operators.final_history import CertifiedChain, blocks_in
from operators.topic_view import TopicView
from operators.validator import identity_of
from schemas.beacon_payload import decode_acceptances
from schemas.genesis import Genesis
from schemas.tables import CONSENSUS
from schemas.topics import BEACON, BEACON_SHARD


@dataclass(slots=True)
class AcceptedTips:
    """The last accepted window of every shard, with the beacon's certificates checked.

    Attributes:
        log: The log; it is read, and no position is kept on it.
        genesis: The chain.
    """

    log: EventLog
    genesis: Genesis
    _view: TopicView = field(init=False)
    _chain: CertifiedChain = field(init=False)
    _windows: dict[int, int] = field(default_factory=dict)
    _next: int = 0

    def __post_init__(self) -> None:
        """Begins before the beacon's first block."""
        tip = genesis_tip(self.genesis.chain, BEACON_SHARD)
        identity = identity_of(self.genesis, BEACON_SHARD, None, None)
        self._view = TopicView(self.log)
        self._chain = CertifiedChain(identity, tip.hash, tip.height)

    def is_too_far(self, shard: int, open_window: int, max_ahead: int) -> bool:
        """Whether a shard has so many windows closed, but not accepted, that no further one is to be planned.

        The beacon is read only when that is possible at all.

        Args:
            shard: Shard.
            open_window: Its first window that is not closed.
            max_ahead: Windows that may be closed and not accepted; >= 1.

        Raises:
            WireError: A final block of the beacon is of a newer version.
            LogError: The log cannot be read.
        """
        if open_window - 1 - self._windows.get(shard, -1) < max_ahead:
            return False
        self._follow()
        return open_window - 1 - self._windows.get(shard, -1) >= max_ahead

    def _follow(self) -> None:
        for record, row in self._view.placed_rows(BEACON, CONSENSUS, self._next):
            for block, certificate in blocks_in(row):
                for final in self._chain.take(block, certificate):
                    for window in decode_acceptances(final.payload).windows:
                        self._windows[window.shard] = window.window
            self._next = record.offset + 1
