"""The committed Grafana dashboard drawn without Grafana: each panel's own queries, asked of a Prometheus, as a picture.

It reads `grafana/ecliptica.json` as Grafana does: rows, panels, units, expressions and legends. What it draws is ours
and not Grafana's; where a panel has no data it says so.
"""

from __future__ import annotations

import html
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

from deploy.grafana_dashboard import FILE, RATE_WINDOW
from deploy.prometheus_scrape import SCRAPE_SECONDS
from schemas.errors import EclipticaError, EnvironmentMissing, ParameterError

KINDS = (".html", ".png")
POINTS = 240
"""Points of a line, at most: about one per pixel of a small panel's half."""

ANSWER_SECONDS = 30.0
COLUMNS = 3
PANEL_WIDTH_INCHES, PANEL_HEIGHT_INCHES, DOTS_PER_INCH = 5.2, 2.7, 80
MAX_NAMES = 12
"""Lines of a panel that its legend names; the rest are drawn without."""

SIZES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))

_LABEL = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel and how its series are called."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class PanelView:
    """A panel as the dashboard's file has it.

    Attributes:
        row: Title of the row that it stands in.
        title: Its title.
        meaning: Its description.
        unit: Grafana's name of its unit.
        targets: Its queries.
    """

    row: str
    title: str
    meaning: str
    unit: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One line.

    Attributes:
        name: As the legend says.
        times: UTC seconds, rising.
        values: Numbers; a gap is NaN.
    """

    name: str
    times: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """What is asked for.

    Attributes:
        start: UTC seconds.
        end: UTC seconds, above `start`.
        scrape_seconds: Between two scrapes of that Prometheus.
    """

    start: float
    end: float
    scrape_seconds: float = SCRAPE_SECONDS

    @property
    def step(self) -> float:
        """Seconds between two points."""
        return max(self.scrape_seconds, math.ceil((self.end - self.start) / POINTS))

    @property
    def rate_window(self) -> str:
        """What `$__rate_interval` stands for: the step and a scrape, at least four scrapes; Grafana's rule."""
        return f"{math.ceil(max(self.step + self.scrape_seconds, 4 * self.scrape_seconds))}s"


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus that is asked over HTTP.

    Attributes:
        url: Where it answers.
    """

    url: str

    def __post_init__(self) -> None:
        """Checks the address.

        Raises:
            ParameterError: It is none of HTTP.
        """
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ParameterError(f"{self.url!r} is no Prometheus", "say http://127.0.0.1:9090")

    def series(self, target: Target, interval: Interval) -> list[Series]:
        """Returns the lines of a query.

        Raises:
            EnvironmentMissing: Nobody answers there.
            EclipticaError: It refuses the query.
        """
        wanted = {
            "query": target.expression.replace(RATE_WINDOW, interval.rate_window),
            "start": f"{interval.start:.3f}",
            "end": f"{interval.end:.3f}",
            "step": f"{interval.step:g}",
        }
        data = self._ask(f"/api/v1/query_range?{urlencode(wanted)}")["data"]
        return [_series(target.legend, one) for one in data["result"]]

    def now(self) -> float:
        """Returns its own time, UTC seconds.

        Raises:
            EnvironmentMissing: Nobody answers there.
        """
        data = self._ask(f"/api/v1/query?{urlencode({'query': 'time()'})}")["data"]
        return float(data["result"][1])

    def _ask(self, path: str) -> Mapping[str, Any]:
        address = self.url.rstrip("/") + path
        try:
            with urlopen(address, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - http alone
                body = answer.read()
        except HTTPError as error:
            body = error.read()
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise EnvironmentMissing(
                f"no Prometheus answers at {self.url}: {reason}",
                "start one with the file of `ecliptica deploy render prometheus`",
            ) from error
        try:
            document: Mapping[str, Any] = json.loads(body)
        except ValueError as error:
            raise EclipticaError(f"{self.url} does not answer as Prometheus does") from error
        if document.get("status") != "success":
            raise EclipticaError(f"{self.url} refuses: {document.get('error', 'no reason given')}")
        return document


def read_panels(file: Path = FILE) -> list[PanelView]:
    """Returns the panels of a dashboard in their order.

    Raises:
        ParameterError: The file is no dashboard.
    """
    try:
        document = json.loads(file.read_text("utf-8"))
        return list(_panels(document["panels"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"{file} is no dashboard: {error}") from error


@dataclass(frozen=True, slots=True)
class DashboardPicture:
    """A dashboard with what a Prometheus has of it.

    Attributes:
        panels: Panels and their lines.
        interval: The time they are of.
        source: Says of what it is a picture.
    """

    panels: Sequence[tuple[PanelView, Sequence[Series]]]
    interval: Interval
    source: str

    @property
    def with_data(self) -> int:
        """Panels that have a line."""
        return sum(bool(series) for _, series in self.panels)

    def write(self, out: Path) -> None:
        """Writes the picture, whole or not at all.

        Raises:
            ParameterError: The file cannot be written.
        """
        data = self.as_html().encode() if out.suffix == ".html" else self.as_png()
        partial = out.with_name(f".{out.name}.partial")
        try:
            partial.write_bytes(data)
            partial.replace(out)
        except OSError as error:
            raise ParameterError(f"{out} cannot be written: {error.strerror}") from error

    def as_png(self) -> bytes:
        """Returns all panels in one picture."""
        rows = list(self._rows())
        heights = [part for _, held in rows for part in [0.25, *[1.0] * -(-len(held) // COLUMNS)]]
        size = (PANEL_WIDTH_INCHES * COLUMNS, PANEL_HEIGHT_INCHES * (sum(heights) + 0.3))
        figure = import_module("matplotlib.figure").Figure(figsize=size, layout="constrained")
        grid = figure.add_gridspec(len(heights), COLUMNS, height_ratios=heights)
        at = 0
        for title, held in rows:
            head = figure.add_subplot(grid[at, :])
            head.set_axis_off()
            head.text(0.0, 0.5, title, fontsize=13, weight="bold", va="center")
            at += 1
            for place, (panel, series) in enumerate(held):
                row, column = divmod(place, COLUMNS)
                self._draw(figure.add_subplot(grid[at + row, column]), panel, series)
            at += -(-len(held) // COLUMNS)
        figure.suptitle(self.title, fontsize=11)
        return _saved(figure, "png")

    def as_html(self) -> str:
        """Returns one page that asks nothing of a network."""
        style = (
            "body{font:14px sans-serif;margin:1em}svg{width:100%;height:auto}p{margin:0 1em}"
            ".row{display:grid;grid-template-columns:repeat(auto-fill,minmax(24em,1fr));gap:1em}"
        )
        blocks = [
            "<!doctype html><meta charset='utf-8'><title>Ecliptica</title>",
            f"<style>{style}</style><h1>{html.escape(self.title)}</h1>",
        ]
        for title, held in self._rows():
            blocks.append(f"<h2>{html.escape(title)}</h2><div class='row'>")
            for panel, series in held:
                size = (PANEL_WIDTH_INCHES, PANEL_HEIGHT_INCHES)
                figure = import_module("matplotlib.figure").Figure(
                    figsize=size, layout="constrained"
                )
                self._draw(figure.add_subplot(), panel, series)
                svg = _saved(figure, "svg").decode()
                drawing, meaning = svg[svg.index("<svg") :], html.escape(panel.meaning)
                blocks.append(f"<div>{drawing}<p>{meaning}</p></div>")
            blocks.append("</div>")
        return "\n".join(blocks) + "\n"

    @property
    def title(self) -> str:
        """Says what it is, and that Grafana has not drawn it."""
        minutes = (self.interval.end - self.interval.start) / 60
        drawn = "drawn by `ecliptica deploy draw`, not by Grafana"
        return f"Dashboard of {self.source}, {minutes:.1f} minutes; {drawn}"

    def _rows(self) -> Iterator[tuple[str, list[tuple[PanelView, Sequence[Series]]]]]:
        titles = dict.fromkeys(panel.row for panel, _ in self.panels)
        for title in titles:
            yield title, [one for one in self.panels if one[0].row == title]

    def _draw(self, axes: Any, panel: PanelView, series: Sequence[Series]) -> None:
        axes.set_title(panel.title, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(visible=True, alpha=0.3)
        axes.set_xlim(0, self.interval.end - self.interval.start)
        if not series:
            axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="gray")
            axes.set_yticks([])
            return
        for number, one in enumerate(series):
            times = [at - self.interval.start for at in one.times]
            name = one.name if number < MAX_NAMES else None
            axes.plot(times, one.values, label=name, linewidth=1)
        highest = max((v for one in series for v in one.values if math.isfinite(v)), default=1.0)
        axes.set_ylim(0, (highest or 1.0) * 1.08)
        axes.yaxis.set_major_formatter(_formatter(panel.unit, highest))
        axes.legend(fontsize=5, loc="upper left", framealpha=0.6, ncols=1 + (len(series) > 6))


def picture(
    source: Prometheus, panels: Sequence[PanelView], interval: Interval
) -> DashboardPicture:
    """Asks a Prometheus for every panel.

    Raises:
        EnvironmentMissing: Nobody answers there.
        EclipticaError: It refuses a query; the message names the panel.
    """
    found = []
    for panel in panels:
        try:
            series = [one for target in panel.targets for one in source.series(target, interval)]
        except EnvironmentMissing:
            raise
        except EclipticaError as error:
            raise EclipticaError(f"panel {panel.title!r}: {error}") from error
        found.append((panel, series))
    return DashboardPicture(found, interval, source.url)


def check_picture(out: Path) -> None:
    """Checks before anything is asked that a picture can be made.

    Raises:
        ParameterError: The file's name says no kind of picture.
        EnvironmentMissing: matplotlib is not installed.
    """
    if out.suffix not in KINDS:
        raise ParameterError(
            f"{out} is no picture", f"name a file that ends in {' or '.join(KINDS)}"
        )
    if find_spec("matplotlib") is None:
        raise EnvironmentMissing("pictures need matplotlib", "`make` installs it")


def named(legend: str, labels: Mapping[str, str]) -> str:
    """Returns a legend with the labels of a series put in; the labels themselves where that says nothing."""
    told = _LABEL.sub(lambda match: labels.get(match[1], ""), legend).strip()
    listed = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return told or listed or "value"


def _series(legend: str, found: Mapping[str, Any]) -> Series:
    points = [(float(at), float(value)) for at, value in found["values"]]
    return Series(
        named(legend, found["metric"]), tuple(at for at, _ in points), tuple(v for _, v in points)
    )


def _panels(entries: Sequence[Mapping[str, Any]]) -> Iterator[PanelView]:
    row = ""
    for entry in entries:
        if entry["type"] == "row":
            row = entry["title"]
            continue
        targets = tuple(Target(one["expr"], one["legendFormat"]) for one in entry["targets"])
        unit = entry["fieldConfig"]["defaults"]["unit"]
        yield PanelView(row, entry["title"], entry.get("description", ""), unit, targets)


def _formatter(unit: str, highest: float) -> Callable[[float, int], str]:
    """Returns how numbers of a unit are written on an axis that reaches so high."""
    if unit == "bool_yes_no":
        return lambda value, _: {0.0: "no", 1.0: "yes"}.get(round(value, 6), "")
    if unit == "percentunit":
        return lambda value, _: f"{100 * value:g} %"
    scales = {"bytes": SIZES, "s": TIMES}.get(unit)
    if scales is None:
        suffix = "/s" if unit == "ops" else ""
        return lambda value, _: f"{value:g}{suffix}"
    size, name = next((one for one in scales if highest >= one[0]), scales[-1])
    return lambda value, _: f"{round(value / size, 2):g} {name}"


def _saved(figure: Any, kind: str) -> bytes:
    out = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {}
    figure.savefig(out, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return out.getvalue()
