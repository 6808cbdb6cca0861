"""A committee in one process: virtual clock, seeded adversarial medium, crashes at any action, Twins.

Everything random comes from one seed, so a schedule is a number. The keyed hash below stands in for ML-DSA
where 10^5 schedules are run; it signs and verifies for all validators and is for simulations only.
"""

from __future__ import annotations

import heapq
import hmac
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random

from operators.application import BlockContent, Check, CheckState
from operators.consensus import Simplex
from operators.consensus_chain import FinalTip, genesis_tip
from operators.consensus_checker import Checker
from operators.consensus_messages import Message, chains_of, decode_message
from operators.consensus_ports import (
    Action,
    BlockChecked,
    Broadcast,
    BuildProposal,
    CheckBlock,
    ConsensusConfig,
    Event,
    Finalized,
    Journal,
    MessageReceived,
    ProposalBuilt,
    ProposalUnavailable,
    SetTimer,
    Tick,
    WorkAvailable,
)
from operators.consensus_votes import Committee
from schemas.block import Block, Certificate, ValidatorSet
from schemas.errors import WireError


class KeyedHash:
    """Signatures by HMAC-SHA256 for simulations: fast, deterministic, and unforgeable without the key."""

    def __init__(self, seed: int, validators: int) -> None:
        """Derives one key per validator from a seed."""
        self._keys = [sha256(b"%d/%d" % (seed, index)).digest() for index in range(validators)]
        self._memo: dict[tuple[int, bytes, bytes], bool] = {}

    def sign(self, validator: int, message: bytes) -> bytes:
        """Returns a validator's signature, 32 bytes."""
        return hmac.digest(self._keys[validator], message, "sha256")

    def verify_many(self, claims: Sequence[tuple[int, bytes, bytes]]) -> Sequence[bool]:
        """Judges (validator, message, signature) one by one; equal claims once."""
        verdicts = []
        for claim in claims:
            known = self._memo.get(claim)
            if known is None:
                known = self._memo[claim] = self.sign(claim[0], claim[1]) == claim[2]
            verdicts.append(known)
        return verdicts


@dataclass(frozen=True, slots=True)
class KeyedHashSigner:
    """One validator's half of `KeyedHash`."""

    keys: KeyedHash
    validator: int

    def sign(self, message: bytes) -> bytes:
        """Returns the signature of `message`."""
        return self.keys.sign(self.validator, message)


@dataclass(frozen=True, slots=True)
class Medium:
    """How the medium behaves until `calm_at`, after which every message arrives within `delay` exactly once.

    Attributes:
        drop: Probability that one receiver never sees a message.
        duplicate: Probability that it sees it twice.
        delay: Shortest and longest delay, virtual milliseconds; their spread reorders.
        storm_delay: The same before `calm_at`.
        replay: Probability, per message, that an old one is delivered again to somebody.
        calm_at: Virtual time from which the medium is reliable.
        partition_millis: Length of one partition round before `calm_at`; 0 for none.
        crash: Probability, per event before `calm_at`, that an honest validator is killed at one of its next actions.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    delay: tuple[int, int] = (1, 10)
    storm_delay: tuple[int, int] = (1, 10)
    replay: float = 0.0
    calm_at: int = 0
    partition_millis: int = 0
    crash: float = 0.0


@dataclass(slots=True)
class Node:
    """One running copy of a validator and what its disk holds.

    Attributes:
        endpoint: Its place on the medium; twins of one validator have two.
        validator: Its index in the committee.
        core: The consensus core, None while it is down.
        disk: Journal records.
        final: Final blocks taken in by its application, with certificates.
        valid: Blocks its application has executed since it started.
        is_honest: Watched by the checker.
        makes_invalid: Its proposals carry a wrong state root.
        target: Height above which it has nothing to propose.
        timer: Time of its next tick.
        kill_in: Actions until it is killed.
        has_work: What its core was last told about work.
    """

    endpoint: int
    validator: int
    core: Simplex | None
    target: int
    is_honest: bool = True
    makes_invalid: bool = False
    disk: list[bytes] = field(default_factory=list)
    final: list[tuple[Block, Certificate]] = field(default_factory=list)
    valid: set[bytes] = field(default_factory=set)
    timer: int | None = None
    kill_in: int | None = None
    has_work: bool = False


class World:
    """A committee of cores over an adversarial medium, one event at a time.

    Attributes:
        now: Virtual milliseconds.
        events: Events handled so far.
        checker: Watches the honest validators.
        nodes: Every endpoint.
        sent: Every message ever published, as (endpoint, bytes).
        final_times: (validator, height) to virtual time of finality.
        proposed_times: Block hash to virtual time of its first publication.
        listeners: Called with every published message; an adversary hears all and at once.
    """

    def __init__(
        self,
        rng: Random,
        validators: int,
        *,
        twins: Sequence[int] = (),
        absent: Sequence[int] = (),
        medium: Medium | None = None,
        config: ConsensusConfig | None = None,
        target: int = 3,
    ) -> None:
        """Builds the committee.

        Args:
            rng: Source of everything random.
            validators: Size of the committee.
            twins: Validators that run as two copies with one key; Byzantine.
            absent: Validators without any copy: crashed, or played by an adversary.
            medium: Behaviour of the medium.
            config: Limits and times of every core.
            target: Height up to which there is work.
        """
        self.rng = rng
        self.medium = medium or Medium()
        self.config = config or ConsensusConfig()
        self.keys = KeyedHash(7, validators)
        keys = tuple(b"simulated key %d" % index for index in range(validators))
        self.committee = Committee(1, 0, 0, ValidatorSet(keys))
        self.invalid: set[bytes] = set()
        byzantine = {*twins, *absent}
        honest = [index for index in range(validators) if index not in byzantine]
        self.checker = Checker(self.committee, self.keys, honest, self.invalid)
        self.now = 0
        self.events = 0
        self.sent: list[tuple[int, bytes]] = []
        self.final_times: dict[tuple[int, int], int] = {}
        self.proposed_times: dict[bytes, int] = {}
        self.listeners: list[Callable[[bytes], None]] = []
        self._queue: list[tuple[int, int, int, Event | None]] = []
        self._sequence = 0
        self._decoded: dict[bytes, Message | WireError] = {}
        self._groups: list[int] = []
        self._regroup_at = 0
        copies = honest + [index for index in twins for _ in range(2)]
        self.nodes = [
            Node(endpoint, validator, None, target, validator in set(honest))
            for endpoint, validator in enumerate(copies)
        ]

    # Running

    def start(self, endpoint: int) -> None:
        """Starts or restarts a copy from its disk and its application's final blocks."""
        node = self.nodes[endpoint]
        tip = genesis_tip(self.committee.chain, self.committee.shard)
        if node.final:
            block = node.final[-1][0]
            tip = FinalTip(block.hash, block.header.height, block.header.slot, block.header.view)
        node.core = Simplex(
            self.committee,
            node.validator,
            KeyedHashSigner(self.keys, node.validator),
            self.keys,
            config=self.config,
            tip=tip,
            journal=node.disk,
            recent=node.final,
            decode=self.decode,
        )
        node.valid, node.has_work = set(), False
        node.kill_in = node.timer = None
        if node.is_honest:
            self.checker.restarted(node.validator, tip.height, tip.slot)
        self.post(endpoint, Tick(), 0)

    def start_all(self) -> None:
        """Starts every copy."""
        for node in self.nodes:
            self.start(node.endpoint)

    def stop(self, endpoint: int) -> None:
        """Kills a copy: what is not on its disk is gone."""
        self.nodes[endpoint].core = None

    def post(self, endpoint: int, event: Event | None, delay: int) -> None:
        """Schedules an event for an endpoint; None restarts it."""
        self._sequence += 1
        heapq.heappush(self._queue, (self.now + delay, self._sequence, endpoint, event))

    def run(self, until_height: int, max_events: int) -> bool:
        """Runs until every honest validator has reached a height; False when it is quiet or out of events."""
        while self.events < max_events:
            if not self.advance():
                return self._reached(until_height)
            if self._reached(until_height):
                return True
        return False

    def _reached(self, height: int) -> bool:
        return min(self.checker.heights.values(), default=height) >= height

    def advance(self) -> bool:
        """Handles the next event; False when there is none: the network is silent."""
        if not self._queue:
            return False
        self.now, _, endpoint, event = heapq.heappop(self._queue)
        self.events += 1
        if event is None:
            self.start(endpoint)
            return True
        self.handle(endpoint, event)
        return True

    def handle(self, endpoint: int, event: Event) -> None:
        """Gives an event to a copy and executes what follows from it."""
        node = self.nodes[endpoint]
        if node.core is None:
            return
        if isinstance(event, Tick):
            if node.timer is not None and self.now < node.timer:
                return
            node.timer = None
        self._maybe_crash(node)
        inbox: deque[Event] = deque([event])
        while inbox:
            core = self.nodes[endpoint].core  # a crash in between leaves none
            if core is None:
                return
            self._execute(node, core.step([inbox.popleft()], self.now), inbox)
            if not inbox:
                self._report_work(node, inbox)

    def _report_work(self, node: Node, inbox: deque[Event]) -> None:
        """Tells the core when the branch it would build on has, or no longer has, room for work."""
        parent = None if node.core is None else node.core.best_parent()
        if parent is not None and (parent.height < node.target) != node.has_work:
            node.has_work = parent.height < node.target
            inbox.append(WorkAvailable(node.has_work))

    def _maybe_crash(self, node: Node) -> None:
        likely = self.medium.crash and node.is_honest and self.now < self.medium.calm_at
        if likely and node.kill_in is None and self.rng.random() < self.medium.crash:
            node.kill_in = self.rng.randrange(6)

    def _execute(self, node: Node, actions: list[Action], inbox: deque[Event]) -> None:
        for action in actions:
            if node.kill_in is not None:
                if node.kill_in == 0:
                    self.stop(node.endpoint)
                    self.post(node.endpoint, None, self.rng.randrange(1, 200))
                    return
                node.kill_in -= 1
            if node.is_honest:
                self.checker.watch(node.validator, action)
            self._perform(node, action, inbox)

    def _perform(self, node: Node, action: Action, inbox: deque[Event]) -> None:
        if isinstance(action, Broadcast):
            self.publish(node.endpoint, action.message)
        elif isinstance(action, Journal):
            node.disk.extend(action.records)
        elif isinstance(action, SetTimer):
            node.timer = action.at_millis
            if action.at_millis is not None:
                self.post(node.endpoint, Tick(), max(0, action.at_millis - self.now))
        elif isinstance(action, CheckBlock):
            self._check(node, action.block, inbox)
        elif isinstance(action, BuildProposal):
            inbox.append(self._build(node, action))
        elif isinstance(action, Finalized):
            node.final.append((action.block, action.certificate))
            self.final_times[node.validator, action.block.header.height] = self.now
            if node.is_honest and action.block.hash not in node.valid:
                self.checker.violations.append("a block is final before it was executed")

    # The application: a counter whose state root is a hash chain

    def state_root(self, parent_hash: bytes, payload: bytes) -> bytes:
        """Returns the only root that the application accepts for a block."""
        return sha256(parent_hash + payload).digest()

    def _build(self, node: Node, request: BuildProposal) -> Event:
        if request.parent_height >= node.target and not request.required:
            return ProposalUnavailable(request.view)
        payload = b"%d/%d/%d" % (node.endpoint, request.view, self.rng.randrange(1 << 30))
        root = self.state_root(request.parent_hash, payload)
        if node.makes_invalid and self.rng.random() < 0.5:
            root = bytes(32)
        content = BlockContent(payload, sha256(payload).digest(), root, 1)
        slot = max(request.parent_slot, self.now // 100)
        return ProposalBuilt(request.view, request.parent_hash, slot, content)

    def _check(self, node: Node, block: Block, inbox: deque[Event]) -> None:
        head = block.header
        above_final = node.final[-1][0].hash if node.final else genesis_tip(1, 0).hash
        if head.parent_hash != above_final and head.parent_hash not in node.valid:
            if node.is_honest:
                self.checker.violations.append("a block was checked before its parent")
            return
        if head.post_state_root != self.state_root(head.parent_hash, block.payload):
            self.invalid.add(block.hash)
            inbox.append(BlockChecked(block.hash, Check(CheckState.INVALID, "state_root")))
            return
        if self.now < self.medium.calm_at and self.rng.random() < 0.05:
            inbox.append(BlockChecked(block.hash, Check(CheckState.MISSING, "transactions")))
            return
        node.valid.add(block.hash)
        inbox.append(BlockChecked(block.hash, Check(CheckState.VALID)))

    # The medium

    def decode(self, data: bytes) -> Message:
        """Decodes a message once for all copies.

        Raises:
            WireError: As `decode_message`.
        """
        known = self._decoded.get(data)
        if known is None:
            try:
                known = decode_message(data)
            except WireError as error:
                known = error
            self._decoded[data] = known
        if isinstance(known, WireError):
            raise known
        return known

    def publish(self, endpoint: int, message: bytes) -> None:
        """Puts a message on the medium for everybody but the sender and its twin."""
        self.sent.append((endpoint, message))
        self._note_proposal(message)
        validator = self.nodes[endpoint].validator
        for node in self.nodes:
            if node.validator != validator:
                self.transmit(endpoint, node.endpoint, message)
        for listener in self.listeners:
            listener(message)
        if self.medium.replay and self.rng.random() < self.medium.replay:
            _, old = self.rng.choice(self.sent)
            self.inject(self.rng.randrange(len(self.nodes)), old)

    def _note_proposal(self, message: bytes) -> None:
        if message[1] == 1:
            decoded = self.decode(message)
            block = getattr(decoded, "block", None)
            if isinstance(block, Block):
                self.proposed_times.setdefault(block.hash, self.now)

    def inject(self, receiver: int, message: bytes) -> None:
        """Delivers bytes to one endpoint from nowhere: replays, forgeries, an adversary's messages."""
        low, high = self.medium.delay
        self.post(receiver, MessageReceived(message), self.rng.randint(low, high))

    def transmit(self, sender: int, receiver: int, message: bytes) -> None:
        """Carries a message to one endpoint as the medium pleases."""
        medium, rng = self.medium, self.rng
        if self.now >= medium.calm_at:
            self.post(receiver, MessageReceived(message), rng.randint(*medium.delay))
            return
        if not self._connected(sender, receiver) or rng.random() < medium.drop:
            return
        self.post(receiver, MessageReceived(message), rng.randint(*medium.storm_delay))
        if rng.random() < medium.duplicate:
            self.post(receiver, MessageReceived(message), rng.randint(*medium.storm_delay))

    def _connected(self, sender: int, receiver: int) -> bool:
        if not self.medium.partition_millis:
            return True
        if self.now >= self._regroup_at:
            count = self.rng.randint(1, 3)
            self._groups = [self.rng.randrange(count) for _ in self.nodes]
            self._regroup_at = self.now + self.medium.partition_millis
        return self._groups[sender] == self._groups[receiver]

    def set_groups(self, groups: Sequence[int], until: int) -> None:
        """Fixes the partition by endpoint until a time, instead of a random one."""
        self._groups = list(groups)
        self._regroup_at = until

    def feed_from_log(self, endpoint: int, source: int) -> None:
        """Gives a copy the final blocks of another one as they stand in the log."""
        for message in chains_of(self.nodes[source].final):
            self.inject(endpoint, message)
