"""Configuration models: every limit, count and default of the system in one place, with two profiles.

`target` is the full clock and the full network; `local` compresses counts so that a whole day runs on a
laptop. Code takes the section it needs as an argument and never reads files or the environment itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.errors import ParameterError

MAX_UNITS = 2**60
"""Amounts are below it, units of 1e-9 ECLIPT: two 30-bit halves."""

MAX_COUNT = 2**30
"""Heights, slots, windows and epochs are below it: one field element each."""


class Section(BaseModel):
    """One table of the configuration: frozen, and a key it does not know is refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ClockConfig(Section):
    """The clock, as counts; the only duration is the slot's."""

    slot_micros: int = Field(default=468_750, ge=1_000, le=60_000_000)
    """Length of a slot, microseconds; 15/32 s in profile target."""

    slots_per_window: int = Field(default=64, ge=1, le=4096)
    """Slots whose blocks one window proof covers."""

    windows_per_shard_epoch: int = Field(default=12, ge=1, le=4096)
    """Windows of one shard that one shard-epoch proof joins."""

    shard_epochs_per_hour: int = Field(default=10, ge=1, le=4096)
    """Shard epochs in a shard hour."""

    epochs_per_day: int = Field(default=24, ge=1, le=4096)
    """Shard hours, and so global epochs, in a day."""

    @model_validator(mode="after")
    def _fits_one_field_element(self) -> Self:
        if self.slots_per_day >= MAX_COUNT:
            raise ValueError(f"a day of {self.slots_per_day} slots does not fit 30 bits")
        return self

    @property
    def window_micros(self) -> int:
        """Length of a window, microseconds."""
        return self.slot_micros * self.slots_per_window

    @property
    def slots_per_shard_epoch(self) -> int:
        """Slots in a shard epoch."""
        return self.slots_per_window * self.windows_per_shard_epoch

    @property
    def windows_per_day(self) -> int:
        """Windows of one shard in a day."""
        return self.windows_per_shard_epoch * self.shard_epochs_per_hour * self.epochs_per_day

    @property
    def slots_per_day(self) -> int:
        """Slots in a day."""
        return self.slots_per_window * self.windows_per_day


class ChainConfig(Section):
    """What a chain is made of; copied into its genesis document."""

    number: int = Field(default=1, ge=1, lt=MAX_COUNT)
    """Chain number, part of every signed byte string, so that chains cannot replay each other."""

    shards: int = Field(default=8, ge=1, le=64)
    """Ledger shards side by side."""

    validators: int = Field(default=49, ge=1, le=100)
    """Validators per shard; the quorum is n - floor((n - 1) / 3)."""

    @property
    def quorum(self) -> int:
        """Signers that a certificate needs."""
        return self.validators - (self.validators - 1) // 3


class AdmissionConfig(Section):
    """What may enter a block."""

    max_transaction_bytes: int = Field(default=8 * 2**10, ge=4 * 2**10, le=2**20)
    """Largest Public transaction with key and signature, bytes; 3.8 KB when it registers a key."""

    min_fee_micros: int = Field(default=1_000, ge=0, lt=MAX_COUNT)
    """Least fee of a Public transaction, units of 1e-6 ECLIPT; 0.001 ECLIPT."""

    max_expiry_slots: int = Field(default=7_680, ge=1, lt=MAX_COUNT)
    """Farthest expiry ahead of the current slot; one shard hour, so that replay state stays bounded."""

    max_transactions_per_block: int = Field(default=4_096, ge=1, le=65_536)
    """Most transactions in one block."""

    min_block_interval_millis: int = Field(default=50, ge=0, le=60_000)
    """Least time between two blocks of a shard, milliseconds."""

    target_wait_millis: int = Field(default=500, ge=1, le=600_000)
    """How long the first transaction of a block should have waited from admission to finality, milliseconds. Under more
    load than blocks hold, admission takes in so much that this is kept, and the rest waits on the log. About six times
    what an empty block takes: votes and certificate cost the same for any block, so waiting k + 1 such times gives
    k / (k + 1) of the throughput."""

    max_waiting: int = Field(default=16_384, ge=64, le=2**20)
    """Most transactions of a shard that are admitted and not final: four full blocks, about 64 MB of each process that
    holds them. One record of transactions may go beyond it."""


class ConsensusConfig(Section):
    """Time-outs of Simplex; safety depends on none of them."""

    view_timeout_millis: int = Field(default=1_000, ge=10, le=600_000)
    """How long a validator waits for a proposal before it votes to skip the view, milliseconds."""

    max_timeout_millis: int = Field(default=30_000, ge=10, le=3_600_000)
    """Bound of the backed-off time-out, milliseconds."""

    @model_validator(mode="after")
    def _backoff_has_room(self) -> Self:
        if self.max_timeout_millis < self.view_timeout_millis:
            raise ValueError("max_timeout_millis is below view_timeout_millis")
        return self


class ProvingConfig(Section):
    """How windows are proven."""

    pool: Literal["ray", "process"] = "ray"
    """Where proofs run: Ray actors, or the calling process."""

    ray_address: str = ""
    """Ray cluster to join: HOST:PORT of its head, or auto; empty for a cluster of the prover's own on this machine."""

    workers: int = Field(default=0, ge=0, le=4_096)
    """Workers for segments, one thread each; 0 for one per usable core. On a GPU they prove everything, 0 for one."""

    pyramid_workers: int = Field(default=0, ge=0, le=1_024)
    """Workers for recursive proofs, of up to 3.5 GB; 0 for one per `pyramid_threads` usable cores, at least one."""

    pyramid_threads: int = Field(default=4, ge=1, le=64)
    """Threads of a worker for recursive proofs, if there are as many usable cores; a fifth of its work has one only."""

    backend: Literal["auto", "cpu", "cuda", "reference"] = "auto"
    """What runs field programs: compiled SIMD code, a GPU, or readable Python that is far slower."""

    gpu_memory_percent: int = Field(default=90, ge=1, le=100)
    """Share of the GPU's memory that one worker may take, percent."""

    lease_seconds: int = Field(default=300, ge=1, le=86_400)
    """How long a worker owns a job without a heartbeat, seconds."""

    heartbeat_seconds: int = Field(default=10, ge=1, le=3_600)
    """How often a working prover renews its lease, seconds."""

    max_attempts: int = Field(default=5, ge=1, le=1_000)
    """Failed attempts after which a job waits for a person."""

    max_unproven_windows: int = Field(default=1_024, ge=1, le=MAX_COUNT - 1)
    """How many windows the cut of proof jobs may run ahead of the accepted proofs; beyond it blocks wait on the log."""

    pyramid: bool = True
    """Whether accepted segments are joined by recursive proofs up to the day's; without them a window's proof is the
    list of its segments' proofs."""

    minimum_proven_bits: int = Field(default=100, ge=100, le=128)
    """Least proven soundness of an accepted proof, bits; never below 100."""

    @model_validator(mode="after")
    def _heartbeat_keeps_the_lease(self) -> Self:
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            raise ValueError("lease_seconds must be at least twice heartbeat_seconds")
        return self


class StorageConfig(Section):
    """Where things are kept."""

    data: str = Field(default="ecliptica-data", min_length=1)
    """Data directory."""

    log_url: str = ""
    """Event log: sqlite:///PATH or kafka://HOST:PORT/NAME; empty for DATA/log.sqlite."""


class RetentionConfig(Section):
    """What is removed from the log."""

    messages: bool = False
    """Whether `run export` and `run all` remove proposals, votes and certificates once their epoch is exported with all its
    proofs. The export is then the only place that has an epoch's votes: keep a copy."""


class MetricsConfig(Section):
    """What a process shows to those who watch it, over HTTP: `/metrics`, `/health` and `/ready`."""

    port: int = Field(default=0, ge=0, le=65_000)
    """First port; every process adds its place in the plan, below 300. 0 switches metrics and endpoints off."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address to listen on. Nothing is encrypted and nobody is asked who he is: beyond loopback only inside a network of
    one's own."""

    stalled_seconds: int = Field(default=60, ge=1, le=86_400)
    """How long the loop may not turn before `/health` says no, seconds; a proof in the calling process takes up to 20."""

    ready_lag_millis: int = Field(default=10_000, ge=1, le=86_400_000)
    """Age of the oldest unread record above which `/ready` says no, milliseconds."""


class LogsConfig(Section):
    """Log lines of the processes, in `DATA/run/<process>.log`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is written."""

    format: Literal["text", "json"] = "text"
    """key=value text, or one JSON object a line."""


class StreamingConfig(Section):
    """What closes windows and plans their jobs, and where Beam pipelines run."""

    runner: Literal["loop", "direct", "prism", "flink"] = "loop"
    """`loop`: the process `chain`, by its own loop. `direct` and `flink`: the pipeline `windows`, which also counts every window;
    on Beam's local runner, or as a job on Flink. All processes of a chain must be given the same. `prism` is not there."""

    job_server: str = Field(default="127.0.0.1:8099", pattern=r"^[^:\s]+:[0-9]{1,5}$")
    """Beam job server for Flink, HOST:PORT; `make flink` starts one."""


class DemoConfig(Section):
    """What `ecliptica demo` plays."""

    days: int = Field(default=1, ge=1, le=365)
    """Days of the configured clock."""

    transactions_per_second: int = Field(default=16, ge=1, le=100_000)
    """Rate of the generated traffic that follows the imported one."""

    traffic: str = ""
    """Ethereum-ETL transactions to import first; empty for the sample of two real blocks."""

    seed: int = Field(default=1, ge=0, lt=2**64)
    """Seed of keys and generated traffic."""


class Configuration(BaseModel):
    """The whole configuration of one process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["local", "target"] = "local"
    clock: ClockConfig = ClockConfig()
    chain: ChainConfig = ChainConfig()
    admission: AdmissionConfig = AdmissionConfig()
    consensus: ConsensusConfig = ConsensusConfig()
    proving: ProvingConfig = ProvingConfig()
    storage: StorageConfig = StorageConfig()
    retention: RetentionConfig = RetentionConfig()
    metrics: MetricsConfig = MetricsConfig()
    logs: LogsConfig = LogsConfig()
    streaming: StreamingConfig = StreamingConfig()
    demo: DemoConfig = DemoConfig()


PROFILES: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = MappingProxyType(
    {
        "target": {},
        "local": {
            "clock": {
                "slot_micros": 78_125,
                "windows_per_shard_epoch": 3,
                "shard_epochs_per_hour": 2,
                "epochs_per_day": 2,
            },
            "chain": {"number": 2, "shards": 2, "validators": 4},
        },
    }
)
"""What each profile changes. Local: a window of 5 s and a day of 12 windows; two shards, the fewest that pay
each other, so that the day is proven in minutes on two cores; its own chain number, so that a signature made for a
demo is worth nothing elsewhere."""


def profile_configuration(profile: str) -> Configuration:
    """Returns the configuration of a profile, without file, environment or flags.

    Raises:
        ParameterError: There is no such profile.
    """
    if profile not in PROFILES:
        raise ParameterError(
            f"there is no profile {profile!r}", f"profiles: {', '.join(sorted(PROFILES))}"
        )
    return Configuration.model_validate({"profile": profile, **PROFILES[profile]})
