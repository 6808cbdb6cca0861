"""The beacon's state machine: which windows of which shards are proven, agreed by the same consensus as a block.

A window is accepted when the proofs of all its segments hold, when the first begins where the last accepted
window of the shard ended, each follows the one before, and the last ends in the state and the transaction list
that the header of the window's last final block names. So a proof counts only for the history that the shard's
quorum has made final; the signatures of transactions, which a proof does not cover, are what that quorum stands
for.

A day of all shards is accepted on top of its windows, by the rules of `operators.beacon_runs`. A block may also hold
evidence of equivocation, whose offenders are slashed by the rules of `operators.equivocations`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from operators.application import BlockContent, Check, CheckState
from operators.beacon_evidence import ProofShelf, Segment, VerifiedProof
from operators.beacon_runs import RunRules, RunTip, VerifiedRun
from operators.equivocations import EvidenceShelf, Slash
from operators.event_log import StoredRecord
from operators.final_headers import FinalHeaders
from operators.fraud_state import FraudState
from operators.proof_chain import ends_at, find_chain, follows
from proving.backends.port import Hasher
from schemas.beacon_payload import (
    MAX_EVIDENCE,
    MAX_SEGMENTS,
    MAX_WINDOWS,
    Acceptances,
    RunAcceptance,
    WindowAcceptance,
    accepted_root,
    decode_acceptances,
    encode_acceptances,
)
from schemas.block import BlockHeader
from schemas.errors import InvariantError, WireError
from schemas.refusal import EquivocationRefusal
from schemas.statement import Boundary
from schemas.units import ZERO_WORD


@dataclass(frozen=True, slots=True)
class ShardTip:
    """How far a shard is accepted.

    Attributes:
        height: Height of the last proven block.
        block_hash: Its hash.
        window: The last accepted window, or -1.
        boundary: Where the ledger stands after it.
    """

    height: int
    block_hash: bytes
    window: int
    boundary: Boundary


@dataclass(frozen=True, slots=True)
class BeaconBranch:
    """The state after a beacon block.

    Attributes:
        parent: Hash of the block before.
        root: Root over everything accepted and, on a chain with bonds, the state of fraud.
        tips: How far each shard is accepted.
        runs: How far days of all shards are, and where the windows since ended.
        fraud: Bonds, and who was punished for what.
        accepted: The segment proofs of this block.
        run: The day that this block accepts.
        slashes: Whom this block punishes.
    """

    parent: bytes
    root: bytes
    tips: Mapping[int, ShardTip]
    runs: RunTip
    fraud: FraudState
    accepted: tuple[VerifiedProof, ...] = ()
    run: VerifiedRun | None = None
    slashes: tuple[Slash, ...] = ()


Found = tuple[ShardTip, tuple[VerifiedProof, ...]]


@dataclass(slots=True)
class BeaconApplication:
    """The beacon as an `operators.application.Application`.

    Attributes:
        final: State after the last final block.
        final_hash: Its hash.
        headers: Certified headers of each shard.
        shelf: Proofs on the log.
        window_of: Window of a slot.
        rules: What a day must be.
        hasher: Poseidon2.
        evidence: Evidence of equivocation that was reported, and who may be punished for what.
        branches: Valid blocks above the final one, by hash.
    """

    final: BeaconBranch
    final_hash: bytes
    headers: Mapping[int, FinalHeaders]
    shelf: ProofShelf
    window_of: Callable[[int], int]
    rules: RunRules
    hasher: Hasher
    evidence: EvidenceShelf
    branches: dict[bytes, BeaconBranch] = field(default_factory=dict)

    def take_fault(self, record: StoredRecord) -> None:
        """Takes a record of `faults`: evidence that can be punished after the last final block waits for the next."""
        self.evidence.take(record, self.final.fraud)

    def has_work(self, parent_hash: bytes, slot: int) -> bool:
        """See `Application`; verifies at most one proof per call, so that a node's loop stays short."""
        branch = self._branch(parent_hash)
        if branch is None:
            return False
        if self.evidence.next(branch.fraud, 1)[0]:
            return True
        if any(self._next_window(branch.tips[shard], shard, 1) for shard in branch.tips):
            return True
        return self._next_run(branch.tips, branch.runs, 1) is not None

    def slot_of(self, parent_hash: bytes, slot: int) -> int:
        """See `Application`: the beacon's blocks wait for nothing."""
        return slot

    def build(
        self, parent_hash: bytes, height: int, slot: int, *, required: bool
    ) -> BlockContent | None:
        """See `Application`; takes what is verified already."""
        branch = self._branch(parent_hash)
        if branch is None:
            raise InvariantError("a block is asked for above one that was never found valid")
        windows: list[WindowAcceptance] = []
        segments = 0
        tips, runs = dict(branch.tips), branch.runs
        for shard in sorted(tips):
            while len(windows) < MAX_WINDOWS and (
                found := self._next_window(tips[shard], shard, 0)
            ):
                tip, proofs = found
                if segments + len(proofs) > MAX_SEGMENTS:
                    break
                segments += len(proofs)
                references = tuple(proof.reference for proof in proofs)
                windows.append(WindowAcceptance(shard, tip.window, references))
                tips[shard] = tip
                runs = runs.with_window(shard, tip.window, tip.boundary, self.hasher)
        run = self._next_run(tips, runs, 0)
        evidence, fraud = self.evidence.next(branch.fraud, MAX_EVIDENCE)
        if not windows and run is None and not evidence and not required:
            return None
        payload = encode_acceptances(windows, None if run is None else run.acceptance, evidence)
        count = segments + (run is not None) + len(evidence)
        return BlockContent(payload, ZERO_WORD, self._root(branch, payload, fraud), count)

    def check(  # noqa: PLR0911 - one return per check
        self, block_hash: bytes, parent_hash: bytes, height: int, slot: int, content: BlockContent
    ) -> Check:
        """See `Application`; judges all evidence, then verifies every proof that is not known yet."""
        if block_hash in self.branches or block_hash == self.final_hash:
            return Check(CheckState.VALID)
        parent = self._branch(parent_hash)
        if parent is None:
            return Check(CheckState.MISSING, "parent")
        try:
            said = decode_acceptances(content.payload)
        except WireError:
            return Check(CheckState.INVALID, "malformed_payload")
        if (content.transactions_root, content.count) != (ZERO_WORD, said.count):
            return Check(CheckState.INVALID, "wrong_root")
        punished = self._punish(parent, said.evidence)
        if isinstance(punished, Check):
            return punished
        root = self._root(parent, content.payload, punished.fraud)
        if content.post_state_root != root:
            return Check(CheckState.INVALID, "wrong_root")
        found = self._accept(punished, said)
        if isinstance(found, Check):
            return found
        self.branches[block_hash] = replace(found, parent=parent_hash, root=root)
        return Check(CheckState.VALID)

    def finalize(self, block_hash: bytes) -> None:
        """See `Application`."""
        branch = self.branches.pop(block_hash, None)
        if branch is None or branch.parent != self.final_hash:
            raise InvariantError("a beacon block becomes final that was never found valid")
        self.final, self.final_hash = branch, block_hash
        kept = {name: known for name, known in self.branches.items() if self._descends(known)}
        self.branches = kept
        for shard, tip in branch.tips.items():
            self.headers[shard].forget(tip.height)
            self.shelf.forget(shard, tip.window)
        self.shelf.runs.forget(branch.runs.end_window)
        self.evidence.forget(branch.fraud)

    def _root(self, parent: BeaconBranch, payload: bytes, fraud: FraudState) -> bytes:
        return accepted_root(parent.root, payload, self.evidence.rules.commitment(fraud))

    def _punish(self, parent: BeaconBranch, evidence: Iterable[bytes]) -> BeaconBranch | Check:
        """Returns the state of a parent after a block's evidence, or why it is refused."""
        fraud, slashes = parent.fraud, []
        for data in evidence:
            punished = self.evidence.rules.judge(data, fraud)
            if isinstance(punished, EquivocationRefusal):
                return Check(CheckState.INVALID, punished.value)
            fraud, slash = punished
            slashes.append(slash)
        return replace(parent, fraud=fraud, slashes=tuple(slashes))

    def _accept(self, parent: BeaconBranch, said: Acceptances) -> BeaconBranch | Check:
        """Returns a state with the windows and the run that a block accepts, or why it may not."""
        tips, runs = dict(parent.tips), parent.runs
        accepted: list[VerifiedProof] = []
        for window in said.windows:
            found = self._judge(tips, window)
            if isinstance(found, Check):
                return found
            tip, proofs = found
            tips[window.shard] = tip
            runs = runs.with_window(window.shard, window.window, tip.boundary, self.hasher)
            accepted += proofs
        if said.run is None:
            return replace(parent, tips=tips, runs=runs, accepted=tuple(accepted), run=None)
        run = self._judge_run(tips, runs, said.run)
        if isinstance(run, Check):
            return run
        return replace(
            parent, tips=tips, runs=runs.after(run.run), accepted=tuple(accepted), run=run
        )

    def _judge(  # noqa: PLR0911 - one return per check
        self, tips: Mapping[int, ShardTip], window: WindowAcceptance
    ) -> Found | Check:
        tip = tips.get(window.shard)
        if tip is None:
            return Check(CheckState.INVALID, "no_such_shard")
        last = self._last_header(tip, window.shard)
        if last is None:
            return Check(CheckState.MISSING, f"blocks.{window.shard}")
        if self.window_of(last.slot) != window.window:
            return Check(CheckState.INVALID, "wrong_window")
        proofs: list[VerifiedProof] = []
        at = tip.boundary
        for position, reference in enumerate(window.proofs):
            if reference.offset >= self.shelf.end:
                return Check(CheckState.MISSING, f"proofs/{reference.offset}")
            proof = self.shelf.verified((reference.offset, reference.row))
            if proof is None or proof.reference != reference:
                return Check(CheckState.INVALID, "proof_not_accepted")
            if not self._follows(proof, tip, at, (window.shard, window.window, position)):
                return Check(CheckState.INVALID, "does_not_follow")
            proofs.append(proof)
            at = proof.statement.after
        if not ends_at(at, last, self.hasher):
            return Check(CheckState.INVALID, "not_the_final_state")
        return _tip_at(last, window.window, at), tuple(proofs)

    def _judge_run(
        self, tips: Mapping[int, ShardTip], runs: RunTip, said: RunAcceptance
    ) -> VerifiedRun | Check:
        problem = self.rules.check(said.run, runs, self._next_windows(tips))
        if problem is not None:
            return problem
        if said.proof.offset >= self.shelf.end:
            return Check(CheckState.MISSING, f"proofs/{said.proof.offset}")
        found = self.shelf.runs.verified((said.proof.offset, said.proof.row))
        if found is None or found.acceptance != said:
            return Check(CheckState.INVALID, "run_proof_not_accepted")
        return found

    def _next_run(
        self, tips: Mapping[int, ShardTip], runs: RunTip, budget: int
    ) -> VerifiedRun | None:
        """Returns the next day with its proof, verifying at most `budget` new ones."""
        claims = self.shelf.runs.claims.get(runs.end_window, ())
        wanted = self.rules.next_day(runs, self._next_windows(tips)) if claims else None
        if wanted is None:
            return None
        left = budget
        for place, claim in claims:
            if replace(claim, history=wanted.history).elements() != wanted.elements():
                continue
            if not self.shelf.runs.is_known(place):
                if left == 0:
                    continue
                left -= 1
            found = self.shelf.runs.verified(place)
            if found is not None:
                return found
        return None

    def _next_windows(self, tips: Mapping[int, ShardTip]) -> dict[int, int | None]:
        """Returns the window of every shard's first final block above what is accepted; None where none is known."""
        found: dict[int, int | None] = {}
        for shard, tip in tips.items():
            header = self.headers[shard].headers.get(tip.height + 1)
            found[shard] = None if header is None else self.window_of(header.slot)
        return found

    def _next_window(self, tip: ShardTip, shard: int, budget: int) -> Found | None:
        """Returns the shard's next window with its proofs, verifying at most `budget` new ones."""
        last = self._last_header(tip, shard)
        if last is None:
            return None
        window = self.window_of(last.slot)
        left = budget

        def following(position: int, at: Boundary) -> Iterator[VerifiedProof]:
            nonlocal left
            segment = (shard, window, position)
            for place in self.shelf.claims.get(segment, ()):
                if not self.shelf.is_known(place):
                    if left == 0:
                        continue
                    left -= 1
                proof = self.shelf.verified(place)
                if proof is not None and self._follows(proof, tip, at, segment):
                    yield proof

        proofs = find_chain(
            tip.boundary, following, lambda at: ends_at(at, last, self.hasher), MAX_SEGMENTS
        )
        if proofs is None:
            return None
        return _tip_at(last, window, proofs[-1].statement.after), proofs

    def _last_header(self, tip: ShardTip, shard: int) -> BlockHeader | None:
        """Returns the last header of the window after a tip, once a later window has a final block."""
        headers = self.headers[shard].headers
        last = headers.get(tip.height + 1)
        while last is not None:
            following = headers.get(last.height + 1)
            if following is None:
                return None
            if self.window_of(following.slot) != self.window_of(last.slot):
                return last
            last = following
        return None

    def _follows(self, proof: VerifiedProof, tip: ShardTip, at: Boundary, place: Segment) -> bool:
        """Whether a proof is of this chain and place, and goes on where the ledger stands."""
        statement = proof.statement
        shard = self.headers.get(statement.shard)
        if shard is None or shard.committee.chain != statement.chain:
            return False
        if statement.shards != len(self.headers):
            return False
        if (statement.shard, statement.window, statement.segment) != place:
            return False
        return statement.window > tip.window and follows(statement, at)

    def _branch(self, block_hash: bytes) -> BeaconBranch | None:
        return self.final if block_hash == self.final_hash else self.branches.get(block_hash)

    def _descends(self, branch: BeaconBranch) -> bool:
        while branch.parent != self.final_hash:
            above = self.branches.get(branch.parent)
            if above is None:
                return False
            branch = above
        return True


def _tip_at(last: BlockHeader, window: int, boundary: Boundary) -> ShardTip:
    return ShardTip(last.height, last.block_hash(), window, boundary)
