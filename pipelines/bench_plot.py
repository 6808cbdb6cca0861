"""`ecliptica bench plot`: records of benches as a PNG, rates over rows, segment size and accounts, and proof sizes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipelines.bench_work import BenchWork
from pipelines.endurance_plot import DRAWN_OVER_TIME
from pipelines.picture_file import write_png
from schemas.errors import EnvironmentMissing, ParameterError

PANEL_INCHES, DOTS_PER_INCH = 5.0, 120

MOST_INSIDE = 6
"""Lines whose names fit into a panel; more stand beside it."""

NAMES_INCHES = 3.5
"""Width of names beside a panel."""

DRAWN = ("scaling", "sizes", "stream", "finality")
"""Benches whose own record can be drawn at once."""

OVER_BITS = "kilobytes of a proof over proven bits"
OVER_BLOWUP = "kilobytes of a proof over blow-up"
OVER_LOAD = "milliseconds over transactions a second"

EVEN = (OVER_BITS,)
"""Pictures whose horizontal axis is no logarithm."""


OVER_DECADES = (OVER_LOAD,)
"""Pictures whose vertical axis is a logarithm."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measured rate, or the length of a proof.

    Attributes:
        panel: Which picture it belongs to, as its title.
        line: Points of one line share this name.
        size: Where it stands on the horizontal axis.
        rate: Where it stands on the vertical axis: per second, kilobytes or milliseconds.
    """

    panel: str
    line: str
    size: int
    rate: float


def check_plot(work: BenchWork, name: str) -> None:
    """Checks before anything is measured that a plot which is asked for can be made.

    Raises:
        ParameterError: The bench draws nothing, or `plot` has no records or no file to draw to.
        EnvironmentMissing: matplotlib is not installed.
    """
    if name == "plot" and not (work.records and work.out):
        raise ParameterError("plot takes --records FILE, once or more, and --out FILE.png")
    if work.records and name != "plot":
        raise ParameterError(f"bench {name} measures anew", "--records goes with bench plot")
    if work.out is None:
        return
    if name not in (*DRAWN, *DRAWN_OVER_TIME, "plot"):
        drawn = ", ".join((*DRAWN, *DRAWN_OVER_TIME, "plot"))
        raise ParameterError(f"bench {name} draws nothing", f"--out goes with {drawn}")
    if find_spec("matplotlib") is None:
        raise EnvironmentMissing(
            "plots need matplotlib, which is not installed",
            "`make` installs it, or `pip install matplotlib`",
        )


def draw_records(work: BenchWork) -> dict[str, Any]:
    """Draws the records of earlier benches."""
    if work.out is None:
        raise ParameterError("a plot needs --out")
    records = read_records(work.records)
    return {
        "name": "plot",
        "records": len(records),
        "points": len(draw(records, work.out)),
        "out": work.out,
    }


def read_records(files: Sequence[Path]) -> list[Mapping[str, Any]]:
    """Reads records as `bench NAME --json` prints them, one object a line.

    Raises:
        ParameterError: A file cannot be read or holds something else.
    """
    records: list[Mapping[str, Any]] = []
    for file in files:
        try:
            entries = [json.loads(line) for line in file.read_text("utf-8").splitlines() if line]
        except (OSError, ValueError) as error:
            raise ParameterError(f"{file} is no record of a bench: {error}") from error
        if not all(isinstance(entry, dict) and "name" in entry for entry in entries):
            raise ParameterError(f"{file} is no record of a bench: an object has no name")
        records += entries
    return records


def points_of(records: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Returns every rate that can be drawn.

    A record of `scaling` gives a line over rows, one of `sizes` lines over bits and over blow-up, one of `stream`
    latencies over load. A record with `transactions_per_second` gives a point over the size
    of its segment, and over the number of accounts if it says one, as a member or among its parameters.
    """
    return [point for record in records for point in _points(record)]


def _points(record: Mapping[str, Any]) -> Iterator[Point]:
    name = str(record["name"])
    if name == "scaling":
        for point in record["points"]:
            rate = float(point["permutations_per_second"])
            yield Point("permutations a second over rows", "one lane", int(point["rows"]), rate)
        return
    if name == "sizes":
        yield from _sizes(record)
        return
    if name in ("stream", "finality"):
        yield from _latencies(record)
        return
    if record.get("transactions_per_second") is None:
        return
    rate, size = float(record["transactions_per_second"]), int(record["transactions"])
    accounts = record.get("accounts") or record.get("parameters", {}).get("accounts")
    backend = record.get("parameters", {}).get("backend", "")
    line = f"{name} {backend}".strip()
    held = f", {accounts} accounts" if accounts else ""
    yield Point("transactions a second over segment size", f"{line}{held}", size, rate)
    if accounts:
        title = "transactions a second over accounts"
        yield Point(title, f"{line}, {size} transactions", int(accounts), rate)


def _latencies(record: Mapping[str, Any]) -> Iterator[Point]:
    told = record["parameters"]
    chain = f"{told['log']}, n = {told['validators']}"
    titles = {
        "admitted_ms": "submission to admission",
        "final_ms": "submission to final",
        "certificate_ms": "proposal to certificate",
    }
    for row in record["table"]:
        for name, title in titles.items():
            for part in ("p50", "p99"):
                if (found := row.get(f"{name}_{part}")) is not None:  # earlier records lack some
                    yield Point(OVER_LOAD, f"{title}, {part}, {chain}", row["rate"], found)


def _sizes(record: Mapping[str, Any]) -> Iterator[Point]:
    shipped = {row["shape"]: row for row in record["shipped"]}
    for point in record["points"]:
        shape, bits, power = point["shape"], point["bits"], point["log_blowup"]
        if point["bytes"] is None:
            continue
        kilobytes = point["bytes"] / 1000
        if power == shipped[shape]["log_blowup"]:
            yield Point(OVER_BITS, f"{shape}, blow-up {2**power}", bits, kilobytes)
        if bits == shipped[shape]["bits"]:
            yield Point(OVER_BLOWUP, f"{shape}, {bits} bits", 2**power, kilobytes)


def draw(records: Sequence[Mapping[str, Any]], out: Path) -> list[Point]:
    """Draws records to a PNG, whole or not at all, and returns what was drawn.

    Raises:
        ParameterError: Nothing in the records is a rate, or the file cannot be written.
    """
    points = points_of(records)
    if not points:
        raise ParameterError(
            "no record holds a rate over a size", "draw records of scaling, sizes, segment or batch"
        )
    figure = _figure(points, records)
    write_png(figure, out, DOTS_PER_INCH)
    return points


def _figure(points: Sequence[Point], records: Sequence[Mapping[str, Any]]) -> Any:
    panels: dict[str, dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        panels[point.panel][point.line].append(point)
    beside = sum(len(lines) > MOST_INSIDE for lines in panels.values())
    size = (PANEL_INCHES * len(panels) + NAMES_INCHES * beside, PANEL_INCHES)
    figure = import_module("matplotlib.figure").Figure(figsize=size, layout="constrained")
    for axes, (title, lines) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        colours: dict[str, str] = {}
        for line, held in sorted(lines.items()):
            ordered = sorted(held, key=lambda point: point.size)
            sizes, rates = [p.size for p in ordered], [p.rate for p in ordered]
            # a median and its p99 share a colour
            colour = colours.setdefault(line.replace(", p50", ", p99"), f"C{len(colours)}")
            style = "dashed" if ", p50" in line else "solid"
            axes.plot(sizes, rates, marker="o", label=line, color=colour, linestyle=style)
        if title not in EVEN:
            axes.set_xscale("log", base=2)
        if title in OVER_DECADES:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(title.rpartition(" over ")[2])
        axes.set_ylabel(title.partition(" over ")[0])
        axes.grid(visible=True, alpha=0.3)
        if len(lines) > MOST_INSIDE:
            axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1.0))
        else:
            axes.legend(fontsize=8)
    figure.suptitle(_made_by(records[0]), fontsize=8)
    return figure


def _made_by(record: Mapping[str, Any]) -> str:
    """Returns the machine and commit of a record; of one that nothing was measured for, the calculator."""
    commit, machine = str(record.get("commit") or "")[:12], record.get("machine", {})
    if record["name"] == "sizes":
        return "lengths by the encoder, bits by the calculator"
    return f"{machine.get('cpu', '')}, {machine.get('cores', '?')} cores, {commit}"
