"""What the log says of a shard, folded row by row, and every sign that two histories are told.

Votes and certificates are taken as signed: the chain watched is one's own. Blocks are not: certificates are verified,
and every block is executed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from operators.audit_blocks import SUPPLY_PARTS
from operators.consensus_chain import FinalTip
from operators.consensus_messages import decode_message
from operators.export_rows import supply_row
from operators.final_history import CertifiedChain, execute_final
from operators.shard_application import ShardApplication
from schemas.block import Block, Certificate, Phase, Proposal, Vote
from schemas.errors import InvariantError, WireError


@dataclass(slots=True)
class History:
    """The one history of a shard, as far as the log has told it.

    Attributes:
        chain: Verifies certificates and the order of blocks.
        application: Executes every block again; its feeds are the caller's.
        tip: The last final block.
        by_view: Hash of the final block of each view that has one.
        last_vote: Offset of each validator's last vote.
        problems: What must not be, in words.
    """

    chain: CertifiedChain
    application: ShardApplication
    tip: FinalTip
    by_view: dict[int, bytes] = field(default_factory=dict)
    last_vote: dict[int, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _votes: dict[tuple[int, int, Phase], bytes] = field(default_factory=dict)
    _certified: dict[tuple[int, Phase], bytes] = field(default_factory=dict)
    _heights: list[bytes] = field(default_factory=list)

    def take_message(self, message: bytes, offset: int) -> None:
        """Takes a proposal, a vote or a certificate."""
        try:
            decoded = decode_message(message)
        except WireError:
            self.problems.append("a consensus message cannot be read")
            return
        if isinstance(decoded, Proposal):
            self._vote(decoded.vote)
        elif isinstance(decoded, Vote):
            self.last_vote[decoded.signer] = offset
            self._vote(decoded)
        elif isinstance(decoded, Certificate):
            self._certify(decoded)

    def take_block(self, block: Block, certificate: Certificate) -> None:
        """Takes a row of final blocks, in the order of the log."""
        self._certify(certificate)
        if block.header.height <= len(self._heights):
            self.problems.append(f"height {block.header.height} is written down twice")
            return
        for final in self.chain.take(block, certificate):
            try:
                execute_final(self.application, final)
            except InvariantError as error:
                self.problems.append(str(error))
                return
            header = final.header
            self.tip = FinalTip(final.hash, header.height, header.slot, header.view)
            self.by_view[header.view] = final.hash
            self._heights.append(final.hash)
            self._compare(header.view)

    def hash_at(self, height: int) -> bytes | None:
        """Returns the hash of the final block of a height, from 1 on."""
        return self._heights[height - 1] if 0 < height <= len(self._heights) else None

    def check_supply(self) -> Mapping[str, Any]:
        """Compares where every unit is with what was issued, and returns the row."""
        row = supply_row(self.application.final.ledger)
        parts = sum(row[name] for name in SUPPLY_PARTS)
        if parts != row["issued"] or parts + row["reserve"] != row["cap"]:
            self.problems.append(f"the supply does not add up at height {self.tip.height}")
        return row

    def _vote(self, vote: Vote) -> None:
        ballot = vote.ballot
        place = (vote.signer, ballot.view, ballot.phase)
        if self._votes.setdefault(place, ballot.block_hash) != ballot.block_hash:
            self.problems.append(f"validator {vote.signer} said two things in view {ballot.view}")
        both = {(vote.signer, ballot.view, phase) for phase in (Phase.NULLIFY, Phase.FINALIZE)}
        if both <= self._votes.keys() and place in both:
            self.problems.append(
                f"validator {vote.signer} skipped and finalised view {ballot.view}"
            )

    def _certify(self, certificate: Certificate) -> None:
        ballot = certificate.ballot
        place = (ballot.view, ballot.phase)
        if self._certified.setdefault(place, ballot.block_hash) != ballot.block_hash:
            self.problems.append(f"two blocks are certified in view {ballot.view}")
        self._compare(ballot.view)

    def _compare(self, view: int) -> None:
        final = self._certified.get((view, Phase.FINALIZE))
        if final is None:
            return
        if (view, Phase.NULLIFY) in self._certified:
            self.problems.append(f"view {view} is both skipped and final")
        if self.by_view.get(view, final) != final:
            self.problems.append(f"the blocks written down leave the certificate of view {view}")
