"""Actions of `ecliptica market`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipelines.bench_work import environment
from pipelines.cli.contract import Call, Document
from pipelines.market_plot import draw_year
from pipelines.market_year import MarketYear, YearPlan
from schemas.errors import EnvironmentMissing, ParameterError

SHOWN = ("hhi", "hhi_worst_period", "earning", "wasted", "proof_seconds", "epochs", "fees")
"""Figures that people are shown; `--json` has the rest and the series."""


def simulate_market(call: Call, *, plan: Mapping[str, Any], out: Path | None) -> Document:
    """Simulates a year of the market and perhaps draws it.

    Raises:
        ParameterError: A number is out of range, or the picture cannot be written.
        EnvironmentMissing: A picture is asked for and matplotlib is not installed.
    """
    if out is not None and find_spec("matplotlib") is None:
        raise EnvironmentMissing(
            "plots need matplotlib, which is not installed",
            "`make` installs it, or `pip install matplotlib`",
        )
    if out is not None and not out.parent.is_dir():
        raise ParameterError(f"{out} cannot be written: there is no folder {out.parent}")
    year = YearPlan(seed=call.settings().configuration.demo.seed, **plan)
    record = MarketYear(year).run(call.report, lambda: call.stop.is_requested)
    record |= environment()
    if out is not None:
        draw_year(record, out)
    return Document(_text(record), record)


def _text(record: Mapping[str, Any]) -> str:
    told = record["parameters"]
    lines = [
        f"{told['provers']} provers and {told['hybrids']} hybrids, mode {told['mode']}, load {told['load']}, "
        f"{told['price']} dollars per ECLIPT (assumed), {record['days']} days, seed {told['seed']}"
    ]
    lines += [f"{kind}  {json.dumps(row)}" for kind, row in record["owners"].items()]
    lines += [f"{name}  {json.dumps(record[name])}" for name in SHOWN]
    if record["death"] is not None:
        death = {name: entry for name, entry in record["death"].items() if name != "epochs"}
        lines.append(f"death  {json.dumps(death)}")
    for name, target in record["targets"].items():
        says = "met" if target["is_met"] else "MISSED"
        lines.append(f"target {name}  {says}  {json.dumps(target)}")
    return "\n".join(lines)
