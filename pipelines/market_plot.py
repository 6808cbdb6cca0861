"""The picture of `ecliptica market simulate`: provers, concentration, waste, proof times, base fee, and a death."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pipelines.picture_file import write_png

WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 13.0, 7.5, 100


def draw_year(record: Mapping[str, Any], out: Path) -> None:
    """Draws a record of a year as a PNG, whole or not at all.

    Raises:
        ParameterError: The file cannot be written.
    """
    size = (WIDTH_INCHES, HEIGHT_INCHES)
    figure = import_module("matplotlib.figure").Figure(figsize=size, layout="constrained")
    ((there, hhi, waste), (times, fee, death)) = figure.subplots(2, 3)
    days, epochs = record["series"]["days"], record["series"]["epochs"]
    at = [row["day"] for row in days]
    for name, label in (("active", "all"), ("first", "of the first day"), ("hybrids", "hybrids")):
        there.plot(at, [row[name] for row in days], label=label)
    there.axhline(record["targets"]["solvent"]["at_least"], linestyle="dashed", color="black")
    _named(there, "provers in the market", "provers")
    when = [row["day"] for row in epochs]
    hhi.plot(when, [row["hhi"] for row in epochs], ".", markersize=3)
    hhi.axhline(record["targets"]["hhi"]["below"], linestyle="dashed", color="black")
    _named(hhi, "concentration of an epoch's rewards", "HHI")
    waste.plot(when, [row["wasted"] for row in epochs], ".", markersize=3)
    waste.axhline(record["targets"]["wasted"]["below"], linestyle="dashed", color="black")
    _named(waste, "work for nothing", "part of all work")
    known = [row for row in epochs if row["p99_seconds"] is not None]
    for name, label in (("p99_seconds", "p99 of its proofs"), ("late_seconds", "its end to proof")):
        rows = [row for row in known if row[name] is not None]
        values = [max(row[name], 1) for row in rows]
        times.plot([row["day"] for row in rows], values, ".", markersize=3, label=label)
    times.set_yscale("log")
    _named(times, "time to prove, of an epoch", "seconds")
    fee.plot(at, [row["fee"] for row in days], label="fee")
    used = fee.twinx()
    used.plot(at, [row["used"] for row in days], color="tab:orange", linestyle="dotted")
    used.set_ylabel("used part of capacity (dotted)")
    _named(fee, "base fee of the Public tier", "1e-6 ECLIPT")
    _draw_death(death, record["death"])
    figure.suptitle(_title(record), fontsize=9)
    write_png(figure, out, DOTS_PER_INCH)


def _draw_death(axes: Any, death: Mapping[str, Any] | None) -> None:
    for name, label in (
        ("assigned_to_it", "jobs assigned to it"),
        ("missed", "missed windows, of all"),
        ("p99_seconds", "p99 of proofs, seconds"),
    ):
        axes.plot([row[name] for row in death["epochs"]] if death else [], label=label)
    _named(axes, "after the largest prover died", "jobs, seconds")
    axes.set_xlabel("epochs")


def _named(axes: Any, title: str, unit: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("day")
    axes.set_ylabel(unit)
    axes.grid(visible=True, alpha=0.3)
    if axes.get_yscale() == "linear":
        axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7)


def _title(record: Mapping[str, Any]) -> str:
    told = record["parameters"]
    commit = str(record.get("commit") or "")[:12]
    return (
        f"simulated: mode {told['mode']}, {told['provers']} provers, {told['hybrids']} hybrids, load {told['load']}, "
        f"{told['price']} dollars per ECLIPT (assumed), seed {told['seed']}, {commit}"
    )
