"""Figures that nobody measured here: published, assumed, or defined by units and configuration; each with its source.

"Design" is what the system was asked for; "own" is ours, with the reason. `--figures FILE.toml` changes the published
and assumed ones; what is defined follows the chain's configuration.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from pipelines.costs.figures import Basis, Figure
from proving.recursion.day import DAY_SLOTS
from proving.recursion.epoch import EPOCH_SLOTS
from proving.recursion.join import JOIN_SLOTS
from proving.recursion.lift import LIFT_SLOTS
from schemas.config import Configuration
from schemas.economics import ECLIPT, PERMILLE, FeeTerms, MarketTerms
from schemas.errors import ParameterError


def _published(name: str, value: float, unit: str, source: str) -> Figure:
    return Figure(name, value, unit, Basis.PUBLISHED, source)


def _assumed(name: str, value: float, unit: str, reason: str) -> Figure:
    return Figure(name, value, unit, Basis.ASSUMED, reason)


def _defined(name: str, value: float, unit: str, source: str) -> Figure:
    return Figure(name, value, unit, Basis.DEFINED, source)


PUBLISHED = (
    _published("load_demo", 50_000, "transaction/hour", "design: the smaller load"),
    _published("load_target", 50_000, "transaction/second", "design: the larger load, 3,600 times"),
    _published("machine_cores", 16, "core/machine", "design: a validator has 16 cores"),
    _published("pure_validators", 300, "1", "design: composition 300 / 100 / 100"),
    _published("pure_provers", 100, "1", "design: composition 300 / 100 / 100"),
    _published("validator_provers", 100, "1", "design: composition 300 / 100 / 100"),
    _published("gpu_dollars", 2, "dollar/hour/gpu", "design: an H100 at $2 an hour"),
    _published("told_naive_cpu", 2, "core*second/transaction", "design: 2 s of proving each"),
    _published("told_gpu_rate", 5_000, "transaction/second/gpu", "design: 5,000 tx/s per GPU"),
    _published("told_gpu_batch", 0.2, "second", "design: 1,000 transactions on an A100"),
    _published("told_finality", 0.15, "second", "design: 150 ms typical, 200 ms at most"),
    _published("told_signature", 0.005, "second", "design: one ML-DSA verification"),
    _published("told_block", 1.7, "second", "design: a block of 100 transactions validated"),
    _published("told_proof_check", 0.2, "second", "design: verification of a proof on a CPU"),
    _published("told_proof_check_gpu", 0.02, "second", "design: verification on a GPU"),
    _published("told_step_trace", 10, "second", "design: first figure of its GPU step table"),
    _published("told_step_commitments", 30, "second", "design: second figure of the table"),
    _published("told_step_fri", 6, "second", "design: third figure of the table"),
    _published("told_step_aggregation", 3, "second", "design: fourth figure of the table"),
    _published("told_month_limit", 1_000, "dollar/month", "design: proving at the larger load"),
)
"""What the system was asked for."""

ASSUMED = (
    _assumed(
        "core_dollars",
        0.04,
        "dollar/hour/core",
        "own: order of what clouds ask for a core of a general machine by the hour; no quotation",
    ),
    _assumed("days_in_month", 30, "day/month", "own: months have 28 to 31 days"),
    _assumed(
        "eclipt_dollars",
        1,
        "dollar/eclipt",
        "own: there is no market; read the price that breaks even instead",
    ),
    _assumed("check_cores", 1, "core", "own: checking one proof keeps about one core busy"),
    _assumed(
        "public_share",
        1,
        "1",
        "own: all traffic is of the Public tier, the only one that is built and the cheapest",
    ),
)
"""What nobody told us."""


def defined_figures(
    configuration: Configuration, market: MarketTerms | None = None, fees: FeeTerms | None = None
) -> list[Figure]:
    """Returns what units, the chain's configuration, its terms and the circuits say.

    Args:
        configuration: Clock and chain.
        market: Rewards of provers, the chain's default if None.
        fees: Fees and their shares, the chain's default if None.
    """
    clock, chain = configuration.clock, configuration.chain
    market, fees = market or MarketTerms(), fees or FeeTerms()
    hour = clock.windows_per_shard_epoch * clock.shard_epochs_per_hour
    by_clock = f"schemas/config.py ClockConfig, profile {configuration.profile}"
    by_chain = f"schemas/config.py ChainConfig, profile {configuration.profile}"
    by_market, by_fees = "schemas/economics.py MarketTerms", "schemas/economics.py FeeTerms"
    window_seconds = clock.window_micros / 1e6
    _, provers, _ = fees.shares
    return [
        _defined("seconds_per_hour", 3600, "second/hour", "60 * 60"),
        _defined("hours_per_day", 24, "hour/day", "a day of the calendar"),
        _defined("window_seconds", window_seconds, "second", by_clock),
        _defined("epoch_seconds", window_seconds * hour, "second/epoch", by_clock),
        _defined("windows_per_shard_epoch", clock.windows_per_shard_epoch, "1", by_clock),
        _defined("shard_epochs_per_hour", clock.shard_epochs_per_hour, "1", by_clock),
        _defined("windows_per_epoch", hour, "1/epoch", by_clock),
        _defined("epochs_per_chain_day", clock.epochs_per_day, "1", by_clock),
        _defined("one_epoch", 1, "epoch", "an epoch"),
        _defined("shards", chain.shards, "1", by_chain),
        _defined("validators_per_shard", chain.validators, "1", by_chain),
        _defined("lift_slots", LIFT_SLOTS, "1", "proving/recursion/lift.py LIFT_SLOTS"),
        _defined("join_slots", JOIN_SLOTS, "1", "proving/recursion/join.py JOIN_SLOTS"),
        _defined("epoch_slots", EPOCH_SLOTS, "1", "proving/recursion/epoch.py EPOCH_SLOTS"),
        _defined("day_slots", DAY_SLOTS, "1", "proving/recursion/day.py DAY_SLOTS"),
        _defined("base_reward", market.base_reward / ECLIPT, "eclipt/epoch", by_market),
        _defined("fast_reward", market.fast_reward / ECLIPT, "eclipt/epoch", by_market),
        _defined("quality_reward", market.quality_reward / ECLIPT, "eclipt/epoch", by_market),
        _defined("public_fee", fees.floors[0] / 1e6, "eclipt/transaction", by_fees),
        _defined("provers_fee_share", provers / PERMILLE, "1", by_fees),
        _defined("one_core", 1, "core", "a core"),
        _defined("one_machine", 1, "machine", "a machine"),
        _defined("one_gpu", 1, "gpu", "a GPU"),
        _defined("one_transaction", 1, "transaction", "a transaction"),
    ]


class _Change(BaseModel):
    """A table of the file: a new value and why."""

    model_config = ConfigDict(extra="forbid", strict=False)
    value: float
    source: str
    basis: Basis = Basis.ASSUMED


def given_figures(configuration: Configuration, changes: Path | None = None) -> list[Figure]:
    """Returns all figures that are not measured.

    Args:
        configuration: Clock and chain.
        changes: TOML file with a table per changed figure: `value`, `source`, and `basis` if it is published.

    Raises:
        ParameterError: The file cannot be read, or changes something that is not there, is measured or is defined.
    """
    free = {figure.name: figure for figure in (*PUBLISHED, *ASSUMED)}
    if changes is not None:
        for name, change in _read_changes(changes).items():
            if name not in free:
                raise ParameterError(
                    f"{changes}: {name} is no published or assumed figure",
                    f"those are: {', '.join(sorted(free))}",
                )
            if change.basis not in {Basis.ASSUMED, Basis.PUBLISHED}:
                raise ParameterError(f"{changes}: {name} is assumed or published")
            source = f"{change.source} ({changes.name})" if change.source.strip() else ""
            free[name] = Figure(name, change.value, free[name].unit, change.basis, source)
    return [*free.values(), *defined_figures(configuration)]


def _read_changes(path: Path) -> dict[str, _Change]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        return TypeAdapter(dict[str, _Change]).validate_python(found)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ParameterError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ParameterError(f"{path}: {place}: {first['msg']}") from error
