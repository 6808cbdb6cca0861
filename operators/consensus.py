"""Simplex consensus of one shard or of the beacon, as a pure state machine.

Protocol (Chan and Pass, "Simplex Consensus", eprint 2023/463): in each view one leader proposes a block on a
notarised parent, all views between being nullified. A validator notarises the first proposal it finds valid;
after a timeout it nullifies. A quorum of either moves it to the next view. On a notarisation it votes to
finalise unless it has nullified that view, and it never does both; so a final block excludes a nullified view
and every later block descends from it.

Safety rests on one's own signatures alone: each is journaled before it is published, and none contradicts an
earlier one, also after a restart. The medium is trusted with nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from operators.application import CheckState
from operators.consensus_branches import best_parent, header_of, highest_certified, is_justified
from operators.consensus_catchup import CatchUp
from operators.consensus_chain import BlockTree, FinalTip, Standing
from operators.consensus_intake import Intake, unwanted
from operators.consensus_messages import (
    Message,
    Status,
    decode_message,
    encode_certificate,
    encode_proposal,
    encode_vote,
)
from operators.consensus_ports import (
    ANY_SLOT,
    Action,
    Alarm,
    AlarmReason,
    BlockChecked,
    Broadcast,
    BuildProposal,
    CheckBlock,
    ConsensusConfig,
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
from operators.consensus_votes import Committee, ViewRecord, sign_once
from schemas.block import (
    ZERO_HASH,
    Ballot,
    Block,
    Certificate,
    Equivocation,
    Phase,
    Proposal,
    Vote,
    block_ballot,
    fault_bound,
)
from schemas.errors import ParameterError


class Simplex:
    """One validator's, or one observer's, consensus core.

    Not thread-safe; owned by one driver, which executes the actions of `step` in order (see `consensus_ports`).

    Attributes:
        committee: Where it works.
        own_index: Its index in the validator set, or None for an observer that never signs.
        view: Current view.
        tree: Blocks above the last final one.
        floor: Views up to here are never signed in again, because the journal no longer knows them.
        latest_slot: Slot beyond which no proposal may move the chain, by the driver's clock; it keeps this up.
        is_halted: An `Alarm` was raised; further events are ignored.
    """

    def __init__(
        self,
        committee: Committee,
        own_index: int | None,
        signer: Signer,
        verifier: Verifier,
        *,
        config: ConsensusConfig,
        tip: FinalTip,
        journal: Sequence[bytes] = (),
        floor: int = 0,
        recent: Sequence[tuple[Block, Certificate]] = (),
        decode: Callable[[bytes], Message] = decode_message,
    ) -> None:
        """Starts above a final block.

        Args:
            committee: Chain, shard, epoch and validators.
            own_index: Index of this validator, None to observe.
            signer: Signs with this validator's key.
            verifier: Checks signatures of the committee.
            config: Times and limits.
            tip: Last block that the application has made final.
            journal: Records of earlier `Journal` actions, in order; trusted (the file is checksummed).
            floor: Floor of the journal.
            recent: The last final blocks with their certificates, heights rising up to the tip, as they stand
                in the log; without them a restarted validator cannot help one that is behind.
            decode: `decode_message`, or a cached form of it.

        Raises:
            ParameterError: The index is outside the committee.
            WireError: A journal record is not one of this program's.
        """
        if own_index is not None and not 0 <= own_index < committee.size:
            raise ParameterError(f"validator {own_index} is not one of {committee.size}")
        self.committee = committee
        self.own_index = own_index
        self.tree = BlockTree(tip, config.retained_blocks)
        self.tree.retained.extend(recent)
        self.view = tip.view + 1
        self.floor = floor
        self.latest_slot = ANY_SLOT
        self.is_halted = False
        self._signer = signer
        self._config = config
        self._quorum = committee.validators.quorum
        self._intake = Intake(committee, verifier, decode)
        self._records: dict[int, ViewRecord] = {}
        self._top = tip.view
        self._to_finalize: set[int] = set()
        self._accused: set[tuple[int, int, int, int, int]] = set()
        self._missing = ZERO_HASH
        self._now = 0
        self._actions: list[Action] = []
        self._work = False
        self._armed = False
        self._deadline: int | None = None
        self._entered_at = 0
        self._block_at = -config.block_interval_millis
        self._asked_build: tuple[int, bool] | None = None
        self._unavailable_in = 0
        self._asked_parent = ZERO_HASH
        self._timer: int | None = None
        self._catch_up = CatchUp(committee, config)
        self._resume(journal, decode)

    @property
    def dropped(self) -> Counter[str]:
        """Messages refused so far, by reason."""
        return self._intake.dropped

    @property
    def tip(self) -> FinalTip:
        """The last final block."""
        return self.tree.tip

    def durable_records(self) -> tuple[bytes, ...]:
        """Returns what a journal must keep when its floor is raised to `tip.view`."""
        kept: list[bytes] = []
        for view in sorted(self._records):
            record = self._records[view]
            own = record.own
            voted = own.get(Phase.NOTARIZE) or own.get(Phase.PROPOSE)
            proposal = None if voted is None else record.proposals.get(voted.ballot.block_hash)
            if proposal is not None:
                kept.append(encode_proposal(proposal))
            if Phase.FINALIZE in own and Phase.NOTARIZE in record.certificates:
                kept.append(encode_certificate(record.certificates[Phase.NOTARIZE]))
            kept += [encode_vote(vote) for phase, vote in own.items() if phase != Phase.PROPOSE]
        return tuple(kept)

    def state_lines(self) -> list[bytes]:
        """Returns what, beside `durable_records`, decides how the core goes on; for comparing two cores."""
        lines = []
        for view in sorted(self._records):
            record = self._records[view]
            lines.append(b"view %d" % view)
            lines += record.state_lines()
            lines += [h + str(self.tree.verdict(h)).encode() for h in record.proposals]
        timers = (self._armed, self._deadline is None, self._work, self.is_halted)
        return [*lines, repr(timers).encode(), self._missing]

    def step(self, events: Sequence[Event], now_millis: int) -> list[Action]:
        """Takes in events and returns what is to be done, in order.

        Args:
            events: In order of arrival; signatures of all messages among them are verified together.
            now_millis: The driver's clock; must not go backwards.

        Returns:
            Actions. If one fails, the driver must execute none after it and restart from the journal.
        """
        if self.is_halted:
            return []
        self._now = max(self._now, now_millis)
        self._actions = []
        raw = [event.message for event in events if isinstance(event, MessageReceived)]
        messages = iter(self._intake.open(raw, self._unwanted) if raw else ())
        for event in events:
            if isinstance(event, MessageReceived):
                message = next(messages)
                changed = message is not None and self._on_message(message)
            else:
                changed = self._on_event(event)
            if changed:
                self._progress()
        if not self.is_halted:
            self._set_timer()
        return self._actions

    # What others say

    def _unwanted(self, message: Message) -> str | None:
        if isinstance(message, Status):
            return "own_message" if message.signer == self.own_index else None
        horizon = self.view + self._config.view_lookahead
        return unwanted(message, self.tree, self._records, horizon, self._missing)

    def _on_message(self, message: Message) -> bool:
        if isinstance(message, Vote):
            return self._on_vote(message)
        if isinstance(message, Proposal):
            return self._on_proposal(message)
        if isinstance(message, Certificate):
            return self._learn(message, assembled=False)
        if isinstance(message, Status):
            return self._on_status(message)
        for block in message.blocks:
            self.tree.add(block)
        if message.certificate is not None:
            self._learn(message.certificate, assembled=False)
        return True

    def _record(self, view: int) -> ViewRecord:
        record = self._records.get(view)
        if record is None:
            record = self._records[view] = ViewRecord(view)
        return record

    def _on_proposal(self, proposal: Proposal) -> bool:
        view = proposal.block.header.view
        if view <= self.tree.tip.view:
            return False
        record = self._record(view)
        earlier = next(iter(record.proposals.values()), None)
        if earlier is not None and earlier.block.hash != proposal.block.hash:
            self._accuse(record.add(proposal.vote))
        record.add(proposal.vote)
        record.proposals[proposal.block.hash] = proposal
        self.tree.add(proposal.block)
        if view == self.view:
            self._block_at = self._now
            self._arm()
        return True

    def _on_vote(self, vote: Vote) -> bool:
        view = vote.ballot.view
        if view <= self.tree.tip.view:
            return False
        record = self._record(view)
        self._accuse(record.add(vote))
        if vote.signer == self.own_index and not self._adopt(record, vote):
            return False
        if view == self.view:
            self._arm()
        certificate = record.assemble(vote.ballot, self._quorum)
        if certificate is not None:
            return self._learn(certificate, assembled=True)
        return vote.ballot.phase is Phase.NULLIFY and view == self.view

    def _adopt(self, record: ViewRecord, vote: Vote) -> bool:
        """Takes a vote under one's own key that the journal does not know as binding."""
        phase = vote.ballot.phase
        mine = record.own.setdefault(phase, vote)
        clash = Phase.NULLIFY in record.own and Phase.FINALIZE in record.own
        if mine.ballot != vote.ballot or clash:
            self._halt(AlarmReason.OWN_KEY_USED_ELSEWHERE)
            return False
        return True

    def _on_status(self, status: Status) -> bool:
        if self.own_index is not None:
            answers = self._catch_up.answer(
                status,
                own=self.own_index,
                view=self.view,
                tree=self.tree,
                records=self._records,
                now_millis=self._now,
            )
            self._actions.extend(answers)
        ahead = status.final_height > self.tree.tip.height or status.view > self.view
        if ahead:
            self._catch_up.hint(self._now)
        return False

    def _learn(self, certificate: Certificate, *, assembled: bool) -> bool:
        ballot = certificate.ballot
        if ballot.view <= self.tree.tip.view:
            return False
        record = self._record(ballot.view)
        if self._conflicts(record, certificate):
            return False
        if ballot.phase in record.certificates:
            return False
        for equivocation in record.contradictions(certificate):
            self._accuse(equivocation)
        record.certificates[ballot.phase] = certificate
        self._top = max(self._top, ballot.view)
        if ballot.phase is Phase.FINALIZE:
            self.tree.add_final(certificate)
        elif ballot.phase is Phase.NOTARIZE:
            self._to_finalize.add(ballot.view)
        publisher = self.committee.leader(ballot.view + (ballot.phase is not Phase.FINALIZE))
        if assembled and publisher == self.own_index:
            self._send("certificate", encode_certificate(certificate))
        return True

    def _conflicts(self, record: ViewRecord, certificate: Certificate) -> bool:
        """Halts when two certificates of one view cannot both exist with at most f Byzantine validators."""
        other = record.excluded_by(certificate)
        if other is None:
            return False
        for equivocation in record.contradictions(certificate):
            self._accuse(equivocation)
        self._halt(AlarmReason.CONFLICTING_CERTIFICATES, other, certificate)
        return True

    def _accuse(self, equivocation: Equivocation | None) -> None:
        if equivocation is not None and equivocation.key not in self._accused:
            self._accused.add(equivocation.key)
            self._actions.append(Evidence(equivocation))

    def _halt(self, reason: AlarmReason, *certificates: Certificate) -> None:
        self.is_halted = True
        self._actions.append(Alarm(reason, certificates))

    # What the driver says

    def _on_event(self, event: Event) -> bool:
        if isinstance(event, Tick):
            return self._on_tick()
        if isinstance(event, WorkAvailable):
            self._work = event.available
            if event.available:
                self._asked_build, self._unavailable_in = None, 0
                self._arm()
            return True
        if isinstance(event, BlockChecked):
            self.tree.record_verdict(event.block_hash, event.check.state)
            return True
        if isinstance(event, ProposalBuilt):
            return self._on_built(event)
        if isinstance(event, ProposalUnavailable) and event.view == self.view:
            self._unavailable_in = self.view
            if self._armed and not self._record(self.view).is_empty:
                self._nullify(self.view)
            return True
        return False

    def _on_tick(self) -> bool:
        if self._deadline is not None and self._now >= self._deadline:
            self._deadline = None
            self._nullify(self.view)
        if self._catch_up.is_due(self._now):
            self._resend()
        return True

    def _on_built(self, event: ProposalBuilt) -> bool:
        record = self._record(self.view)
        stale = event.view != self.view or event.parent_hash != self._asked_parent
        if stale or Phase.PROPOSE in record.own or Phase.NULLIFY in record.own:
            return False
        parent = self.best_parent()
        if parent is None or parent.hash != event.parent_hash:
            return False
        if event.slot < parent.slot:
            raise ParameterError(f"slot {event.slot} is below the parent's slot {parent.slot}")
        header = header_of(self.committee, self.view, parent, event.slot, event.content)
        self._propose(record, Block(header, event.content.payload), parent)
        return True

    def _propose(self, record: ViewRecord, block: Block, parent: FinalTip) -> None:
        vote = self._sign(record, block_ballot(block, Phase.PROPOSE))
        if vote is None:
            return
        proposal = Proposal(block, vote.signature)
        encoded = encode_proposal(proposal)
        self._actions.append(Journal((encoded,)))
        if parent.view not in {self.view - 1, self.tree.tip.view}:
            certificate = self._records[parent.view].certificates.get(Phase.NOTARIZE)
            if certificate is not None:
                self._send("certificate", encode_certificate(certificate))
        self._send("proposal", encoded)
        record.add(vote)
        record.proposals[block.hash] = proposal
        self.tree.add(block)
        self._block_at = self._now
        self._arm()

    # Signing

    def _sign(self, record: ViewRecord, ballot: Ballot) -> Vote | None:
        if self.own_index is None or self.is_halted or ballot.view <= self.floor:
            return None
        return sign_once(record, ballot, self.committee, self.own_index, self._signer)

    def _cast(self, record: ViewRecord, ballot: Ballot, *evidence: bytes) -> bool:
        vote = self._sign(record, ballot)
        if vote is None:
            return False
        encoded = encode_vote(vote)
        self._actions.append(Journal((*evidence, encoded)))
        self._send("vote", encoded)
        self._accuse(record.add(vote))
        certificate = record.assemble(ballot, self._quorum)
        if certificate is not None:
            self._learn(certificate, assembled=True)
        return True

    def _nullify(self, view: int) -> bool:
        return self._cast(self._record(view), self.committee.skip(view))

    def _send(self, kind: str, message: bytes) -> None:
        self._actions.append(Broadcast(kind, message))

    # The rules, applied until nothing changes

    def _progress(self) -> None:
        changed = True
        while changed and not self.is_halted:
            changed = self._enter_next_view()
            changed |= self._finalize_blocks()
            changed |= self._cast_finalize_votes()
            changed |= self._cast_notarize_vote()
            changed |= self._join_nullify()
        if not self.is_halted:
            self._follow_chain()
            self._ask_for_proposal()

    def _enter_next_view(self) -> bool:
        if self._top < self.view:
            return False
        self.view = self._top + 1
        self._entered_at = self._now
        self._armed, self._deadline, self._asked_build = False, None, None
        self._catch_up.reset()
        record = self._record(self.view)
        for proposal in record.proposals.values():
            if proposal.block.header.proposer == self.own_index:
                self._send("proposal", encode_proposal(proposal))
        for vote in record.own.values():
            if vote.ballot.phase is not Phase.PROPOSE:
                self._send("vote", encode_vote(vote))
        if record.proposals:
            self._block_at = self._now
        if self._is_active or not record.is_empty:
            self._arm()
        return True

    @property
    def _is_active(self) -> bool:
        """Says whether there is something to make final."""
        return (
            self._work
            or bool(self.tree.pending)
            or highest_certified(self._top, self.tree, self._records) is not None
        )

    def _arm(self) -> None:
        """Starts the view's timer, once; an idle view has none."""
        if self._armed:
            return
        self._armed = True
        if Phase.NULLIFY not in self._record(self.view).own:
            timeout = self._config.timeout_millis(self.view, self.tree.tip.view)
            self._deadline = self._now + timeout
        self._catch_up.start(self._now)

    def _finalize_blocks(self) -> bool:
        changed = False
        for certificate in self.tree.pending:
            if certificate.ballot.view <= self.tree.tip.view:
                continue
            found = self.tree.standing(certificate.ballot.block_hash)
            if found.standing in {Standing.INVALID, Standing.FORKED}:
                invalid = found.standing is Standing.INVALID
                reason = AlarmReason.FINAL_BLOCK_INVALID if invalid else AlarmReason.FORKED_FINALITY
                self._halt(reason, certificate)
                return False
            if found.standing is Standing.VALID:
                done = self.tree.finalize(certificate)
                self._actions.extend(Finalized(block, proof) for block, proof in done)
                changed = True
        if changed:
            self._forget()
        return changed

    def _forget(self) -> None:
        final_view = self.tree.tip.view
        self._records = {v: r for v, r in self._records.items() if v > final_view}
        self._to_finalize = {v for v in self._to_finalize if v > final_view}
        self._accused = {key for key in self._accused if key[3] > final_view}
        record = self._records.get(self.view)
        if not self._is_active and (record is None or not record.proposals):
            self._armed, self._deadline = False, None
            self._catch_up.reset()

    def _cast_finalize_votes(self) -> bool:
        changed = False
        while self._to_finalize:
            view = min(self._to_finalize)
            self._to_finalize.discard(view)
            record = self._records[view]
            notarization = record.certificates[Phase.NOTARIZE]
            judged = self.tree.verdict(notarization.ballot.block_hash)
            if Phase.FINALIZE in record.certificates or judged is CheckState.INVALID:
                continue
            ballot = replace(notarization.ballot, phase=Phase.FINALIZE)
            changed |= self._cast(record, ballot, encode_certificate(notarization))
        return changed

    def _cast_notarize_vote(self) -> bool:
        record = self._records.get(self.view)
        if record is None or not record.proposals or self.own_index is None:
            return False
        if Phase.NOTARIZE in record.own or Phase.NULLIFY in record.own:
            return False
        proposal = next(iter(record.proposals.values()))
        found = self._judge(proposal.block)
        if found is Standing.INVALID:
            return self._nullify(self.view)
        if found is not Standing.VALID:
            return False
        ballot = block_ballot(proposal.block, Phase.NOTARIZE)
        return self._cast(record, ballot, encode_proposal(proposal))

    def _judge(self, block: Block) -> Standing:
        """Judges the proposal of the current view, asking for what is not known yet."""
        head = block.header
        parent = self.tree.place_of(head.parent_hash)
        if parent is None or not is_justified(self.view, head, self.tree, self._records):
            return Standing.WAITING
        linked = (parent.height + 1, parent.view) == (head.height, head.parent_view)
        if not linked or not parent.slot <= head.slot <= max(parent.slot, self.latest_slot):
            return Standing.INVALID
        self._pursue(block.hash)
        return self.tree.standing(block.hash).standing

    def _join_nullify(self) -> bool:
        """Skips the view with f + 1 others, or with its leader when there is no proposal."""
        record = self._records.get(self.view)
        if record is None or self.own_index is None or Phase.NULLIFY in record.own:
            return False
        leader = self.committee.leader(self.view)
        voted = record.voters_in(Phase.NULLIFY, self.committee.size)
        if not voted:
            return False
        no_proposal = not record.proposals
        idle_leader = leader == self.own_index and not self._is_active
        given_up = no_proposal and (leader in voted or idle_leader)
        if given_up or len(voted) > fault_bound(self.committee.size):
            return self._nullify(self.view)
        return False

    def _follow_chain(self) -> None:
        """Asks for checks of certified blocks and notes the first one that is missing."""
        self._missing = ZERO_HASH
        for certificate in self.tree.pending:
            self._pursue(certificate.ballot.block_hash)
        notarized = highest_certified(self._top, self.tree, self._records)
        if notarized is not None:
            self._pursue(notarized)

    def _pursue(self, block_hash: bytes) -> None:
        found = self.tree.standing(block_hash)
        if found.missing is not None:
            self._missing = found.missing
        elif found.block is not None:
            self.tree.mark_asked(found.block.hash)
            self._actions.append(CheckBlock(found.block))

    # Leading

    def best_parent(self) -> FinalTip | None:
        """Returns the block a leader of the current view would build on, or None while it is not known."""
        return best_parent(self.view, self.tree, self._records)

    def _ask_for_proposal(self) -> None:
        if self.committee.leader(self.view) != self.own_index or self.view <= self.floor:
            return
        own = self._record(self.view).own
        if Phase.PROPOSE in own or Phase.NULLIFY in own:
            return
        parent = self.best_parent()
        due = self._proposal_due(parent)
        if parent is None or due is None or self._now < due:
            return
        asked = (self.view, self._can_fill)
        if self._asked_build == asked:
            return
        if self.tree.standing(parent.hash).standing is not Standing.VALID:
            return
        self._asked_build, self._asked_parent = asked, parent.hash
        required = not self._can_fill
        self._actions.append(
            BuildProposal(self.view, parent.hash, parent.height, parent.slot, required)
        )

    @property
    def _can_fill(self) -> bool:
        """Says whether the application may have something for a block of this view."""
        return self._work and self._unavailable_in != self.view

    def _proposal_due(self, parent: FinalTip | None) -> int | None:
        """Returns the time from which a leader asks for a block, or None when there is no need of one."""
        if parent is None:
            return None
        paced = self._block_at + self._config.block_interval_millis
        if self._can_fill:
            return paced
        if parent.hash == self.tree.tip.hash:
            return None
        return max(paced, self._entered_at + self._config.empty_delay_millis)

    # Time

    def _resend(self) -> None:
        if self.tree.ask_again():
            self._follow_chain()
        wanting = bool(self.tree.pending) or self.tree.lacks_data or self._missing != ZERO_HASH
        if self.own_index is not None:
            messages = self._catch_up.repeats(self.view, self._records)
            self._actions.extend(Broadcast(kind, message) for kind, message in messages)
            unsigned = self._catch_up.status(
                self.own_index, self.view, self.tree.tip, self._missing, self._records
            )
            if unsigned.gap_view < self.view:  # left without a certificate that anybody shows
                self._nullify(unsigned.gap_view)
            self._actions.append(self._catch_up.signed(unsigned, self._signer))
        self._catch_up.again(self._now, keep=self._armed or wanting)

    def _set_timer(self) -> None:
        times = [self._deadline, self._catch_up.due_at]
        if self.committee.leader(self.view) == self.own_index:
            own = self._record(self.view).own
            due = self._proposal_due(self.best_parent())
            if due is not None and due > self._now and not own:
                times.append(due)
        earliest = min((time for time in times if time is not None), default=None)
        if earliest != self._timer:
            self._timer = earliest
            self._actions.append(SetTimer(earliest))

    # Restart

    def _resume(self, journal: Sequence[bytes], decode: Callable[[bytes], Message]) -> None:
        """Takes back one's own signatures and what they rested on; records of other epochs are history."""
        for data in journal:
            message = decode(data)
            if isinstance(message, Proposal):
                self._resume_proposal(message)
            elif isinstance(message, Vote) and self._is_here(message.ballot):
                record = self._record(message.ballot.view)
                record.own[message.ballot.phase] = message
                record.add(message)
                alone = record.assemble(message.ballot, self._quorum)
                if alone is not None:
                    self._learn(alone, assembled=False)
            elif isinstance(message, Certificate) and self._is_here(message.ballot):
                self._learn(message, assembled=False)
        if journal:
            self._actions = []
        self._catch_up.hint(0)

    def _is_here(self, ballot: Ballot) -> bool:
        committee = self.committee
        here = (committee.chain, committee.shard, committee.epoch)
        return (ballot.chain, ballot.shard, ballot.epoch) == here and (
            ballot.view > self.tree.tip.view
        )

    def _resume_proposal(self, proposal: Proposal) -> None:
        vote = proposal.vote
        if not self._is_here(vote.ballot):
            return
        record = self._record(vote.ballot.view)
        record.proposals[proposal.block.hash] = proposal
        record.add(vote)
        self.tree.add(proposal.block)
        if vote.signer == self.own_index:
            record.own[Phase.PROPOSE] = vote
