"""The Grafana dashboard, made from a table of panels; `python -m deploy.grafana_dashboard --write` stores it.

Grafana takes `grafana/ecliptica.json` as it is: import it, and choose the Prometheus that scrapes the processes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.metrics import (
    ACCEPTED_PROOFS,
    ADMISSION_HELD,
    ADMISSION_ROOM,
    ADMISSION_WAITING,
    BLOCK_SECONDS,
    CERTIFICATE_SECONDS,
    CONSENSUS_MESSAGES,
    CONSENSUS_STEP_SECONDS,
    CONSENSUS_TIMEOUTS,
    CONSENSUS_UNDECODABLE,
    CONSENSUS_VIEW,
    DEAD_LETTERS,
    EXPORTED_EPOCHS,
    FINAL_BLOCKS,
    FINAL_HEIGHT,
    FINAL_TRANSACTIONS,
    JOB_EVENTS,
    KEPT_PROOFS,
    LOG_APPEND_SECONDS,
    LOG_BYTES,
    LOG_RECORDS,
    MEMPOOL_TRANSACTIONS,
    PROCESS_INFO,
    PROCESS_READY,
    PROCESS_RESTARTS,
    PROOF_TIME,
    QUEUE_JOBS,
    READER_ABORTS,
    READER_BATCH,
    READER_COMMIT_SECONDS,
    READER_LAG_RECORDS,
    READER_LAG_SECONDS,
    READER_RECORDS,
    RUNNING_JOBS,
    SEALED_EPOCH,
    STAGE_ROWS,
    STAGE_STEP_SECONDS,
    SUBMISSION_SECONDS,
    WAITING_PROOFS,
    Metric,
)

FILE = Path(__file__).resolve().parent / "grafana" / "ecliptica.json"
UID = "ecliptica"
WIDTH, HEIGHT = 8, 8
"""Of a panel, in Grafana's grid of 24 columns: three to a row."""

RATE_WINDOW = "$__rate_interval"
"""Grafana's own: at least four scrapes."""


@dataclass(frozen=True, slots=True)
class Query:
    """One line of a panel: an expression, and how its series are called."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: Shown above it.
        unit: Grafana's name of the unit.
        queries: What it draws.
        meaning: What to look for.
    """

    title: str
    unit: str
    queries: tuple[Query, ...]
    meaning: str


def rate(metric: Metric, *labels: str) -> Query:
    """Returns the rate of a counter, summed by labels."""
    return Query(
        f"sum by ({', '.join(labels)}) (rate({metric.name}[{RATE_WINDOW}]))", legend(*labels)
    )


def quantile(share: float, metric: Metric, *labels: str) -> Query:
    """Returns a quantile of a histogram by labels."""
    by = ", ".join(("le", *labels))
    expression = (
        f"histogram_quantile({share}, sum by ({by}) (rate({metric.name}_bucket[{RATE_WINDOW}])))"
    )
    return Query(expression, f"p{share * 100:g} {legend(*labels)}".strip())


def mean(metric: Metric, *labels: str) -> Query:
    """Returns the mean of a histogram by labels."""
    by = ", ".join(labels)
    total, count = (
        f"sum by ({by}) (rate({metric.name}_{part}[{RATE_WINDOW}]))" for part in ("sum", "count")
    )
    return Query(f"{total} / {count}", legend(*labels))


def largest(metric: Metric, *labels: str) -> Query:
    """Returns the largest value of a gauge by labels."""
    return Query(f"max by ({', '.join(labels)}) ({metric.name})", legend(*labels))


def named(name: str, query: Query) -> Query:
    """Returns a query whose series begin with a name, for panels with several."""
    return Query(query.expression, f"{name} {query.legend}")


def legend(*labels: str) -> str:
    """Returns how a series is called."""
    return " ".join(f"{{{{{label}}}}}" for label in labels)


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Is it well",
        (
            Panel(
                "Ready",
                "bool_yes_no",
                (largest(PROCESS_READY, "process"),),
                "Started, turning and caught up. A process that is gone has no line.",
            ),
            Panel(
                "Restarts in an hour",
                "short",
                (
                    Query(
                        f"sum by (process) (increase({PROCESS_RESTARTS.name}[1h]))",
                        legend("process"),
                    ),
                ),
                "Grows when a process dies; its last words are in DATA/run/<process>.log.",
            ),
            Panel(
                "Versions",
                "short",
                (Query(f"count by (version) ({PROCESS_INFO.name})", legend("version")),),
                "Processes by version: two lines during a rolling upgrade.",
            ),
            Panel(
                "Final transactions per second",
                "ops",
                (rate(FINAL_TRANSACTIONS, "shard"),),
                "What a quorum has made final.",
            ),
            Panel(
                "Proposal to certificate",
                "s",
                (
                    quantile(0.5, CERTIFICATE_SECONDS, "shard"),
                    quantile(0.99, CERTIFICATE_SECONDS, "shard"),
                ),
                "The goal is a p99 below 0.2 s; seconds mean that views time out.",
            ),
            Panel(
                "Submission to finality",
                "s",
                (
                    quantile(0.5, SUBMISSION_SECONDS, "shard"),
                    quantile(0.99, SUBMISSION_SECONDS, "shard"),
                ),
                "What a user waits, from the time that the transaction states.",
            ),
        ),
    ),
    (
        "The log",
        (
            Panel(
                "Lag, age of the oldest unread record",
                "s",
                (largest(READER_LAG_SECONDS, "reader"),),
                "Steady is well; a line that rises is a stage that cannot keep up or stands.",
            ),
            Panel(
                "Lag, records", "short", (largest(READER_LAG_RECORDS, "reader"),), "As beside it."
            ),
            Panel(
                "Records read per second",
                "ops",
                (rate(READER_RECORDS, "reader"),),
                "What each reader was given.",
            ),
            Panel(
                "Records of a poll",
                "short",
                (mean(READER_BATCH, "reader"),),
                "Large batches under load are well; one record at a time costs a commit each.",
            ),
            Panel(
                "Append, p99",
                "s",
                (quantile(0.99, LOG_APPEND_SECONDS, "topic"),),
                "The disk, or the broker.",
            ),
            Panel(
                "Commit, p99",
                "s",
                (quantile(0.99, READER_COMMIT_SECONDS, "reader"),),
                "The disk, or the broker's transactions.",
            ),
            Panel(
                "Records written per second",
                "ops",
                (rate(LOG_RECORDS, "topic"),),
                "By topic, all processes.",
            ),
            Panel(
                "Failed commits per second",
                "ops",
                (rate(READER_ABORTS, "reader", "kind"),),
                "FencedError: a second process of that name was started.",
            ),
            Panel(
                "Size",
                "bytes",
                (Query(f"max({LOG_BYTES.name})", "log"),),
                "The embedded log alone; Kafka's is its own to tell.",
            ),
        ),
    ),
    (
        "Stages and consensus",
        (
            Panel(
                "Step of a stage, p99",
                "s",
                (quantile(0.99, STAGE_STEP_SECONDS, "stage"),),
                "Admission and windows, without the log.",
            ),
            Panel(
                "Rows per second",
                "ops",
                (rate(STAGE_ROWS, "stage", "topic"),),
                "Verdicts on admitted.*, closed windows on windows.*, planned jobs on jobs.",
            ),
            Panel(
                "Dead letters per second",
                "ops",
                (rate(DEAD_LETTERS, "reason"),),
                "`ecliptica dead-letter list` shows them.",
            ),
            Panel(
                "Mempool",
                "short",
                (largest(MEMPOOL_TRANSACTIONS, "shard"),),
                "Admitted and not final; the largest of the validators'.",
            ),
            Panel(
                "Admission",
                "short",
                (
                    named("waiting", largest(ADMISSION_WAITING, "shard")),
                    named("room", largest(ADMISSION_ROOM, "shard")),
                    named("held", largest(ADMISSION_HELD, "shard")),
                ),
                "Held is 1 under more load than blocks hold: the rest waits on the log.",
            ),
            Panel(
                "Work on a block, p99",
                "s",
                (quantile(0.99, BLOCK_SECONDS, "kind", "shard"),),
                "Build, check, finalize.",
            ),
            Panel(
                "Turn of consensus, p99",
                "s",
                (quantile(0.99, CONSENSUS_STEP_SECONDS, "shard"),),
                "With journal and log.",
            ),
            Panel(
                "Messages per second",
                "ops",
                (rate(CONSENSUS_MESSAGES, "kind", "shard"),),
                "All validators'.",
            ),
            Panel(
                "Time-outs per second",
                "ops",
                (rate(CONSENSUS_TIMEOUTS, "shard"),),
                "An idle chain times out too.",
            ),
            Panel(
                "Final height and view",
                "short",
                (
                    named("height", largest(FINAL_HEIGHT, "shard")),
                    named("view", largest(CONSENSUS_VIEW, "shard")),
                ),
                "Views that grow without heights are skipped ones.",
            ),
            Panel(
                "Final blocks per second",
                "ops",
                (rate(FINAL_BLOCKS, "shard"),),
                "Of the beacon too.",
            ),
            Panel(
                "Records that are no message",
                "short",
                (largest(CONSENSUS_UNDECODABLE, "shard"),),
                "Somebody writes to the topics of consensus what no validator would.",
            ),
        ),
    ),
    (
        "Proofs",
        (
            Panel(
                "Jobs", "short", (largest(QUEUE_JOBS, "state"),), "A dead job waits for a person."
            ),
            Panel(
                "In the making",
                "short",
                (Query(f"sum({RUNNING_JOBS.name})", "running"),),
                "In all provers' pools.",
            ),
            Panel(
                "Events of jobs per second",
                "ops",
                (
                    Query(
                        f"max by (event) (rate({JOB_EVENTS.name}[{RATE_WINDOW}]))", legend("event")
                    ),
                ),
                "Planned and proved should keep step; failed and lost should be none.",
            ),
            Panel(
                "Time of a proof",
                "s",
                (quantile(0.5, PROOF_TIME, "level"), quantile(0.95, PROOF_TIME, "level")),
                "In its worker.",
            ),
            Panel(
                "Recursive proofs missing",
                "short",
                (largest(WAITING_PROOFS, "level"),),
                "Planned and not on file.",
            ),
            Panel(
                "Recursive proofs kept per second",
                "ops",
                (rate(KEPT_PROOFS, "level"),),
                "Verified and put on file.",
            ),
            Panel(
                "Segment proofs accepted per second",
                "ops",
                (rate(ACCEPTED_PROOFS, "shard"),),
                "By the beacon.",
            ),
            Panel(
                "Sealed epoch",
                "short",
                (Query(f"max({SEALED_EPOCH.name})", "sealed"),),
                "Of the shard that is least far.",
            ),
            Panel(
                "Epochs written in an hour",
                "short",
                (Query(f"sum(increase({EXPORTED_EPOCHS.name}[1h]))", "written"),),
                "As Parquet, rewritten ones counted again.",
            ),
        ),
    ),
    (
        "Machines",
        (
            Panel(
                "Processor",
                "percentunit",
                (
                    Query(
                        f"sum by (instance) (rate(process_cpu_seconds_total[{RATE_WINDOW}]))",
                        legend("instance"),
                    ),
                ),
                "Share of one core; Ray's workers are processes of their own and not in it.",
            ),
            Panel(
                "Memory",
                "bytes",
                (Query("max by (instance) (process_resident_memory_bytes)", legend("instance")),),
                "Resident; a line that rises for hours is a leak.",
            ),
            Panel(
                "Open files",
                "short",
                (Query("max by (instance) (process_open_fds)", legend("instance")),),
                "Connections are files.",
            ),
        ),
    ),
)
"""Rows of the dashboard and their panels."""


def dashboard() -> dict[str, Any]:
    """Returns the dashboard as Grafana imports it."""
    return {
        "uid": UID,
        "title": "Ecliptica",
        "description": "Every metric of every process. Made by deploy/grafana_dashboard.py.",
        "tags": ["ecliptica"],
        "timezone": "utc",
        "schemaVersion": 39,
        "version": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "source",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                }
            ]
        },
        "panels": list(_panels()),
    }


def as_json() -> str:
    """Returns the stored form."""
    return json.dumps(dashboard(), indent=1) + "\n"


def _panels() -> Iterator[dict[str, Any]]:
    number, top = 1, 0
    for title, panels in ROWS:
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": top, "w": 24, "h": 1},
            "panels": [],
        }
        number, top = number + 1, top + 1
        for place, panel in enumerate(panels):
            row, column = divmod(place, 24 // WIDTH)
            yield _panel(panel, number, column * WIDTH, top + row * HEIGHT)
            number += 1
        top += HEIGHT * -(-len(panels) // (24 // WIDTH))


def _panel(panel: Panel, number: int, left: int, top: int) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${source}"}
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.meaning,
        "datasource": source,
        "gridPos": {"x": left, "y": top, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": source,
                "expr": query.expression,
                "legendFormat": query.legend,
            }
            for place, query in enumerate(panel.queries)
        ],
    }


def main(arguments: list[str]) -> int:
    """Prints the dashboard, or writes it; returns how the process ends."""
    if "--write" in arguments:
        FILE.write_text(as_json(), encoding="utf-8")
    else:
        sys.stdout.write(as_json())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
