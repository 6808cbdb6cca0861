"""The picture of `ecliptica bench overload` and `bench soak`: delays, memory, distance behind and disk over time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pipelines.picture_file import write_png

DRAWN_OVER_TIME = ("overload", "soak")
"""Benches that this draws."""

WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 11.0, 8.5, 110
MEBIBYTE = 2**20


def draw_over_time(record: Mapping[str, Any], out: Path) -> None:
    """Draws a record as a PNG, whole or not at all.

    Raises:
        ParameterError: The file cannot be written.
    """
    size = (WIDTH_INCHES, HEIGHT_INCHES)
    figure = import_module("matplotlib.figure").Figure(figsize=size, layout="constrained")
    ((delay, rate), (memory, behind)) = figure.subplots(2, 2)
    for row, curve in zip(record["table"], record["curves"], strict=True):
        _delays(delay, row, curve)
        _rates(rate, row, curve)
    samples = record["samples"]
    times = [sample["seconds"] for sample in samples]
    for name in sorted({name for sample in samples for name in sample["resident_bytes"]}):
        values = [sample["resident_bytes"].get(name, 0) / MEBIBYTE for sample in samples]
        memory.plot(times, values, label=name)
        lags = [sample["lag_millis"].get(name) for sample in samples]
        behind.plot(times, lags, label=name)
    disk = behind.twinx()
    disk.plot(times, [s["log_bytes"] / MEBIBYTE for s in samples], color="black", linestyle=":")
    disk.set_ylabel("log, MiB (dotted)")
    _named(delay, "admission to finality", "milliseconds")
    delay.set_yscale("log")
    _named(rate, "admitted and final", "transactions a second")
    _named(memory, "resident memory", "MiB")
    _named(behind, "age of the oldest unread record", "milliseconds")
    figure.suptitle(_title(record), fontsize=8)
    write_png(figure, out, DOTS_PER_INCH)


def _delays(axes: Any, row: Mapping[str, Any], curve: Sequence[Sequence[float]]) -> None:
    times = [point[0] for point in curve]
    for place, part in ((2, "p50"), (3, "p99")):
        axes.plot(times, [point[place] for point in curve], label=f"{row['load']}, {part}")


def _rates(axes: Any, row: Mapping[str, Any], curve: Sequence[Sequence[float]]) -> None:
    times = [point[0] for point in curve]
    lengths = [later - earlier for earlier, later in itertools.pairwise(times)]
    counts = [point[1] / max(length, 1.0) for point, length in zip(curve, lengths, strict=False)]
    axes.plot(times[: len(counts)], counts, label=f"{row['load']}, final")
    if times:
        label = f"{row['load']}, offered {row['rate']:g}"
        axes.hlines(row["rate"], times[0], times[-1], linestyles="dashed", label=label)


def _named(axes: Any, title: str, unit: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("seconds")
    axes.set_ylabel(unit)
    axes.grid(visible=True, alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7)


def _title(record: Mapping[str, Any]) -> str:
    machine, told = record.get("machine", {}), record["parameters"]
    commit = str(record.get("commit") or "")[:12]
    return (
        f"bench {record['name']}: {told['validators']} validators, {told['log']}; "
        f"{machine.get('cpu', '')}, {machine.get('cores', '?')} cores, "
        f"load {machine.get('load_1min', '?')}, {commit}"
    )
