"""The names of the topics: one place, so that no stage spells one itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.errors import ParameterError

REJECTED = "rejected"
JOBS = "jobs"
PROOFS = "proofs"
FAULTS = "faults"
RECEIPTS = "receipts"
BEACON = "beacon"
SCHEMAS = "schemas"
GENESIS = "genesis"

SHARED_TOPICS = (REJECTED, JOBS, PROOFS, FAULTS, RECEIPTS, BEACON, SCHEMAS, GENESIS)
"""Topics that exist once per log."""

SHARD_STEMS = ("tx", "admitted", "proposals", "votes", "certificates", "blocks", "windows")
"""Topics that exist once per shard, as `<stem>.<shard>`."""

POSITIONS_STEM = "positions"
"""Topics in which the Kafka log keeps what each reader has committed, as `positions.<reader>`; no topic of a chain."""

SCRATCH_GROUP = "reads"
"""Kafka group of consumers that keep no positions; nothing is stored under it."""

FOREVER = -1
"""A retention without end."""


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """How a topic is kept where the log has a choice (Kafka).

    Attributes:
        retention_millis: How long a record is kept, milliseconds; `FOREVER` for all that audits replay.
        is_compacted: Whether only the last record of each key is kept; every record then needs a key.
        segment_bytes: Size of the files in which it is removed or compacted, bytes.
    """

    retention_millis: int = FOREVER
    is_compacted: bool = False
    segment_bytes: int = 256 * 2**20

    def settings(self) -> Mapping[str, str]:
        """Returns the plan as Kafka's settings of a topic."""
        kept = {
            "cleanup.policy": "compact" if self.is_compacted else "delete",
            "retention.ms": str(self.retention_millis),
            "retention.bytes": "-1",
            "segment.bytes": str(self.segment_bytes),
        }
        if self.is_compacted:
            kept |= {"min.cleanable.dirty.ratio": "0.1", "delete.retention.ms": "60000"}
        return kept


SMALL_SEGMENT_BYTES = 2**20
"""Compaction leaves the newest segment alone, so what is read whole at every start has small ones."""

PLANS: Mapping[str, TopicPlan] = {
    SCHEMAS: TopicPlan(is_compacted=True, segment_bytes=SMALL_SEGMENT_BYTES),
    POSITIONS_STEM: TopicPlan(is_compacted=True, segment_bytes=SMALL_SEGMENT_BYTES),
}
"""Plans by topic or stem; all others keep every record, since replay and audit start at the first one."""

BEACON_SHARD = 0x3FFFFFFF
"""Shard number of the beacon's own consensus; above every ledger shard."""


def shard_topic(stem: str, shard: int) -> str:
    """Returns the topic of a shard, such as `tx.0`.

    Raises:
        ParameterError: The stem is unknown or the shard negative.
    """
    if stem not in SHARD_STEMS or shard < 0:
        raise ParameterError(
            f"there is no topic {stem}.{shard}", f"stems: {', '.join(SHARD_STEMS)}"
        )
    return f"{stem}.{shard}"


def all_topics(shards: int) -> list[str]:
    """Returns every topic of a log with `shards` shards, sorted."""
    per_shard = [shard_topic(stem, shard) for stem in SHARD_STEMS for shard in range(shards)]
    return sorted([*SHARED_TOPICS, *per_shard])


def plan_of(topic: str) -> TopicPlan:
    """Returns how a topic is kept."""
    return PLANS.get(topic.partition(".")[0], TopicPlan())


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.")


def positions_topic(name: str) -> str:
    """Returns the topic that keeps a reader's positions; different names have different ones.

    The topic of a name that begins with another name begins with that one's topic.
    """
    escaped = "".join(one if one in _PLAIN else f"-{ord(one):02x}" for one in name)
    return f"{POSITIONS_STEM}.{escaped}"


@dataclass(frozen=True, slots=True)
class Access:
    """What one role may do on a shared log.

    Attributes:
        reads: Topics, or stems of shards' topics.
        writes: The same.
        readers: How the names of its readers begin; empty for a role that keeps no positions.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    readers: tuple[str, ...] = ()

    @property
    def all_reads(self) -> tuple[str, ...]:
        """What it reads, and whose log it is."""
        return (*self.reads, GENESIS)


_MESSAGES = ("proposals", "votes", "certificates")

ACCESS: Mapping[str, Access] = {
    "wallet": Access(("tx", "admitted", "blocks", RECEIPTS, REJECTED, BEACON, SCHEMAS), ("tx",)),
    "admission": Access(
        ("tx", "admitted", "blocks", REJECTED, SCHEMAS),
        ("admitted", RECEIPTS, REJECTED),
        readers=("admission.",),
    ),
    "validator": Access(
        ("tx", "admitted", "blocks", *_MESSAGES, SCHEMAS), _MESSAGES, readers=("validator-",)
    ),
    "beacon": Access(
        ("blocks", PROOFS, FAULTS, BEACON, SCHEMAS), (BEACON,), readers=("validator-",)
    ),
    "chain": Access(
        ("tx", "admitted", "blocks", *_MESSAGES, PROOFS, FAULTS, BEACON, SCHEMAS),
        ("blocks", "windows", RECEIPTS, REJECTED, FAULTS, JOBS, BEACON),
        readers=("observer-", "windows."),
    ),
    "prover": Access((JOBS, PROOFS, SCHEMAS), (JOBS, PROOFS), readers=("prover.",)),
    "pyramid": Access(
        ("blocks", "windows", BEACON, JOBS, PROOFS, SCHEMAS), (JOBS,), readers=("pyramid",)
    ),
    "windows": Access(
        ("tx", "votes", "blocks", RECEIPTS, REJECTED, BEACON, SCHEMAS),
        ("windows", JOBS, REJECTED),
        readers=("windows.", "analytics."),
    ),
    "analytics": Access(
        ("tx", "votes", "blocks", RECEIPTS, REJECTED, SCHEMAS), (), readers=("analytics.",)
    ),
    "auditor": Access((*SHARD_STEMS, *SHARED_TOPICS), ()),
}
"""Roles of `ecliptica run` and of those beside it; who starts a chain makes its topics and is no role."""
