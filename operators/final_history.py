"""Final blocks as they stand in the log, verified again by everyone who starts from them.

The log is trusted with nothing: a block counts only with a quorum's certificate of it or of a descendant, on
the block before it, and after the application has executed it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator

from operators.application import Application, BlockContent, CheckState
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
            _logger.warning("a row of blocks.%d is no block: %s", shard, error)


def beacon_blocks(log: EventLog) -> Iterator[FinalBlock]:
    """Yields the final blocks of the beacon that its observer has written down, not verified."""
    for row in TopicView(log).rows(BEACON, CONSENSUS):
        if row["sender"] != OBSERVER:
            continue
        try:
            message = decode_message(row["message"])
        except WireError:
            continue
        if isinstance(message, Chain) and message.certificate is not None:
            for block in message.blocks:
                yield block, message.certificate


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
    run: list[Block] = []
    at = tip
    for block, certificate in history:
        header = block.header
        if header.height <= tip.height:
            recent.append((block, certificate))
            continue
        last = run[-1] if run else None
        parent = (at.hash, at.height) if last is None else (last.hash, last.header.height)
        if (header.parent_hash, header.height - 1) != parent:
            _logger.warning(
                "a final block at height %d does not follow: passed over", header.height
            )
            continue
        run.append(block)
        if certificate.ballot.block_hash != block.hash:
            continue
        if _is_certified(certificate, identity):
            for final in run:
                _apply(application, final)
                recent.append((final, certificate))
            at = FinalTip(block.hash, header.height, header.slot, header.view)
        run = []
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


def _apply(application: Application, block: Block) -> None:
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
