"""The names of the topics: one place, so that no stage spells one itself."""

from __future__ import annotations

from schemas.errors import ParameterError

REJECTED = "rejected"
JOBS = "jobs"
PROOFS = "proofs"
FAULTS = "faults"
RECEIPTS = "receipts"
BEACON = "beacon"
SCHEMAS = "schemas"

SHARED_TOPICS = (REJECTED, JOBS, PROOFS, FAULTS, RECEIPTS, BEACON, SCHEMAS)
"""Topics that exist once per log."""

SHARD_STEMS = ("tx", "admitted", "proposals", "votes", "certificates", "blocks", "windows")
"""Topics that exist once per shard, as `<stem>.<shard>`."""

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
