"""Repeating and helping: how validators recover from loss without any request path but broadcast.

While nothing moves, a validator repeats its own last messages and says where it stands. Those whose turn it is
answer one that is behind with certificates and blocks. Everything is bounded: items per answer, answers per
asker and interval, repeats per hint.
"""

from __future__ import annotations

from dataclasses import replace

from operators.consensus_chain import BlockTree, FinalTip
from operators.consensus_messages import (
    Chain,
    Status,
    encode_certificate,
    encode_chain,
    encode_proposal,
    encode_status,
    encode_vote,
    status_signed_bytes,
)
from operators.consensus_ports import Action, Broadcast, ConsensusConfig, Signer
from operators.consensus_votes import Committee, ViewRecord
from schemas.block import ZERO_HASH, Phase, Vote

HINT_REPEATS = 3
"""Statuses sent after the start, or after another validator claims to be ahead, before falling silent."""

FINALIZE_REPEATS = 4
"""Highest views whose own finalize votes are repeated."""


class CatchUp:
    """The timer of repeats and the rules of answering.

    Attributes:
        due_at: When to repeat next, or None.
    """

    def __init__(self, committee: Committee, config: ConsensusConfig) -> None:
        self._committee = committee
        self._config = config
        self.due_at: int | None = None
        self._attempt = 0
        self._sent = 0
        self._hints = 0
        self._answered: dict[int, int] = {}

    def start(self, now_millis: int) -> None:
        """Starts repeating, if it is not running."""
        if self.due_at is None:
            self.due_at = now_millis + self._config.resend_after_millis(0)

    def reset(self) -> None:
        """Stops repeating and forgets the back-off: something has moved."""
        self._attempt = 0
        if self._hints == 0:
            self.due_at = None

    def hint(self, now_millis: int) -> None:
        """Asks a few times: another validator claims to be ahead, or this one has just started."""
        self._hints = HINT_REPEATS
        self.start(now_millis)

    def is_due(self, now_millis: int) -> bool:
        """Says whether it is time to repeat."""
        return self.due_at is not None and now_millis >= self.due_at

    def again(self, now_millis: int, *, keep: bool) -> None:
        """Sets the next repeat, or none when nothing is wanted and the hints are spent."""
        self._attempt += 1
        self._hints = max(0, self._hints - 1)
        going_on = keep or self._hints > 0
        pause = self._config.resend_after_millis(self._attempt)
        self.due_at = now_millis + pause if going_on else None

    def repeats(self, view: int, records: dict[int, ViewRecord]) -> list[tuple[str, bytes]]:
        """Returns one's own last messages: certificates into this view, proposal, votes."""
        found: list[tuple[str, bytes]] = []
        below = records.get(view - 1)
        if below is not None:
            found += [("certificate", encode_certificate(c)) for c in below.certificates.values()]
        record = records.get(view)
        if record is not None:
            mine = record.own.get(Phase.PROPOSE)
            if mine is not None and mine.ballot.block_hash in record.proposals:
                proposal = record.proposals[mine.ballot.block_hash]
                found.append(("proposal", encode_proposal(proposal)))
            votes = (record.own.get(phase) for phase in (Phase.NOTARIZE, Phase.NULLIFY))
            found += [("vote", encode_vote(vote)) for vote in votes if vote is not None]
        finalized = [v for v in sorted(records) if Phase.FINALIZE in records[v].own]
        for earlier in finalized[-FINALIZE_REPEATS:]:
            found.append(("vote", encode_vote(records[earlier].own[Phase.FINALIZE])))
        return found

    def status(
        self, own: int, view: int, tip: FinalTip, missing: bytes, records: dict[int, ViewRecord]
    ) -> Status:
        """Returns this validator's status, not yet signed."""
        gap = tip.view + 1
        while gap < view and gap in records and records[gap].certificates:
            gap += 1
        self._sent += 1
        committee = self._committee
        return Status(
            committee.chain,
            committee.shard,
            committee.epoch,
            tip.height,
            tip.view,
            view,
            gap,
            missing,
            self._sent,
            own,
            b"",
        )

    def signed(self, status: Status, signer: Signer) -> Broadcast:
        """Signs a status and wraps it for publishing."""
        signature = signer.sign(status_signed_bytes(self._committee.context, status))
        return Broadcast("status", encode_status(replace(status, signature=signature)))

    def answer(
        self,
        status: Status,
        *,
        own: int,
        view: int,
        tree: BlockTree,
        records: dict[int, ViewRecord],
        now_millis: int,
    ) -> list[Action]:
        """Returns what a validator that is behind needs next, when it is this one's turn to say it."""
        size = self._committee.size
        turn = (own - status.signer - status.attempt) % size
        if size > self._config.responders + 1 and not turn < self._config.responders:
            return []
        last = self._answered.get(status.signer)
        if last is not None and now_millis - last < self._config.resend_millis // 2:
            return []
        messages = self._final_chains(status, tree)
        if status.wanted != ZERO_HASH:
            blocks = tree.branch(status.wanted, self._config.chain_blocks)
            if blocks:
                messages.append(("chain", encode_chain(Chain(blocks, None))))
        messages += self._certificates(status, view, tree, records)
        if messages:
            self._answered[status.signer] = now_millis
        return [Broadcast(kind, message) for kind, message in messages]

    def _final_chains(self, status: Status, tree: BlockTree) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        height = status.final_height
        while len(found) < self._config.answer_items:
            run = tree.final_run(height, self._config.chain_blocks)
            if run is None:
                break
            blocks, certificate = run
            found.append(("chain", encode_chain(Chain(blocks, certificate))))
            height = blocks[-1].header.height
        return found

    def _certificates(
        self, status: Status, view: int, tree: BlockTree, records: dict[int, ViewRecord]
    ) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        first = max(status.gap_view, tree.tip.view + 1)
        for earlier in range(first, view):
            if len(found) >= self._config.answer_items:
                break
            record = records.get(earlier)
            if record is not None and record.certificates:
                held = record.certificates.values()
                found += [("certificate", encode_certificate(c)) for c in held]
            elif record is not None and earlier == status.gap_view:
                found += [("vote", encode_vote(vote)) for vote in _own_votes(record)]
        return found


def _own_votes(record: ViewRecord) -> list[Vote]:
    """Returns one's own votes of a view that was left: its certificate may have been lost with who put it together."""
    phases = (Phase.NOTARIZE, Phase.NULLIFY, Phase.FINALIZE)
    return [record.own[phase] for phase in phases if phase in record.own]
