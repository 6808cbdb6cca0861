"""Actions of `ecliptica campaign`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pipelines import campaign_byzantine, campaign_chaos, campaign_proofs
from pipelines.campaign_byzantine import run_byzantine
from pipelines.cli.contract import Call, Document
from pipelines.forge import usable_cores
from schemas.errors import EnvironmentMissing, ParameterError

WAITS_FOR = {
    "pyramid": "the recursive proofs",
    "theft": "the campaigns of the complete circuit",
    "inflate": "the campaigns of the complete circuit",
    "double-spend": "the campaigns of the complete circuit",
    "mutate-constraints": "the campaigns of the complete circuit; `make test-slow` covers the ledger's",
    "differential": "the campaigns of the complete circuit; `make test` runs a small one",
}
"""Campaigns that are named and not built, and what they wait for."""


def run_campaign(call: Call, *, name: str, runs: int | None, seconds: int | None) -> Document:
    """Runs a campaign.

    Raises:
        EnvironmentMissing: It is not built yet.
        ParameterError: The budget is not positive, or of a kind that the campaign does not take.
    """
    if runs is not None and runs < 1:
        raise ParameterError(f"--runs is at least 1, got {runs}")
    campaigns: dict[str, Callable[[Call, int | None], dict[str, Any]]] = {
        "byzantine": _byzantine,
        "chaos": _chaos,
        "mutate-proofs": _mutate_proofs,
    }
    if name not in campaigns:
        raise EnvironmentMissing(
            f"not built yet: campaign {name} needs {WAITS_FOR[name]}",
            f"campaigns: {', '.join(sorted(campaigns))}",
        )
    if seconds is not None:
        raise ParameterError(f"campaign {name} takes --runs, not --seconds")
    evidence = campaigns[name](call, runs)
    text = "\n".join(
        [f"{key}  {json.dumps(value)}" for key, value in evidence["evidence"].items()]
        + [f"{evidence['runs']} runs, {evidence['accepted']} accepted"]
    )
    return Document(text, evidence, exit_code=0 if evidence["ok"] else 1)


def _byzantine(call: Call, runs: int | None) -> dict[str, Any]:
    seed = call.settings().configuration.demo.seed
    return run_byzantine(
        seed,
        runs or campaign_byzantine.DEFAULT_RUNS,
        usable_cores(),
        call.report,
        lambda: call.stop.is_requested,
    )


def _chaos(call: Call, runs: int | None) -> dict[str, Any]:
    seed = call.settings().configuration.demo.seed
    budget = runs or campaign_chaos.DEFAULT_RUNS
    return campaign_chaos.run_chaos(seed, budget, call.report, lambda: call.stop.is_requested)


def _mutate_proofs(call: Call, runs: int | None) -> dict[str, Any]:
    seed = call.settings().configuration.demo.seed
    budget = runs or campaign_proofs.DEFAULT_RUNS
    return campaign_proofs.run_mutations(
        seed, budget, usable_cores(), call.report, lambda: call.stop.is_requested
    )
