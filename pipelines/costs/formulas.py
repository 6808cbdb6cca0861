"""Formulas: quantities computed from figures and from one another, each with the unit that it must have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipelines.costs.figures import Figure
from pipelines.costs.records import STEPS
from pipelines.costs.units import Unit, names_in, parse_unit, unit_of
from schemas.errors import InvariantError


@dataclass(frozen=True, slots=True)
class Formula:
    """One quantity.

    Attributes:
        name: Of the quantity.
        unit: Its unit, checked against the expression.
        expression: Over figures and earlier quantities.
    """

    name: str
    unit: str
    expression: str


CORE_TIME = "core*second/transaction"
PRICE = "dollar/transaction"
RATE = "transaction/second/machine"


def _formulas(unit: str, **expressions: str) -> Iterator[Formula]:
    yield from (Formula(name, unit, text) for name, text in expressions.items())


TREE = (
    # A tree over n children of at most k slots has ceil((n - 1) / (k - 1)) nodes.
    *_formulas(
        "1",
        shard_epoch_joins="ceil((windows_per_shard_epoch - 1) / (join_slots - 1))",
        hour_joins="ceil((shard_epochs_per_hour - 1) / (join_slots - 1))",
        epoch_nodes="ceil((shards - 1) / (epoch_slots - 1))",
        day_nodes="ceil((epochs_per_chain_day - 1) / (day_slots - 1))",
    ),
    *_formulas(
        "core*second",
        shard_tree_core="(shard_epochs_per_hour * shard_epoch_joins + hour_joins) * join_cpu",
        day_core="day_nodes * day_cpu + wrap_cpu",
        upper_core="shards * shard_tree_core + epoch_nodes * epoch_cpu + day_core / epochs_per_chain_day",
    ),
)
"""The pyramid above the windows, per epoch: the same for every load."""

NETWORK = (
    *_formulas("dollar/core/second", core_price="core_dollars / seconds_per_hour"),
    *_formulas(
        CORE_TIME,
        validator_core="admission_cpu + execution_cpu",
        validating_core="validators_per_shard * validator_core",
        batch_core="small_cpu / small_transactions + cut_cpu",
        naive_core="small_cpu / one_transaction",
    ),
    *_formulas(
        PRICE,
        validating_price="validating_core * core_price",
        batch_price="batch_core * core_price",
        naive_price="naive_core * core_price",
        told_naive_price="told_naive_cpu * core_price",
        gpu_price="gpu_dollars / seconds_per_hour / gpu_rate",
        told_gpu_price="gpu_dollars / seconds_per_hour / told_gpu_rate",
        optimistic_total="validating_price + batch_price",
        hybrid_total="validating_price + gpu_price",
        told_hybrid_total="validating_price + told_gpu_price",
    ),
    *_formulas(
        RATE,
        validator_rate="machine_cores / validator_core",
        batch_rate="machine_cores / batch_core",
        naive_rate="machine_cores / naive_core",
        told_naive_rate="machine_cores / told_naive_cpu",
        optimistic_rate="smaller(validator_rate, batch_rate)",
        hybrid_rate="smaller(validator_rate, gpu_rate * one_gpu / one_machine)",
        told_hybrid_rate="smaller(validator_rate, told_gpu_rate * one_gpu / one_machine)",
    ),
    *_formulas("hour/month", hours_per_month="hours_per_day * days_in_month"),
    *_formulas("1", validators="pure_validators + validator_provers"),
    *_formulas("1", provers="pure_provers + validator_provers"),
    *_formulas("1", gpu_validator_share="validator_provers / validators"),
    *_formulas("1", no_gpu_share="0 * validators", full_gpu_share="validators / validators"),
    *_formulas(
        "dollar/month",
        machine_month="machine_cores * one_machine * core_dollars * hours_per_month",
        gpu_month="gpu_dollars * one_gpu * hours_per_month",
        machine_gpu_month="machine_month + gpu_month",
        rented_a="validators * machine_month",
        rented_b="rented_a + validator_provers * gpu_month",
        rented_c="rented_a + validators * gpu_month",
        mean_b="rented_b / validators",
    ),
    *_formulas(
        "transaction/second",
        validator_capacity="validator_rate * one_machine",
        gpu_validator_capacity="smaller(gpu_signature_rate * one_gpu, machine_cores * one_machine / execution_cpu)",
    ),
    *_formulas(
        "second",
        window_latency="window_seconds + segment_l_wall + lift_l_wall",
        small_window_latency="window_seconds + segment_s_wall + lift_s_wall",
        gpu_latency="large_transactions / (gpu_rate * one_gpu)",
        signature_seconds="signature_cpu * one_transaction / one_core",
        admission_seconds="admission_cpu * one_transaction / one_core",
        execution_seconds="execution_cpu * one_transaction / one_core",
        block_seconds="100 * validator_core * one_transaction / one_core",
        gpu_signature_seconds="one_transaction / (gpu_signature_rate * one_gpu)",
        steps_cpu=" + ".join(f"step_{step}_cpu" for step in STEPS),
        steps_gpu=" + ".join(f"step_{step}_gpu" for step in STEPS),
        told_steps="told_step_trace + told_step_commitments + told_step_fri + told_step_aggregation",
    ),
    *_formulas(
        "core",
        naive_checking="load_target * segment_s_check * check_cores / one_transaction",
        batch_checking="load_target * segment_s_check * check_cores / small_transactions",
        optimistic_cores="load_target / shards * validator_core + batch_checking",
        day_checking="wrap_check * check_cores / (epochs_per_chain_day * epoch_seconds * one_epoch)",
    ),
    *_formulas("gpu", gpus="load_target / gpu_rate", told_gpus="load_target / told_gpu_rate"),
    *_formulas("core", told_naive_cores="told_naive_cpu * load_target"),
    *_formulas("eclipt/epoch", epoch_reward="base_reward + fast_reward + quality_reward"),
)
"""What does not depend on a load, or is told for the larger one."""


def load_formulas(load: Figure) -> tuple[Formula, ...]:
    """Returns what one load costs; the names end as the load's does."""
    end = load.name.removeprefix("load")
    per_hour = parse_unit(load.unit) == parse_unit("transaction/hour")
    found = (
        *_formulas(
            "transaction/second", rate=load.name + (" / seconds_per_hour" if per_hour else "")
        ),
        *_formulas("transaction", filled="rate * window_seconds / shards"),
        *_formulas(
            "1",
            small_segments="ceil(filled / small_transactions)",
            small_lifts="ceil(small_segments / lift_slots)",
            large_segments="ceil(filled / large_transactions)",
            full_segments="floor(filled / large_transactions)",
            rest_segments="ceil((filled - full_segments * large_transactions) / small_transactions)",
            rest_lifts="ceil(rest_segments / lift_slots)",
        ),
        *_formulas(
            "core*second",
            small_core="small_segments * small_cpu + small_lifts * lift_s_cpu"
            " + ceil((small_lifts - 1) / (join_slots - 1)) * join_cpu",
            large_core="large_segments * (large_cpu + lift_l_cpu)"
            " + ceil((large_segments - 1) / (join_slots - 1)) * join_cpu",
            mixed_core="full_segments * (large_cpu + lift_l_cpu)"
            " + rest_segments * small_cpu + rest_lifts * lift_s_cpu"
            " + ceil((full_segments + rest_lifts - 1) / (join_slots - 1)) * join_cpu",
            window_core="smaller(smaller(small_core, large_core), mixed_core) + filled * cut_cpu",
        ),
        *_formulas(
            "core*second/epoch",
            epoch_core="windows_per_epoch * shards * window_core + upper_core / one_epoch",
        ),
        *_formulas("transaction/epoch", epoch_transactions="rate * epoch_seconds"),
        *_formulas("transaction/day", day_transactions="rate * seconds_per_hour * hours_per_day"),
        *_formulas("transaction/month", month_transactions="day_transactions * days_in_month"),
        *_formulas(CORE_TIME, proving_core="epoch_core / epoch_transactions"),
        *_formulas(CORE_TIME, total_core="proving_core + validating_core"),
        *_formulas(
            PRICE,
            proving_price="proving_core * core_price",
            total_price="proving_price + validating_price",
            rented_price="rented_a / month_transactions",
            rented_price_b="rented_b / month_transactions",
            rented_price_c="rented_c / month_transactions",
        ),
        *_formulas(
            "core", proving_busy="proving_core * rate", validating_busy="validating_core * rate"
        ),
        *_formulas("core", total_busy="total_core * rate"),
        *_formulas("core", validator_busy="rate / shards * validator_core"),
        *_formulas("gpu", gpu_busy="rate / gpu_rate", told_gpu_busy="rate / told_gpu_rate"),
        *(
            formula
            for period in ("epoch", "day", "month")
            for formula in _formulas(
                f"dollar/{period}",
                **{
                    f"{part}_{period}": f"{part}_price * {period}_transactions"
                    for part in ("proving", "validating", "total", "rented", "gpu", "told_gpu")
                },
            )
        ),
        *_formulas(RATE, combined_rate="smaller(validator_rate, machine_cores / proving_core)"),
        *_formulas(RATE, proving_rate="machine_cores / proving_core"),
        *_formulas(
            "eclipt/epoch",
            prover_fees="epoch_transactions * public_share * public_fee * provers_fee_share",
        ),
        *_formulas("1", fees_cover="prover_fees / epoch_reward"),
        *_formulas("dollar/eclipt", even_price="proving_epoch / epoch_reward"),
        *_formulas("dollar/epoch", margin_epoch="epoch_reward * eclipt_dollars - proving_epoch"),
        *_formulas("dollar/epoch", prover_margin="margin_epoch / provers"),
    )
    own = {formula.name for formula in found}
    return tuple(
        Formula(formula.name + end, formula.unit, _renamed(formula.expression, own, end))
        for formula in found
    )


def all_formulas(loads: Sequence[Figure]) -> tuple[Formula, ...]:
    """Returns the formulas for some loads, each after those that it reads."""
    return (*TREE, *NETWORK, *(one for load in loads for one in load_formulas(load)))


def check_units(figures: Iterable[Figure], formulas: Iterable[Formula]) -> Mapping[str, Unit]:
    """Returns the unit of every figure and quantity.

    Raises:
        InvariantError: A formula has another unit than it says, reads what is not there, or has a name that is taken.
    """
    found = {figure.name: parse_unit(figure.unit) for figure in figures}
    for formula in formulas:
        unit = unit_of(formula.expression, found)
        if unit != parse_unit(formula.unit):
            raise InvariantError(f"{formula.name} is in {unit}, not in {formula.unit}")
        if formula.name in found:
            raise InvariantError(f"there are two {formula.name}")
        found[formula.name] = unit
    return found


def sources_of(
    figures: Iterable[Figure], formulas: Iterable[Formula]
) -> Mapping[str, tuple[str, ...]]:
    """Returns the figures that every figure and quantity rests on, read off the expressions."""
    found: dict[str, tuple[str, ...]] = {figure.name: (figure.name,) for figure in figures}
    for formula in formulas:
        read = (source for name in names_in(formula.expression) for source in found[name])
        found[formula.name] = tuple(dict.fromkeys(read))
    return found


def _renamed(expression: str, own: set[str], end: str) -> str:
    """Returns an expression that reads a load's own quantities by their full names."""
    parts = re.split(r"([A-Za-z_]\w*)", expression)
    return "".join(part + end if part in own else part for part in parts)
