"""The counted chain's log without what the windows stage writes, and what that stage has to write there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from operators.event_log import EventLog, Headers, Record, StoredRecord, open_log
from operators.log_sqlite import SqliteLog
from operators.window_planning import Planning
from operators.windows_supply import open_windows
from pipelines.analytics import CountingPlace
from pipelines.window_roles import stage_of
from schemas.genesis import Genesis
from tests.suites.counted_chain import SHARDS, counted_chain, two_shards

NOW = 1_800_000_100_000
MAX_AHEAD = 1_000
Planned = dict[str, list[tuple[bytes, Headers, bytes]]]
"""Value, headers and key of records by topic."""

OUTPUTS = ("windows.0", "windows.1", "jobs")


def chain_records() -> list[StoredRecord]:
    """Returns the records of the counted chain in order, without windows, jobs and the receipts of proofs."""
    with open_log(counted_chain().log_url) as source:
        topics = [one for one in source.topics() if one not in OUTPUTS]
        reader = source.reader("planned", topics)
        found: list[StoredRecord] = []
        while records := reader.poll(256):
            found += records
        return found


def unplanned_log(path: Path, records: Sequence[StoredRecord] | None = None) -> str:
    """Writes a log in which nothing is planned yet, and returns its address."""
    clock, url = [0], f"sqlite:///{path}"
    with SqliteLog(url, path, lambda: clock[0]) as log, open_log(counted_chain().log_url) as source:
        log.create_topics(dict(source.topics()))
        for record in chain_records() if records is None else records:
            clock[0] = record.append_millis
            copied = Record(record.value, record.headers, record.key)
            log.append(record.topic, [copied], is_durable=False)
    return url


def plan_by_loop(url: str, directory: Path) -> None:
    """Has the loop driver plan what is there."""
    genesis = counted_chain().genesis
    with open_log(url) as log:
        for shard in range(SHARDS):
            stage = stage_of(genesis, two_shards(), shard)
            driver = open_windows(stage, log, directory)
            while driver.run_once(0.0, NOW):
                pass
            driver.close()


def planning(
    directory: Path, max_ahead: int = MAX_AHEAD, genesis: Genesis | None = None
) -> Planning:
    """Returns how Beam plans the chain, or one that began at another time."""
    build = partial(stage_of, genesis or counted_chain().genesis, two_shards())
    return Planning(build, directory, max_ahead)


def planned_place(
    log: EventLog, root: Path, max_ahead: int = MAX_AHEAD, genesis: Genesis | None = None
) -> CountingPlace:
    """Returns what a runner is given."""
    planned = planning(root / "stages", max_ahead, genesis)
    chain = genesis or counted_chain().genesis
    return CountingPlace(log, log.url, chain, range(SHARDS), root, planned)


def planned_records(url: str) -> Planned:
    """Returns what was planned by topic; jobs, which shards write by turns, in the order of their bytes."""
    with open_log(url) as log:
        found = {
            topic: [(one.value, one.headers, one.key) for one in log.read(topic, 0, 10_000)]
            for topic in OUTPUTS
        }
    found["jobs"].sort(key=lambda one: one[0])
    return found
