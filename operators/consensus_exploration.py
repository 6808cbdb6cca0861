"""Breadth-first exploration of small committees: every order of deliveries and timeouts up to a depth.

A validator's state depends on its own history of events alone, so a global state is one history per validator
and the set of messages sent. States that look alike to every validator are explored once. Undelivered messages
are lost messages, so loss and reordering need no rules of their own.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest

from operators.application import BlockContent, Check, CheckState
from operators.consensus import Simplex
from operators.consensus_chain import genesis_tip
from operators.consensus_messages import Message, decode_message
from operators.consensus_ports import (
    Action,
    BlockChecked,
    Broadcast,
    BuildProposal,
    CheckBlock,
    ConsensusConfig,
    Event,
    Finalized,
    MessageReceived,
    ProposalBuilt,
    Tick,
    WorkAvailable,
)
from operators.consensus_simulation import KeyedHash, KeyedHashSigner
from operators.consensus_votes import Committee
from schemas.block import Phase, Proposal, ValidatorSet, Vote
from schemas.errors import ParameterError

TIMEOUT = b""
"""Stands in a history for a timeout; anything else is a delivered message."""

CONFIG = ConsensusConfig(block_interval_millis=0, empty_delay_millis=0)

CARRIED = frozenset({"proposal", "vote", "certificate"})
"""Kinds of message that the exploration delivers; statuses only help after loss."""

History = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Local:
    """What one history leads to.

    Attributes:
        digest: Equal digests behave alike from here on.
        sent: Proposals, votes and certificates published, in order.
        final: Hashes of the final blocks in height order.
        view: Current view.
    """

    digest: bytes
    sent: tuple[bytes, ...]
    final: tuple[bytes, ...]
    view: int


@dataclass(frozen=True, slots=True)
class Exploration:
    """Result of `explore`.

    Attributes:
        states: Distinct global states visited.
        depth: Depth up to which every state was visited.
        is_complete: No state was left unvisited for want of `max_states`.
        final_states: States in which an honest validator had a final block.
        violations: Broken invariants, in words.
    """

    states: int
    depth: int
    is_complete: bool
    final_states: int
    violations: tuple[str, ...]


class Explorer:
    """Explores one committee; twins are two endpoints with one key."""

    def __init__(self, validators: int, twins: Sequence[int], target: int) -> None:
        """Sets up `validators` with work up to height `target`."""
        self._keys = KeyedHash(3, validators)
        keys = tuple(b"explored key %d" % index for index in range(validators))
        self._committee = Committee(1, 0, 0, ValidatorSet(keys))
        self._target = target
        honest = [index for index in range(validators) if index not in set(twins)]
        self.owners = tuple(honest + [index for index in twins for _ in range(2)])
        self.honest = tuple(range(len(honest)))
        self._memo: dict[tuple[int, History], Local] = {}
        self._decoded: dict[bytes, Message] = {}

    def _decode(self, data: bytes) -> Message:
        if data not in self._decoded:
            self._decoded[data] = decode_message(data)
        return self._decoded[data]

    def local(self, endpoint: int, history: History) -> Local:
        """Returns what a history leads to, by replaying it."""
        key = (endpoint, history)
        if key not in self._memo:
            self._memo[key] = self._replay(endpoint, history)
        return self._memo[key]

    def _replay(self, endpoint: int, history: History) -> Local:
        owner = self.owners[endpoint]
        core = Simplex(
            self._committee,
            owner,
            KeyedHashSigner(self._keys, owner),
            self._keys,
            config=CONFIG,
            tip=genesis_tip(1, 0),
            decode=self._decode,
        )
        now = 0
        events: list[tuple[int, Event]] = [(0, WorkAvailable(available=True))]
        for entry in history:
            if entry == TIMEOUT:
                now += 1_000_000
                events.append((now, Tick()))
            else:
                events.append((now, MessageReceived(entry)))
        sent: list[bytes] = []
        final: list[bytes] = []
        for time, event in events:
            for action in self._settle(core, endpoint, event, time):
                if isinstance(action, Broadcast) and action.kind in CARRIED:
                    sent.append(action.message)
                elif isinstance(action, Finalized):
                    final.append(action.block.hash)
        lines = [repr((core.view, core.tip, len(final))).encode(), *sorted(core.durable_records())]
        lines += core.state_lines()
        return Local(sha256(b"\n".join(lines)).digest(), tuple(sent), tuple(final), core.view)

    def _settle(self, core: Simplex, endpoint: int, event: Event, now: int) -> list[Action]:
        """Gives an event to a core, answers its questions, and returns every action."""
        done: list[Action] = []
        inbox: deque[Event] = deque([event])
        while inbox:
            actions = core.step([inbox.popleft()], now)
            done += actions
            for action in actions:
                if isinstance(action, CheckBlock):
                    inbox.append(BlockChecked(action.block.hash, Check(CheckState.VALID)))
                elif isinstance(action, BuildProposal) and action.parent_height < self._target:
                    payload = b"%d/%d" % (endpoint, action.view)
                    content = BlockContent(payload, bytes(32), bytes(32), 0)
                    inbox.append(ProposalBuilt(action.view, action.parent_hash, 0, content))
        return done

    def broken(self, locals_: Sequence[Local]) -> list[str]:
        """Returns the invariants that a global state breaks."""
        found = []
        chains = [locals_[endpoint].final for endpoint in self.honest]
        found += [
            "S1: two final blocks at one height"
            for heights in zip_longest(*chains)
            if len({block_hash for block_hash in heights if block_hash is not None}) > 1
        ]
        for endpoint in self.honest:
            found += self._contradictions(endpoint, locals_[endpoint])
        return found

    def _contradictions(self, endpoint: int, local: Local) -> list[str]:
        cast: dict[tuple[int, Phase], set[bytes]] = {}
        for data in local.sent:
            message = self._decode(data)
            vote = message.vote if isinstance(message, Proposal) else message
            if isinstance(vote, Vote) and vote.signer == self.owners[endpoint]:
                ballot = vote.ballot
                cast.setdefault((ballot.view, ballot.phase), set()).add(ballot.block_hash)
        found = [f"S6: {endpoint} equivocated" for hashes in cast.values() if len(hashes) > 1]
        both = [v for v, phase in cast if phase is Phase.NULLIFY and (v, Phase.FINALIZE) in cast]
        return found + [f"S5: {endpoint} finalised a skipped view" for _ in both]


def explore(
    validators: int,
    depth: int,
    *,
    twins: Sequence[int] = (),
    target: int = 1,
    max_states: int = 100_000,
    max_view: int = 3,
) -> Exploration:
    """Visits every state within `depth` deliveries and timeouts, or the first `max_states`.

    Args:
        validators: Size of the committee.
        depth: Longest sequence of events.
        twins: Byzantine validators, each as two endpoints with one key.
        target: Height up to which there is work.
        max_states: Where to stop.
        max_view: Validators above this view get no more timeouts, which bounds the space.

    Raises:
        ParameterError: The committee is empty or all Byzantine.
    """
    if not 0 <= len(twins) < validators:
        raise ParameterError("an exploration has at least one honest validator")
    explorer = Explorer(validators, twins, target)
    start: tuple[History, ...] = tuple(() for _ in explorer.owners)
    seen: set[bytes] = set()
    counts: Counter[str] = Counter()
    violations: list[str] = []
    layer, reached = [start], 0
    for level in range(depth + 1):
        following: list[tuple[History, ...]] = []
        for state in layer:
            locals_ = [explorer.local(e, history) for e, history in enumerate(state)]
            medium = {message for local in locals_ for message in local.sent}
            mark = _mark(locals_, medium)
            if mark in seen:
                continue
            if len(seen) >= max_states:
                return _result(counts, reached, violations, complete=False)
            seen.add(mark)
            counts["states"] += 1
            counts["final"] += any(locals_[endpoint].final for endpoint in explorer.honest)
            violations += explorer.broken(locals_)
            following += _successors(state, locals_, medium, max_view)
        reached, layer = level, following
        if not layer:
            break
    return _result(counts, reached, violations, complete=True)


def _result(
    counts: Counter[str], depth: int, violations: list[str], *, complete: bool
) -> Exploration:
    return Exploration(counts["states"], depth, complete, counts["final"], tuple(violations[:20]))


def _mark(locals_: Sequence[Local], medium: set[bytes]) -> bytes:
    hasher = sha256(b"".join(local.digest for local in locals_))
    for message in sorted(medium):
        hasher.update(sha256(message).digest())
    return hasher.digest()


def _successors(
    state: tuple[History, ...], locals_: Sequence[Local], medium: set[bytes], max_view: int
) -> list[tuple[History, ...]]:
    found = []
    for endpoint, history in enumerate(state):
        own = set(locals_[endpoint].sent)
        options = [message for message in medium if message not in own and message not in history]
        if locals_[endpoint].view <= max_view and history.count(TIMEOUT) < max_view:
            options.append(TIMEOUT)
        before, after = state[:endpoint], state[endpoint + 1 :]
        found += [(*before, (*history, option), *after) for option in sorted(options)]
    return found
