"""What a day came to, as `ecliptica demo` reports it: counted on the log, verified in a process of its own.

What is not built yet is null with the reason beside it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import proving
from operators.audit_views import named_queries, query_epochs
from operators.day_files import checkpoint_path, day_path
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


def transaction_counts(
    settings: Settings, outcome: DayOutcome, *, days_are_final: bool
) -> dict[str, Any]:
    """Returns the counts of the traffic; rejected ones by reason, and what is not beacon_final likewise.

    Args:
        settings: Of the demo.
        outcome: What it came to.
        days_are_final: Whether a light client accepts every day of the demo.
    """
    verdicts = outcome.verdicts
    rejected = {name: n for name, n in verdicts.observed.items() if name != ADMITTED}
    final = verdicts.observed.get(ADMITTED, 0)
    submitted = sum(verdicts.expected.values())
    proven = outcome.chain.window_transactions if outcome.chain.is_proven else 0
    in_days = proven if days_are_final else 0
    return {
        "submitted": submitted,
        "admitted": count_admitted(settings, outcome.places),
        "rejected": sum(rejected.values()),
        "bft_final": final,
        "proven": proven,
        "beacon_final": in_days,
        "not_beacon_final": _not_beacon_final(settings, final - in_days, days_are_final),
        "rejected_by_reason": dict(sorted(rejected.items())),
        "differs_from_expected": {
            name: {"expected": pair[0], "observed": pair[1]}
            for name, pair in verdicts.differences.items()
        },
    }


def _not_beacon_final(settings: Settings, count: int, days_are_final: bool) -> dict[str, int]:
    """Returns how many transactions are not beacon_final, by the reason why."""
    if not count:
        return {}
    if not settings.configuration.proving.pyramid:
        return {"recursive proofs are switched off: proving.pyramid": count}
    if days_are_final:
        return {"their blocks lie after the demo's last day": count}
    return {"a day was refused by the light client": count}


def light_verdict(data: Path, day: int) -> dict[str, Any]:
    """Verifies a day as a light client does: in a process of its own with nothing but the standard library.

    Returns:
        Its JSON with `exit_code`; `error` if it did not accept.
    """
    previous = checkpoint_path(data) if day == 0 else day_path(data, day - 1, "certificate")
    client = Path(proving.__file__).parent / "light"
    arguments = [str(day_path(data, day, "proof")), "--previous", str(previous), "--json"]
    finished = subprocess.run(  # noqa: S603 - our own interpreter and program
        [sys.executable, "-I", "-S", str(client), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=VERIFY_TIMEOUT_SECONDS,
        check=False,
    )
    lines = finished.stdout.decode("utf-8", "replace").strip().splitlines()
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    error = finished.stderr.decode("utf-8", "replace").strip()
    return {"accepted": False, "error": error, **found, "exit_code": finished.returncode}


def beacon_report(
    data: Path, day: int, verdict: Mapping[str, Any], verified: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns what the demo says of the last day's proof: the light client's verdict and the calculator's bits."""
    path = day_path(data, day, "proof")
    proof = path.read_bytes()
    digest = hashlib.sha256(proof).hexdigest()
    bits = [one["proven_bits"] for one in verified["proofs"] if one["sha256"] == digest]
    return {
        "path": path,
        "bytes": len(proof),
        "proven_bits": bits[0] if bits else None,
        "verify_ms": verdict.get("proof_ms"),
        "certificate_ms": verdict.get("certificate_ms"),
        "sha256": digest,
        "accepted": verdict["accepted"],
        "error": verdict["error"],
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
    """Returns one entry per level of the pyramid, counted over the proofs on file that hold.

    A level of which nothing is on file says so with null: the pyramid is switched off, or a shard's epoch was one
    lift, which needs no join above it.
    """
    seconds: dict[str, dict[bytes, float]] = defaultdict(dict)
    with closing(open_log(settings.log_url)) as log:
        for row in TopicView(log).rows(PROOFS_TOPIC, PROOFS):
            best = seconds[row["level"]]
            best[row["job_id"]] = min(
                row["prove_seconds"], best.get(row["job_id"], row["prove_seconds"])
            )
    proofs = [proof for proof in verified["proofs"] if proof["accepted"]]
    entries = []
    for level in ProofLevel:
        mine = [proof for proof in proofs if Path(proof["file"]).parent.name == level.value]
        entries.append(
            {
                "level": level.value,
                "count": len(mine) or None,
                "bytes_max": max((p["bytes"] for p in mine), default=None),
                "proven_bits_min": min((p["proven_bits"] for p in mine), default=None),
                "prove_seconds": round(sum(seconds[level.value].values()), 3) if mine else None,
                "verify_ms_max": max((p["verify_ms"] for p in mine), default=None),
            }
        )
    return entries


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
    """Returns the proofs of a data directory, level by level."""
    return [path for level in ProofLevel for path in proof_files(data, level)]


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
