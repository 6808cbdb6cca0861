"""What the beacon has made final, read from the log without trusting it: accepted windows, and days with a certificate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from operators.consensus_chain import genesis_tip
from operators.final_history import CertifiedChain, blocks_in
from operators.validator import identity_of
from schemas.beacon_payload import WindowAcceptance, decode_acceptances
from schemas.block import Block
from schemas.genesis import Genesis
from schemas.run import RunStatement
from schemas.topics import BEACON_SHARD


@dataclass(frozen=True, slots=True)
class AcceptedWindow:
    """A window whose proofs the beacon has accepted.

    Attributes:
        said: Its shard, number and proofs.
        at_millis: Begin of the slot of the beacon's block, UTC milliseconds.
    """

    said: WindowAcceptance
    at_millis: int


@dataclass(frozen=True, slots=True)
class AcceptedDay:
    """A day that the beacon has accepted.

    Attributes:
        run: Its statement.
        at_millis: Begin of the slot of the beacon's block, UTC milliseconds.
    """

    run: RunStatement
    at_millis: int


@dataclass(slots=True)
class BeaconHistory:
    """Everything accepted, in order.

    Attributes:
        windows: By shard and number.
        days: Days.
    """

    windows: dict[tuple[int, int], AcceptedWindow] = field(default_factory=dict)
    days: list[AcceptedDay] = field(default_factory=list)

    def day_with(self, window: int) -> AcceptedDay | None:
        """Returns the day that holds a window, if it is accepted."""
        for day in self.days:
            if day.run.first_window <= window < day.run.end_window:
                return day
        return None

    def take(self, block: Block, at_millis: int) -> None:
        """Takes the next final block, of a time.

        Raises:
            WireError: It has no payload of the beacon.
        """
        said = decode_acceptances(block.payload)
        for window in said.windows:
            self.windows[window.shard, window.window] = AcceptedWindow(window, at_millis)
        if said.run is not None:
            self.days.append(AcceptedDay(said.run.run, at_millis))


def read_beacon(rows: Iterable[Mapping[str, Any]], genesis: Genesis) -> BeaconHistory:
    """Returns what final blocks among rows of the topic `beacon` accept.

    A block counts with a quorum's certificate of it or of a descendant, on the block before it. What such a block
    says was judged by the quorum.

    Raises:
        WireError: A block that a quorum made final has no payload of the beacon; a newer version is needed.
    """
    identity = identity_of(genesis, BEACON_SHARD, None, None)
    tip = genesis_tip(genesis.chain, BEACON_SHARD)
    chain, found = CertifiedChain(identity, tip.hash, tip.height), BeaconHistory()
    for row in rows:
        for block, certificate in blocks_in(row):
            for final in chain.take(block, certificate):
                slot_millis = final.header.slot * genesis.slot_micros // 1000
                found.take(final, genesis.start_millis + slot_millis)
    return found
