"""What a day came to, as `ecliptica demo` reports it: counted on the log, verified in a process of its own.

What is not built yet is null with the reason beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from operators.audit_views import named_queries, query_epochs
from operators.event_log import open_log
from operators.export_files import epoch_folder, exported_epochs, read_manifest
from operators.proof_files import proof_files
from operators.topic_view import TopicView
from pipelines.corpus import ADMITTED
from pipelines.day import DayOutcome
from pipelines.latency import NANOS_PER_MILLI, LatencyRecorder, LatencySummary
from pipelines.settings import Settings
from schemas.job import ProofLevel
from schemas.tables import ADMITTED as ADMITTED_TABLE
from schemas.tables import BLOCKS, PROOFS
from schemas.topics import PROOFS as PROOFS_TOPIC
from schemas.topics import shard_topic

VERIFY_TIMEOUT_SECONDS = 600.0

NOT_BUILT_LEVELS = (
    ProofLevel.SHARD_EPOCH,
    ProofLevel.SHARD_HOUR,
    ProofLevel.EPOCH,
    ProofLevel.DAY,
)
WHY_NOT_FINAL = "the recursive proofs that end a day in one proof are not built yet"


def verify_in_fresh_process(files: list[Path], minimum_bits: int) -> Mapping[str, Any]:
    """Verifies proof files by the command itself, in a process that has seen nothing else.

    Returns:
        Its JSON: `proofs` with one entry per file, `accepted` and `exit_code`; `error` if it failed.
    """
    arguments = ["proof", "verify", "--json", "--minimum-bits", str(minimum_bits)]
    finished = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "pipelines.cli", *arguments, *map(str, files)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=VERIFY_TIMEOUT_SECONDS,
        check=False,
    )
    lines = finished.stdout.decode("utf-8", "replace").strip().splitlines()
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    if "proofs" not in found and "file" in found:
        found = {"proofs": [found], "accepted": int(found["accepted"])}
    return {"proofs": [], "accepted": 0, **found, "exit_code": finished.returncode}


def count_admitted(settings: Settings, shards: Sequence[Collection[tuple[int, int]]]) -> int:
    """Counts the verdict bits that admit a transaction at one of the places, (offset, row), of each shard."""
    return sum(_count_admitted(settings, shard, places) for shard, places in enumerate(shards))


def _count_admitted(settings: Settings, shard: int, places: Collection[tuple[int, int]]) -> int:
    rows_of: dict[int, list[int]] = defaultdict(list)
    for offset, position in places:
        rows_of[offset].append(position)
    with closing(open_log(settings.log_url)) as log:
        rows = TopicView(log).rows(shard_topic("admitted", shard), ADMITTED_TABLE)
        return sum(
            int.from_bytes(row["verdicts"], "little") >> position & 1
            for row in rows
            for position in rows_of[row["source_offset"]]
        )


def transaction_counts(settings: Settings, outcome: DayOutcome) -> dict[str, Any]:
    """Returns the counts of the traffic; rejected ones by reason."""
    verdicts = outcome.verdicts
    rejected = {name: n for name, n in verdicts.observed.items() if name != ADMITTED}
    final = verdicts.observed.get(ADMITTED, 0)
    submitted = sum(verdicts.expected.values())
    window_proven = outcome.chain.window_transactions if outcome.chain.is_proven else 0
    return {
        "submitted": submitted,
        "admitted": count_admitted(settings, outcome.places),
        "rejected": sum(rejected.values()),
        "bft_final": final,
        "window_proven": window_proven,
        "proven": None,
        "beacon_final": None,
        "not_beacon_final": {WHY_NOT_FINAL: final},
        "rejected_by_reason": dict(sorted(rejected.items())),
        "differs_from_expected": {
            name: {"expected": pair[0], "observed": pair[1]}
            for name, pair in verdicts.differences.items()
        },
    }


def latencies(settings: Settings, outcome: DayOutcome) -> dict[str, Any]:
    """Returns milliseconds by measure; `bft_final` is from the scheduled send time of the played traffic."""
    recorder = LatencyRecorder()
    with closing(open_log(settings.log_url)) as log:
        for shard in range(len(outcome.chain.shards)):
            for row in TopicView(log).rows(shard_topic("blocks", shard), BLOCKS):
                if row["transactions"]:
                    millis = row["certified_millis"] - row["proposed_millis"]
                    recorder.add(millis * NANOS_PER_MILLI)
    return {
        "bft_final": _percentiles(outcome.verdicts.final_latency_ms),
        "proposal_to_certificate": _percentiles(recorder.summary()),
    }


def proof_levels(settings: Settings, verified: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns one entry per level of the pyramid; a window's proof is the list of its segments' proofs."""
    seconds: dict[tuple[int, int, int], float] = {}
    with closing(open_log(settings.log_url)) as log:
        for row in TopicView(log).rows(PROOFS_TOPIC, PROOFS):
            place = (row["shard"], row["window"], row["segment"])
            seconds[place] = min(row["prove_seconds"], seconds.get(place, row["prove_seconds"]))
    proofs = [proof for proof in verified["proofs"] if proof["accepted"]]
    windows: dict[tuple[int, int], int] = defaultdict(int)
    window_seconds: dict[tuple[int, int], float] = defaultdict(float)
    window_ms: dict[tuple[int, int], float] = defaultdict(float)
    for proof in proofs:
        shown = proof["shown"]
        window = (shown["shard"], shown["window"])
        windows[window] += proof["bytes"]
        window_seconds[window] += seconds.get((*window, shown["segment"]), 0)
        window_ms[window] += proof["verify_ms"]
    entries = [
        {
            "level": ProofLevel.SEGMENT.value,
            "count": len(proofs),
            "bytes_max": max((p["bytes"] for p in proofs), default=None),
            "proven_bits_min": min((p["proven_bits"] for p in proofs), default=None),
            "prove_seconds": round(sum(seconds.values()), 3),
            "verify_ms_max": max((p["verify_ms"] for p in proofs), default=None),
        },
        {
            "level": ProofLevel.WINDOW.value,
            "count": len(windows),
            "bytes_max": max(windows.values(), default=None),
            "proven_bits_min": min((p["proven_bits"] for p in proofs), default=None),
            "prove_seconds": round(sum(window_seconds.values()), 3),
            "verify_ms_max": round(max(window_ms.values()), 1) if window_ms else None,
        },
    ]
    absent = dict.fromkeys(
        ("count", "bytes_max", "proven_bits_min", "prove_seconds", "verify_ms_max")
    )
    return entries + [
        {"level": level.value, **absent, "why": "recursion is not built yet"}
        for level in NOT_BUILT_LEVELS
    ]


def supply(data: Path) -> dict[str, Any] | None:
    """Returns where the units are after the last exported epochs, all shards together, or None without one.

    `holds` means that every epoch of every shard adds up, and that what is on its way between shards is what
    some have sent and others not taken.
    """
    if next(exported_epochs(data), None) is None:
        return None
    result = query_epochs(data, named_queries()["supply"].sql)
    rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
    last = {row["shard"]: row for row in sorted(rows, key=lambda row: int(row["epoch"]))}
    joined = {
        name: sum(row[name] or 0 for row in last.values())
        for name in result.columns
        if name not in ("shard", "epoch", "holds")
    }
    underway = sum(row[-1] for row in query_epochs(data, named_queries()["in-transit"].sql).rows)
    place = {"shards": len(last), "epoch": max(row["epoch"] for row in last.values())}
    holds = all(row["holds"] for row in rows) and joined["departed"] == underway
    return {**place, **joined, "holds": holds}


def epochs(data: Path) -> list[dict[str, Any]]:
    """Returns the exported epochs in short."""
    found = []
    for shard, epoch in exported_epochs(data):
        manifest = read_manifest(epoch_folder(data, shard, epoch))
        found.append(
            {
                "shard": shard,
                "epoch": epoch,
                "transactions": manifest.files["transactions.parquet"].rows,
                "complete": manifest.complete,
            }
        )
    return found


def all_proof_files(data: Path) -> list[Path]:
    """Returns the accepted proofs of a data directory."""
    return proof_files(data, ProofLevel.SEGMENT)


def _percentiles(summary: LatencySummary | None) -> dict[str, float] | None:
    if summary is None:
        return None
    return {
        "count": summary.count,
        "p50": summary.p50,
        "p95": summary.p95,
        "p99": summary.p99,
        "max": summary.max,
    }
