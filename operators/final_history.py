"""Final blocks as they stand in the log, verified again by everyone who starts from them.

The log is trusted with nothing: a block counts only with a quorum's certificate of it or of a descendant, on
the block before it, and after the application has executed it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from operators.application import Application, BlockContent, CheckState
from operators.claimed_blocks import ClaimedBlocks
from operators.consensus_chain import FinalTip
from operators.consensus_messages import Chain, decode_certificate, decode_message
from operators.consensus_node import OBSERVER, FinalBlock, NodeIdentity
from operators.consensus_votes import CertificateRejected, check_certificate
from operators.event_log import EventLog
from operators.topic_view import TopicView
from schemas.block import Block, Certificate, Phase, header_from_bytes
from schemas.errors import InvariantError, WireError
from schemas.tables import BLOCKS, CONSENSUS
from schemas.topics import BEACON, shard_topic

_logger = logging.getLogger(__name__)


def shard_blocks(log: EventLog, shard: int) -> Iterator[FinalBlock]:
    """Yields what `blocks.<shard>` holds, not verified."""
    for row in TopicView(log).rows(shard_topic("blocks", shard), BLOCKS):
        try:
            block = Block(header_from_bytes(row["header"]), row["payload"])
            yield block, decode_certificate(row["certificate"])
        except WireError as error:
            _logger.warning("a row is no block: %s", error, extra={"shard": shard})


def beacon_blocks(log: EventLog) -> Iterator[FinalBlock]:
    """Yields the final blocks of the beacon that its observer has written down, not verified."""
    for row in TopicView(log).rows(BEACON, CONSENSUS):
        yield from blocks_in(row)


def blocks_in(row: Mapping[str, Any]) -> Iterator[FinalBlock]:
    """Yields the final blocks in a row of the beacon's topic, not verified; only its observer's rows have any."""
    if row["sender"] != OBSERVER:
        return
    try:
        message = decode_message(row["message"])
    except WireError:
        return
    if isinstance(message, Chain) and message.certificate is not None:
        for block in message.blocks:
            yield block, message.certificate


@dataclass(slots=True)
class CertifiedChain:
    """Final blocks that a quorum's certificates hold up, one after the other, without executing them.

    Attributes:
        identity: Whose committee must have signed.
        tip: Hash of the last certified block.
        height: Its height.
    """

    identity: NodeIdentity
    tip: bytes
    height: int
    _claimed: ClaimedBlocks[Block] = field(default_factory=ClaimedBlocks)

    def take(self, block: Block, certificate: Certificate) -> list[Block]:
        """Takes the next block with its certificate or that of a descendant; returns what is certified by it.

        A block that does not follow is passed over.
        """
        header = block.header
        if header.height <= self.height:
            return []
        if not self._claimed.follows(header, self.height, self.tip):
            ids = {"shard": header.shard, "height": header.height}
            _logger.warning("a final block does not follow: passed over", extra=ids)
            return []
        if certificate.ballot.block_hash != block.hash:
            self._claimed.add(header, block)
            return []
        if not _is_certified(certificate, self.identity):
            return []
        run = self._claimed.settle(header, block, self.tip)
        self.tip, self.height = block.hash, header.height
        return run


def replay(
    application: Application,
    identity: NodeIdentity,
    tip: FinalTip,
    history: Iterable[FinalBlock],
    keep: int,
) -> tuple[FinalTip, list[FinalBlock]]:
    """Makes the blocks above a tip final in an application.

    Args:
        application: Stands at `tip`.
        identity: Whose committee must have signed.
        tip: Where to begin.
        history: (block, certificate of it or of a descendant), heights rising; others are passed over.
        keep: How many of the last final blocks to return.

    Returns:
        The new tip, and the last blocks with their certificates, older ones than `tip` included.

    Raises:
        InvariantError: A certified block does not execute: this program or the quorum is wrong.
    """
    recent: deque[FinalBlock] = deque(maxlen=keep)
    chain = CertifiedChain(identity, tip.hash, tip.height)
    at = tip
    for block, certificate in history:
        if block.header.height <= tip.height:
            recent.append((block, certificate))
            continue
        for final in chain.take(block, certificate):
            execute_final(application, final)
            recent.append((final, certificate))
            header = final.header
            at = FinalTip(final.hash, header.height, header.slot, header.view)
    return at, list(recent)


def _is_certified(certificate: Certificate, identity: NodeIdentity) -> bool:
    if certificate.ballot.phase is not Phase.FINALIZE:
        return False
    try:
        check_certificate(certificate, identity.committee, identity.verifier)
    except CertificateRejected as error:
        _logger.warning("a certificate on the log does not hold: %s", error)
        return False
    return True


def execute_final(application: Application, block: Block) -> None:
    """Executes a certified block and makes it final.

    Raises:
        InvariantError: It does not execute: this program or the quorum is wrong.
    """
    header = block.header
    content = BlockContent(
        block.payload,
        header.transactions_root,
        header.post_state_root,
        header.transaction_count,
    )
    verdict = application.check(block.hash, header.parent_hash, header.height, header.slot, content)
    if verdict.state is not CheckState.VALID:
        raise InvariantError(
            f"final block {header.height} does not execute: {verdict.state} {verdict.reason}"
        )
    application.finalize(block.hash)
