"""The tables: which quantity stands in which cell, and what a row means. Numbers are never written here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.costs.figures import Figure
from pipelines.costs.loads import LOADS, OWN, load_title
from pipelines.costs.records import LEVELS, STEPS
from schemas.errors import InvariantError

NOT_STATED = ""
"""A cell for which nobody says a number and no formula gives one."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row.

    Attributes:
        name: First cell.
        quantities: One per column of the table, or `NOT_STATED`.
        remark: What no number says.
    """

    name: str
    quantities: tuple[str, ...]
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        name: Of the table, and of its view in DuckDB.
        title: For people.
        columns: Beside the first; each has a number or nothing in every row.
        rows: The rows.
        notes: Below it.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[Row]
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Checks the shape.

        Raises:
            InvariantError: A row has another number of cells, or two have one name.
        """
        if any(len(row.quantities) != len(self.columns) for row in self.rows):
            raise InvariantError(f"a row of {self.name} has another number of cells")
        if len({row.name for row in self.rows}) != len(self.rows):
            raise InvariantError(f"two rows of {self.name} have one name")


COMPARISON = Table(
    "comparison",
    "Six ways to prove transactions",
    ("throughput", "latency", "cost", "decentralisation", "security"),
    (
        Row(
            "naive",
            ("naive_rate", "segment_s_wall", "naive_price", "naive_checking", "segment_s_bits"),
            "a proof for every transaction, final when it is proven; everybody checks every proof; no signature is proven",
        ),
        Row(
            "naive, as published",
            (
                "told_naive_rate",
                NOT_STATED,
                "told_naive_price",
                "told_naive_cores",
                NOT_STATED,
            ),
            "decentralisation: cores that prove",
        ),
        Row(
            "optimistic + batch",
            (
                "optimistic_rate",
                "finality_p50",
                "optimistic_total",
                "optimistic_cores",
                "segment_s_bits",
            ),
            "final by quorum, revertible until proven; full segments S, no recursion",
        ),
        Row(
            "hierarchical",
            (
                "proving_rate_target",
                "window_latency",
                "proving_price_target",
                "day_checking",
                "wrap_bits",
            ),
            "one proof a day by recursion, nothing is final before its window is proven; proves no signature",
        ),
        Row(
            "hierarchical, 50,000 tx/hour",
            (
                "proving_rate_demo",
                "small_window_latency",
                "proving_price_demo",
                "day_checking",
                "wrap_bits",
            ),
            "the same with one small segment in a window",
        ),
        Row(
            "GPU",
            ("gpu_rate", "gpu_latency", "gpu_price", "gpus", "segment_l_bits"),
            "the same proofs bit for bit, segments alone; decentralisation: GPUs that prove",
        ),
        Row(
            "GPU, as published",
            ("told_gpu_rate", "told_gpu_batch", "told_gpu_price", "told_gpus", NOT_STATED),
            "no figure of this build",
        ),
        Row(
            "hybrid",
            (
                "hybrid_rate",
                "finality_p50",
                "hybrid_total",
                "validator_busy_target",
                "segment_l_bits",
            ),
            "validators on CPUs, provers on GPUs; segments alone",
        ),
        Row(
            "hybrid, as published",
            (
                "told_hybrid_rate",
                "told_finality",
                "told_hybrid_total",
                "validator_busy_target",
                NOT_STATED,
            ),
            "rate and price of proving as published, validating as measured",
        ),
        Row(
            "combined",
            (
                "combined_rate_target",
                "finality_p50",
                "total_price_target",
                "validator_busy_target",
                "wrap_bits",
            ),
            "what this build runs: final by quorum, revertible until proven, one proof a day; on CPUs",
        ),
        Row(
            "combined, 50,000 tx/hour",
            (
                "combined_rate_demo",
                "finality_p50",
                "total_price_demo",
                "validator_busy_demo",
                "wrap_bits",
            ),
            "the same; proofs of nearly empty windows cost as much as of full ones",
        ),
    ),
    (
        "throughput: what one machine of 16 cores (or a GPU) keeps up with, of proving or validating the slower",
        "latency: seconds until a client may rely on it; wall-clock time on the machine and under the load of its record",
        "finality is measured at 500 tx/s on one machine, not at the throughput beside it",
        "cost: processor time of all who must work, at the price of a core or GPU, for a transaction",
        "decentralisation: cores (or GPUs) that somebody needs who takes part; fewer is better",
        "at 50,000 tx/s where a row says no other load",
        "cores are taken to do 16 times what one does: rates are from processor time, on busy machines too",
        "security: proven bits of what is relied on in the end",
    ),
)

VALIDATION = Table(
    "validation",
    "Validating, a core and a GPU",
    ("cpu", "gpu", "cpu_published", "gpu_published"),
    (
        Row(
            "one signature",
            ("signature_seconds", "gpu_signature_seconds", "told_signature", NOT_STATED),
            "ML-DSA-44",
        ),
        Row(
            "admission of a transaction",
            ("admission_seconds", NOT_STATED, NOT_STATED, NOT_STATED),
            "its signature included",
        ),
        Row(
            "execution of a transaction",
            ("execution_seconds", NOT_STATED, NOT_STATED, NOT_STATED),
            "root of the block included",
        ),
        Row(
            "block of 100",
            ("block_seconds", NOT_STATED, "told_block", NOT_STATED),
            "one core; on more it is faster",
        ),
        Row(
            "proof of a window",
            ("lift_s_check", NOT_STATED, "told_proof_check", "told_proof_check_gpu"),
            "no backend verifies on a GPU",
        ),
        Row(
            "finality, p50",
            ("finality_p50", NOT_STATED, "told_finality", NOT_STATED),
            "submission to final, four validators on one machine at 500 tx/s",
        ),
        Row(
            "finality, p99",
            ("finality_p99", NOT_STATED, NOT_STATED, NOT_STATED),
            "the same",
        ),
        Row(
            "certificate of 49 over a continent, p50",
            ("wan_p50", NOT_STATED, NOT_STATED, NOT_STATED),
            "simulated; one-way times are assumed by the bench",
        ),
        Row(
            "certificate of 49 over a continent, p99",
            ("wan_p99", NOT_STATED, NOT_STATED, NOT_STATED),
            "the same",
        ),
    ),
    (
        "wall-clock seconds for proofs and finality, under the load of the record; processor seconds for the rest",
        "what a validator does is not built for GPUs, only proving is",
    ),
)

SCENARIOS = Table(
    "scenarios",
    "Validators without, with some, and with GPUs everywhere",
    (
        "validators",
        "gpu_share",
        "dollars_per_validator_month",
        "network_dollars_month",
        "capacity",
        "rented_demo",
        "rented_target",
    ),
    (
        Row(
            "A: no validator has a GPU",
            (
                *("validators", "no_gpu_share", "machine_month", "rented_a"),
                *("validator_capacity", "rented_price_demo", "rented_price_target"),
            ),
            "pure provers are not counted",
        ),
        Row(
            "B: validator-provers have one",
            (
                *("validators", "gpu_validator_share", "mean_b", "rented_b"),
                *("validator_capacity", "rented_price_b_demo", "rented_price_b_target"),
            ),
            "the slowest validators set the pace",
        ),
        Row(
            "C: every validator has one",
            (
                *("validators", "full_gpu_share", "machine_gpu_month", "rented_c"),
                *("gpu_validator_capacity", "rented_price_c_demo", "rented_price_c_target"),
            ),
            "signatures on the GPU, the rest on the CPU: not built",
        ),
    ),
    (
        "A, B and C are our reading of the three scenarios; machines are rented whole, whatever they do",
        "capacity: transactions a second of one shard that a validator keeps up with",
    ),
)

STEP_TABLE = Table(
    "gpu_steps",
    "Steps of proving, CPU and GPU",
    ("cpu", "gpu", "gpu_published"),
    (
        *(
            Row(
                step,
                (
                    f"step_{name}_cpu",
                    f"step_{name}_gpu",
                    NOT_STATED if name == "circuit" else f"told_step_{name}",
                ),
            )
            for name, step in STEPS.items()
        ),
        Row("sum", ("steps_cpu", "steps_gpu", "told_steps")),
    ),
    (
        "seconds of one window of bench steps; the published ones are of another circuit and size",
        "published: 10 + 30 + 6 + 3 s, read as the four steps after the circuit's build",
    ),
)

LEVEL_TABLE = Table(
    "levels",
    "One proof of every level",
    ("core_seconds", "seconds", "bytes", "bits", "check_seconds"),
    [
        Row(kind, tuple(f"{kind}_{part}" for part in ("cpu", "wall", "bytes", "bits", "check")))
        for kind in LEVELS
    ],
    (
        "segments hold few transactions here; seconds and checks are wall-clock, under the load of the record",
    ),
)

NODES = Table(
    "gpu_share",
    "Share of validators with GPUs",
    ("validators", "with_gpu", "share"),
    (
        Row(
            "composition of the network",
            ("validators", "validator_provers", "gpu_validator_share"),
            "pure_validators and validator_provers of --figures",
        ),
    ),
)


def all_tables(loads: Sequence[Figure]) -> tuple[Table, ...]:
    """Returns all tables for some loads."""
    return (
        COMPARISON,
        _costs(loads),
        VALIDATION,
        SCENARIOS,
        STEP_TABLE,
        LEVEL_TABLE,
        _margin(loads),
        NODES,
    )


def titles(loads: Sequence[Figure]) -> Mapping[str, str]:
    """Returns what tables call the loads, by the end of their names."""
    named = {load.name.removeprefix("load_"): load_title(load) for load in loads}
    return {end: f"{text} (--load)" if end == OWN else text for end, text in named.items()}


SAME_PRICE = frozenset({"validating", "gpu", "told_gpu"})
"""Parts that cost a transaction the same under every load."""


def _costs(loads: Sequence[Figure]) -> Table:
    parts = (
        ("proving", "proving", "proving_busy", "the pyramid, segments to day, on CPUs"),
        ("validating", "validating", "validating_busy", "all validators of a shard"),
        ("both", "total", "total_busy", ""),
        ("validators rented", "rented", NOT_STATED, "scenario A: whole machines, busy or not"),
        ("segments on GPUs", "gpu", "gpu_busy", "busy: GPUs"),
        ("segments on GPUs, as published", "told_gpu", "told_gpu_busy", "busy: GPUs"),
    )

    def rows() -> Iterator[Row]:
        for end, title in titles(loads).items():
            for name, part, busy, remark in parts:
                price = f"{part}_price" if part in SAME_PRICE else f"{part}_price_{end}"
                periods = (f"{part}_{period}_{end}" for period in ("epoch", "day", "month"))
                used = f"{busy}_{end}" if busy else NOT_STATED
                yield Row(f"{title}: {name}", (price, *periods, used), remark)
        yield Row(
            f"{LOADS['target']}: proving, asked for at most",
            (*[NOT_STATED] * 3, "told_month_limit", NOT_STATED),
        )

    return Table(
        "costs",
        "Dollars per transaction, epoch, day and month",
        ("transaction", "epoch", "day", "month", "busy"),
        tuple(rows()),
        ("busy: cores, on average; a proof costs the same however empty its segment is",),
    )


def _margin(loads: Sequence[Figure]) -> Table:
    columns = ("reward", "fees", "fees_cover", "cost", "even_price", "margin", "margin_per_prover")
    quantities = (
        *("epoch_reward", "prover_fees", "fees_cover", "proving_epoch"),
        *("even_price", "margin_epoch", "prover_margin"),
    )
    rows = [
        Row(
            title,
            tuple(name if name == "epoch_reward" else f"{name}_{end}" for name in quantities),
        )
        for end, title in titles(loads).items()
    ]
    return Table(
        "margin",
        "Provers' margin per epoch",
        columns,
        rows,
        (
            "reward: all three parts, ECLIPT an epoch; fees: the provers' share of them at the floor",
            "even_price: dollars per ECLIPT at which rewards pay the processor time",
            "margin: dollars an epoch at the assumed price; rewards alone, on CPUs",
        ),
    )


def check_tables(tables: Sequence[Table], known: Mapping[str, object]) -> None:
    """Checks that every cell is there.

    Raises:
        InvariantError: A cell names a quantity that nothing gives.
    """
    for table in tables:
        for row in table.rows:
            for name in row.quantities:
                if name and name not in known:
                    raise InvariantError(f"{table.name}: {row.name}: there is no {name}")


def needed_figures(tables: Sequence[Table], sources: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Returns the figures that some cell rests on."""
    cells = (name for table in tables for row in table.rows for name in row.quantities if name)
    return frozenset(source for name in cells for source in sources[name])
