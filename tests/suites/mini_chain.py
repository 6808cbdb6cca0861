"""A whole chain in one process: every role as the pipelines build it, on one log and a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from operators.beacon_start import open_planner
from operators.event_log import EventLog
from operators.log_memory import MemoryLog, MemoryStore
from operators.pyramid_planner import PyramidPlanner
from operators.topic_view import TopicView
from pipelines import node_roles
from pipelines.chain_setup import open_chain, prepare_chain
from pipelines.chain_view import ChainView
from pipelines.corpus import CorpusRow, read_corpus
from pipelines.node import NodePlace, Role, Roles, build_role
from pipelines.node_plan import VALIDATOR_ROLES
from pipelines.traffic_generate import GenerateOptions, generate_traffic
from proving.arithmetic.poseidon2 import NumpyHasher
from schemas.config import Configuration, profile_configuration
from schemas.genesis import Genesis
from schemas.tables import BLOCKS, JOBS, TRANSACTIONS, WINDOWS, encode
from schemas.topics import shard_topic
from schemas.transactions import SignedTransaction
from schemas.workload import Workload

START_MILLIS = 1_800_000_000_000
STEP_MILLIS = 20
SEED = 5


class Quiet:
    """Progress that says nothing."""

    def phase(self, name: str, total: int | None) -> None:
        """Says nothing."""

    def advance(self, steps: int) -> None:
        """Says nothing."""

    def note(self, text: str) -> None:
        """Says nothing."""


def small_configuration() -> Configuration:
    """Profile local with one shard, windows of 16 slots, two to an epoch, and proofs in the calling process."""
    base = profile_configuration("local")
    clock = {"slot_micros": 50_000, "slots_per_window": 16, "windows_per_shard_epoch": 2}
    return Configuration.model_validate(
        {
            **base.model_dump(),
            "chain": {**base.chain.model_dump(), "shards": 1},
            "clock": {**base.clock.model_dump(), **clock},
            "proving": {**base.proving.model_dump(), "pool": "process"},
        }
    )


@dataclass
class MiniChain:
    """Roles by name, pumped in turn.

    Attributes:
        data: Data directory.
        configuration: Of the chain.
        store: What the connections to the log share.
        roles: Running roles.
        now: Time, UTC milliseconds.
    """

    data: Path
    configuration: Configuration = field(default_factory=small_configuration)
    store: MemoryStore = field(default_factory=MemoryStore)
    roles: dict[str, Role] = field(default_factory=dict)
    now: int = START_MILLIS
    genesis: Genesis = field(init=False)

    def __post_init__(self) -> None:
        self.store.now_millis = lambda: self.now
        self.genesis = prepare_chain(self.data, self.configuration, SEED, lambda: self.now)
        open_chain(self.log(), self.data, self.genesis)

    def planner(self) -> PyramidPlanner:
        """Returns the planner of the chain's pyramid before the first window."""
        return open_planner(self.genesis, self.configuration.clock, NumpyHasher())

    def log(self) -> EventLog:
        """Returns a new connection."""
        return MemoryLog("memory://mini", self.store)

    def start(self, *names: str) -> None:
        """Starts roles, such as `validator-2`."""
        for name in names:
            role, _, index = name.partition("-")
            place = NodePlace(
                self.data, self.configuration, self.genesis, self.log(), int(index or 0)
            )
            self.roles[name] = build_role(role, place)

    def start_all(self, *, proving: bool) -> None:
        """Starts everything; without proving neither the prover nor the beacon's validators."""
        per_validator = [r for r in VALIDATOR_ROLES if proving or r != "beacon"]
        count = self.configuration.chain.validators
        names = [f"{role}-{index}" for role in per_validator for index in range(count)]
        self.start("admission", *names, "chain", *(["prover"] if proving else []))

    def kill(self, name: str) -> None:
        """Drops a role with nothing written; only the lock of its journal is freed, as a dead process does."""
        role = self.roles.pop(name)
        for part in role.parts if isinstance(role, Roles) else [role]:
            node = getattr(part, "node", None)
            if node is not None and node.journal is not None:
                node.journal.close()

    def send(
        self, rows: Iterable[CorpusRow | SignedTransaction], per_record: int = 7, shard: int = 0
    ) -> None:
        """Appends transactions of a shard, several to a record."""
        view = TopicView(self.log())
        listed = list(rows)
        for first in range(0, len(listed), per_record):
            batch = [
                {"body": _body(row), "signature": row.signature, "submitted_millis": self.now}
                for row in listed[first : first + per_record]
            ]
            view.append(shard_topic("tx", shard), *encode(TRANSACTIONS, TRANSACTIONS.batch(batch)))

    def step(self) -> None:
        """Lets every role do what it can, then moves the clock."""
        is_busy = True
        while is_busy:
            is_busy = False
            for name, role in list(self.roles.items()):
                if isinstance(role, node_roles.ProvingRole):
                    is_busy |= role.prover.turn(0.0) > 0
                else:
                    is_busy |= self.pump(name)
        self.now += STEP_MILLIS

    def pump(self, name: str) -> bool:
        """Pumps one role."""
        return self.roles[name].pump(self.now)

    def run_until(self, is_done: Callable[[], bool], seconds: float) -> None:
        """Steps until a condition holds; fails after so much time of the chain's clock."""
        deadline = self.now + int(seconds * 1000)
        while not is_done():
            assert self.now < deadline, f"not within {seconds} s: {self.view()}"
            self.step()

    def view(self) -> ChainView:
        """Returns the chain's progress as the log tells it."""
        found, view = ChainView(self.genesis), TopicView(self.log())
        for row in view.rows("blocks.0", BLOCKS):
            found.add_block(row)
        for row in view.rows("windows.0", WINDOWS):
            found.add_window(row)
        for row in view.rows("jobs", JOBS):
            found.add_job(row)
        return found

    def close(self) -> None:
        """Drains every role."""
        for role in self.roles.values():
            role.close()
        self.roles.clear()


def _body(row: CorpusRow | SignedTransaction) -> bytes:
    return row.body if isinstance(row, CorpusRow) else row.transaction.body()


def small_traffic(
    folder: Path, genesis: Genesis, workload: Workload, count: int, expiry_slot: int = 7000
) -> list[CorpusRow]:
    """Returns the rows of a generated corpus for a chain: genesis first, then `count` of traffic, good up to a slot."""
    out = folder / "corpus.parquet"
    options = GenerateOptions(
        workload, out, count, SEED, chain=genesis.chain, shard=0, expiry_slot=expiry_slot
    )
    with suppress(FileNotFoundError):
        out.unlink()
    generate_traffic(options, Quiet())
    return list(read_corpus(out))
