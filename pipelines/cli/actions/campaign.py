"""Actions of `ecliptica campaign`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pipelines import (
    campaign_attacks,
    campaign_byzantine,
    campaign_chaos,
    campaign_children,
    campaign_constraints,
    campaign_day,
    campaign_differential,
    campaign_faults,
    campaign_proofs,
    campaign_pyramid,
    campaign_rules,
)
from pipelines.cli.contract import Call, Document
from pipelines.forge import usable_cores
from schemas.errors import EnvironmentMissing, ParameterError

TAKE_SECONDS = ("mutate-children", "pyramid")
"""The campaigns that a time budget ends early."""

TAKES_TRAFFIC = "differential"
"""The campaign that replays a file."""

TAKES_DAY = "mutate-day"
"""The campaign that attacks a day."""

HAVE_LOG = ("chaos", "faults")
"""The campaigns that can be on Kafka."""

HAS_FAULTS = "faults"
"""The campaign that can be about some faults."""

HAS_CIRCUITS = "mutate-constraints"
"""The campaign that can be about one circuit."""


def run_campaign(
    call: Call,
    *,
    name: str,
    runs: int | None,
    seconds: int | None,
    traffic: Path | None,
    day: Path | None,
    circuit: str | None,
    kafka: bool,
    faults: list[str] | None,
) -> Document:
    """Runs a campaign.

    Raises:
        ParameterError: The budget is not positive, or of a kind that the campaign does not take.
    """
    if runs is not None and runs < 1:
        raise ParameterError(f"--runs is at least 1, got {runs}")
    campaigns: dict[str, Callable[[Call, int | None], dict[str, Any]]] = {
        "byzantine": _byzantine,
        "chaos": lambda call, runs: _chaos(call, runs, kafka),
        HAS_FAULTS: lambda call, runs: _faults(call, runs, faults or [], kafka),
        "mutate-proofs": _mutate_proofs,
        "mutate-children": lambda call, runs: _mutate_children(call, runs, seconds),
        "pyramid": lambda call, runs: _pyramid(call, runs, seconds),
        HAS_CIRCUITS: lambda call, runs: _mutate_constraints(call, runs, circuit),
        TAKES_DAY: lambda call, runs: _mutate_day(call, runs, day),
        "rules": _rules,
        TAKES_TRAFFIC: lambda call, runs: _differential(call, runs, traffic),
        **{aim: partial(_attack, aim) for aim in campaign_attacks.AIMS},
    }
    if seconds is not None and name not in TAKE_SECONDS:
        raise ParameterError(f"campaign {name} takes --runs, not --seconds")
    if traffic is not None and name != TAKES_TRAFFIC:
        raise ParameterError(f"campaign {name} replays no traffic", f"{TAKES_TRAFFIC} does")
    if day is not None and name != TAKES_DAY:
        raise ParameterError(f"campaign {name} attacks no day", f"{TAKES_DAY} does")
    if circuit is not None and name != HAS_CIRCUITS:
        raise ParameterError(f"campaign {name} has no circuits", f"{HAS_CIRCUITS} does")
    if kafka and name not in HAVE_LOG:
        with_log = ", ".join(HAVE_LOG)
        raise ParameterError(f"campaign {name} has no log", f"--kafka goes with {with_log}")
    if faults and name != HAS_FAULTS:
        raise ParameterError(f"campaign {name} makes no faults", f"--fault goes with {HAS_FAULTS}")
    evidence = campaigns[name](call, runs)
    text = "\n".join(
        [f"{key}  {json.dumps(value)}" for key, value in evidence["evidence"].items()]
        + [f"{evidence['runs']} runs, {evidence['accepted']} accepted"]
    )
    is_missing = evidence.get("missing") and not evidence["accepted"]
    code = EnvironmentMissing.exit_code if is_missing else int(not evidence["ok"])
    return Document(text, evidence, exit_code=code)


def _faults(call: Call, runs: int | None, names: list[str], kafka: bool) -> dict[str, Any]:
    seed = call.settings().configuration.demo.seed
    plan = campaign_faults.FaultPlan(seed, runs, names, kafka)
    return campaign_faults.run_faults(plan, call.report, lambda: call.stop.is_requested)


def _byzantine(call: Call, runs: int | None) -> dict[str, Any]:
    seed = call.settings().configuration.demo.seed
    return campaign_byzantine.run_byzantine(
        seed,
        runs or campaign_byzantine.DEFAULT_RUNS,
        usable_cores(),
        call.report,
        lambda: call.stop.is_requested,
    )


def _chaos(call: Call, runs: int | None, kafka: bool) -> dict[str, Any]:
    seed = call.settings().configuration.demo.seed
    budget = runs or campaign_chaos.DEFAULT_RUNS
    return campaign_chaos.run_chaos(
        seed, budget, call.report, lambda: call.stop.is_requested, on_kafka=kafka
    )


def _mutate_constraints(call: Call, runs: int | None, circuit: str | None) -> dict[str, Any]:
    seed = call.settings().configuration.demo.seed
    return campaign_constraints.run_constraints(
        seed, runs, usable_cores(), call.report, lambda: call.stop.is_requested, circuit=circuit
    )


def _mutate_day(call: Call, runs: int | None, day: Path | None) -> dict[str, Any]:
    settings = call.settings()
    work = campaign_day.DayCampaign(
        settings.configuration.demo.seed,
        runs or campaign_day.DEFAULT_RUNS,
        usable_cores(),
        settings.data,
        day,
        settings.configuration,
    )
    return campaign_day.run_day(work, call.report, lambda: call.stop.is_requested)


def _rules(call: Call, runs: int | None) -> dict[str, Any]:
    """`--runs` is the most states of one scene; the exploration has nothing random."""
    return campaign_rules.run_rules(
        runs, usable_cores(), call.report, lambda: call.stop.is_requested
    )


def _differential(call: Call, runs: int | None, traffic: Path | None) -> dict[str, Any]:
    return campaign_differential.run_differential(
        call.settings().configuration.demo.seed,
        runs or campaign_differential.DEFAULT_RUNS,
        usable_cores(),
        call.report,
        lambda: call.stop.is_requested,
        source=traffic or campaign_differential.DEFAULT_SOURCE,
    )


def _attack(aim: str, call: Call, runs: int | None) -> dict[str, Any]:
    return campaign_attacks.run_attacks(
        call.settings().configuration.demo.seed,
        runs or campaign_attacks.DEFAULT_RUNS,
        usable_cores(),
        call.report,
        lambda: call.stop.is_requested,
        aim=aim,
    )


def _mutate_proofs(call: Call, runs: int | None) -> dict[str, Any]:
    seed = call.settings().configuration.demo.seed
    budget = runs or campaign_proofs.DEFAULT_RUNS
    return campaign_proofs.run_mutations(
        seed, budget, usable_cores(), call.report, lambda: call.stop.is_requested
    )


def _mutate_children(call: Call, runs: int | None, seconds: int | None) -> dict[str, Any]:
    return campaign_children.run_children(
        call.settings().configuration.demo.seed,
        runs or campaign_children.DEFAULT_RUNS,
        usable_cores(),
        call.report,
        _ends(call, seconds),
        may_end_early=seconds is not None,
    )


def _pyramid(call: Call, runs: int | None, seconds: int | None) -> dict[str, Any]:
    return campaign_pyramid.run_pyramid(
        call.settings().configuration.demo.seed,
        runs,
        usable_cores(),
        call.report,
        _ends(call, seconds),
        may_end_early=seconds is not None,
    )


def _ends(call: Call, seconds: int | None) -> Callable[[], bool]:
    """Returns what says that a campaign is to end: the user, or its time."""
    limit = None if seconds is None else time.monotonic() + seconds
    return lambda: call.stop.is_requested or (limit is not None and time.monotonic() > limit)
