"""The report of a replay as one file: curves over time, percentiles, verdicts and parameters.

As HTML it holds its pictures and asks nothing of a network; as PNG it is the curves with the percentiles below them.
"""

from __future__ import annotations

import html
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipelines.bench_work import environment
from pipelines.latency import LatencySummary, TimedLatencies
from pipelines.traffic_replay import ReplayLatencies, ReplayOptions, ReplayResult
from schemas.errors import EnvironmentMissing, ParameterError

KINDS = (".html", ".png")
PIECES = 120
"""Points of a curve."""

WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 11.0, 7.0, 110
PARTS = ("p50", "p95", "p99", "p99_9", "max")

APPEND, FINAL = "due time to durable append", "due time to final"

STYLE = (
    "body{font:14px sans-serif;margin:2em auto;max-width:70em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}"
    "td,th{border:1px solid #bbb;padding:.3em .7em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto}"
)


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a report is made of.

    Attributes:
        options: What was asked for.
        result: What was counted.
        latencies: Every latency.
    """

    options: ReplayOptions
    result: ReplayResult
    latencies: ReplayLatencies

    def write(self, out: Path) -> None:
        """Writes the report, whole or not at all.

        Raises:
            ParameterError: The file cannot be written.
        """
        data = self.as_html().encode() if out.suffix == ".html" else self._picture("png")
        partial = out.with_name(f".{out.name}.partial")
        try:
            partial.write_bytes(data)
            partial.replace(out)
        except OSError as error:
            raise ParameterError(f"{out} cannot be written: {error.strerror}") from error

    def as_html(self) -> str:
        """Returns the report as one page."""
        svg = self._picture("svg").decode()
        blocks = [
            "<!doctype html><meta charset='utf-8'><title>Replay</title>",
            f"<style>{STYLE}</style><h1>Replay of {html.escape(self.options.source.name)}</h1>",
            svg[svg.index("<svg") :],
            "<h2>Latency, milliseconds</h2>",
            _table(("from", "count", *PARTS), self._percentiles()),
            "<p>Counted from send times that were fixed in advance: what a stall delays is counted for every "
            "transaction it delays. Percentiles are of all latencies of all processes, nearest rank above.</p>"
            if self.options.pace.rate.is_paced
            else "<p>Nothing was scheduled at this rate: latency is that of the append alone.</p>",
        ]
        verdicts = self.result.verdicts
        if verdicts is not None:
            names = sorted({*verdicts.expected, *verdicts.observed})
            counts = [(n, verdicts.expected.get(n, 0), verdicts.observed.get(n, 0)) for n in names]
            blocks += [
                "<h2>Verdicts</h2>",
                _table(("verdict", "expected", "observed"), counts),
                f"<p>{verdicts.unresolved} without a verdict.</p>",
            ]
        blocks += ["<h2>Parameters</h2>", _table(("name", "value"), self.parameters().items())]
        return "\n".join(blocks) + "\n"

    def parameters(self) -> Mapping[str, Any]:
        """Returns what was sent where, and on what machine."""
        sent, known = self.result.send, environment()
        return {
            "source": self.options.source.name,
            "rate": sent.rate,
            "processes": self.result.processes,
            "shard": self.options.shard,
            "log": self.options.log_url.partition(":")[0] or "unknown",
            "record": f"at most {self.options.pace.max_batch_bytes} bytes or "
            f"{self.options.pace.linger_millis} ms",
            "genesis": sent.genesis,
            "sent": sent.sent,
            "records": sent.records,
            "seconds": round(sent.seconds, 3),
            "offered per second": _rounded(sent.offered_per_second),
            "achieved per second": _rounded(sent.achieved_per_second),
            "stopped early": sent.stopped,
            "machine": f"{known['machine']['cpu']}, {known['machine']['cores']} cores, "
            f"load {known['machine']['load_1min']}",
            "commit": known["commit"],
        }

    def _percentiles(self) -> list[tuple[Any, ...]]:
        named = ((APPEND, self.latencies.append), (FINAL, self.latencies.final))
        found = ((name, one.summary()) for name, one in named)
        return [(name, one.count, *_parts(one)) for name, one in found if one is not None]

    def _picture(self, kind: str) -> bytes:
        size = (WIDTH_INCHES, HEIGHT_INCHES)
        figure = import_module("matplotlib.figure").Figure(figsize=size, layout="constrained")
        named = [(APPEND, self.latencies.append), (FINAL, self.latencies.final)]
        drawn = [(name, one) for name, one in named if one.nanos] or named[:1]
        rows = figure.subplots(2, len(drawn), squeeze=False)
        for (name, timed), above, below in zip(drawn, rows[0], rows[1], strict=True):
            _draw_latency(above, name, timed)
            _draw_rate(below, timed)
        if kind == "png":
            figure.supxlabel("\n".join(self._lines()), fontsize=8)
        out = io.BytesIO()
        # without a date and random ids the same replay gives the same picture
        metadata = {"Date": None} if kind == "svg" else {}
        with import_module("matplotlib").rc_context({"svg.hashsalt": "ecliptica"}):
            figure.savefig(out, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
        return out.getvalue()

    def _lines(self) -> Iterable[str]:
        for name, count, *values in self._percentiles():
            told = ", ".join(f"{part} {value:g}" for part, value in zip(PARTS, values, strict=True))
            yield f"{name}: {count} transactions, {told} ms"
        verdicts = self.result.verdicts
        if verdicts is not None:
            counts = ", ".join(f"{name} {count}" for name, count in verdicts.observed.items())
            yield f"verdicts: {counts}; {verdicts.unresolved} without"
        told_of = [f"{name} {value}" for name, value in self.parameters().items()]
        half = len(told_of) // 2
        yield ", ".join(told_of[:half])
        yield ", ".join(told_of[half:])


def check_report(out: Path) -> None:
    """Checks before anything is sent that a report can be made.

    Raises:
        ParameterError: The file's name says no kind of report, or its folder is not there.
        EnvironmentMissing: matplotlib is not installed.
    """
    if out.suffix not in KINDS:
        raise ParameterError(
            f"{out} is no report", f"name a file that ends in {' or '.join(KINDS)}"
        )
    if not out.parent.is_dir():
        raise ParameterError(f"{out.parent} is no folder")
    if find_spec("matplotlib") is None:
        raise EnvironmentMissing("reports need matplotlib", "`make` installs it")


def _draw_latency(axes: Any, name: str, timed: TimedLatencies) -> None:
    curve = timed.curve(PIECES)
    for part in ("p50", "p99", "max"):
        values = [getattr(summary, part) for _, summary in curve]
        axes.plot([at for at, _ in curve], values, label=part)
    axes.set_yscale("log")
    axes.set_title(name, fontsize=10)
    axes.set_xlabel("seconds, by due time")
    axes.set_ylabel("milliseconds")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)


def _draw_rate(axes: Any, timed: TimedLatencies) -> None:
    curve = timed.curve(PIECES)
    times = [at for at, _ in curve]
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    width = min(steps, default=1.0)
    axes.bar(times, [one.count / width for _, one in curve], width=width, align="edge")
    axes.set_xlabel("seconds, by due time")
    axes.set_ylabel("transactions a second")
    axes.grid(visible=True, alpha=0.3)


def _parts(summary: LatencySummary) -> list[float]:
    values = asdict(summary)
    return [values[part] for part in PARTS]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"
