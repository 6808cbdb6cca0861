"""Costs follow measured rates, every number says what it rests on, and units that do not fit are refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.cli.main import main
from pipelines.costs.database import CostModel, all_cells, cost_model, open_costs, query_costs
from pipelines.costs.figures import Basis, Figure
from pipelines.costs.formulas import Formula, all_formulas, check_units
from pipelines.costs.given import ASSUMED, PUBLISHED, given_figures
from pipelines.costs.loads import load_title, parse_load
from pipelines.costs.records import DEFAULT_RECORDS, measured_figures, read_records
from pipelines.costs.tables import needed_figures
from pipelines.costs.text import Cell, cells_by_place
from pipelines.costs.units import ONE, names_in, parse_unit, unit_of
from schemas.config import profile_configuration
from schemas.errors import InvariantError, ParameterError

TARGET = profile_configuration("target")
APPROACHES = ("naive", "optimistic + batch", "hierarchical", "GPU", "hybrid", "combined")
Edit = Callable[[dict[str, Any]], object]


def model_of(records: Path = DEFAULT_RECORDS, *more: Figure) -> CostModel:
    return cost_model([*measured_figures(records), *given_figures(TARGET), *more])


def numbers(model: CostModel) -> dict[tuple[str, str, str], Cell]:
    with closing(open_costs(model)) as connection:
        return dict(cells_by_place(all_cells(connection)))


def values(model: CostModel) -> dict[str, float | None]:
    with closing(open_costs(model)) as connection:
        _, rows = query_costs(connection, "select name, value from quantities")
    return dict(rows)


@pytest.fixture(scope="module")
def costs() -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(open_costs(model_of())) as connection:
        yield connection


@cache
def shipped_numbers() -> dict[tuple[str, str, str], Cell]:
    return numbers(model_of())


@cache
def shipped_values() -> dict[str, float | None]:
    return values(model_of())


def copied(folder: Path, edits: Mapping[str, Edit], without: Sequence[str] = ()) -> Path:
    """Copies the shipped records into a folder, some changed and some left out."""
    folder.mkdir()
    for key, (path, record) in read_records(DEFAULT_RECORDS).items():
        changed = json.loads(json.dumps(record))
        if key in edits:
            edits[key](changed)
        if key not in without:
            (folder / path.name).write_text(json.dumps(changed))
    return folder


def faster(record: dict[str, Any]) -> None:
    """Halves the processor time of everything in a record: twice the rate."""
    if "cpu_seconds_median" in record:
        record["cpu_seconds_median"] /= 2
    for level in record.get("levels", ()):
        level["cpu_seconds_median"] /= 2
    for name in record.get("cpu_seconds", ()):
        record["cpu_seconds"][name] /= 2


def computed(model: CostModel) -> dict[str, float | None]:
    """Computes every formula in Python, without SQL."""
    known: dict[str, Any] = {figure.name: figure.value for figure in model.figures}
    functions = {"ceil": math.ceil, "floor": math.floor, "smaller": min, "__builtins__": {}}
    for formula in model.formulas:
        read = {name: known[name] for name in names_in(formula.expression)}
        is_open = None in read.values()
        known[formula.name] = (
            None if is_open else float(eval(formula.expression, functions, read))  # noqa: S307
        )
    return known


def test_sql_and_python_compute_the_same_of_every_formula() -> None:
    model = model_of()
    found, expected = shipped_values(), computed(model)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == (None if value is None else pytest.approx(value, rel=1e-12)), name


def test_every_number_says_which_figures_it_rests_on_and_each_says_where_it_is_from() -> None:
    model = model_of()
    with closing(open_costs(model)) as connection:
        _, rows = query_costs(
            connection,
            'select "table", "row", "column", basis, source, commit, machine from provenance',
        )
    told: dict[tuple[str, str, str], list[tuple[str, ...]]] = {}
    for table, row, column, *rest in rows:
        told.setdefault((table, row, column), []).append(tuple(rest))
    cells = shipped_numbers()
    assert len(cells) > 150
    for place, cell in cells.items():
        if cell["state"] == "not stated":
            assert place not in told
            continue
        assert {basis for basis, *_ in told[place]} == set(cell["basis"])
        assert all(source for _, source, *_ in told[place]), place
        if cell["state"] == "known":
            measured = [one for one in told[place] if one[0] == "measured"]
            assert all(commit and machine for *_, commit, machine in measured), place


def test_what_is_not_measured_names_the_record_that_is_missing(tmp_path: Path) -> None:
    model = model_of(copied(tmp_path / "none", {}, tuple(read_records(DEFAULT_RECORDS))))
    by_name = {figure.name: figure for figure in model.figures}
    cells = numbers(model)
    holes = [cell for cell in cells.values() if cell["state"] == "not measured"]
    assert holes
    for cell in holes:
        missing = [by_name[name] for name in model.sources[cell["quantity"]]]
        assert any(one.value is None and "no record of" in one.source for one in missing), cell
    for cell in cells.values():
        assert cell["state"] != "known" or "measured" not in cell["basis"], cell


def test_no_gpu_figure_is_known_without_a_gpu_record() -> None:
    assert not [
        one.name for one in measured_figures(DEFAULT_RECORDS) if "gpu" in one.name and one.value
    ]
    cells = shipped_numbers()
    for column in ("throughput", "latency", "cost", "decentralisation"):
        assert cells["comparison", "GPU", column]["state"] == "not measured"
    assert {
        cells["gpu_steps", row, "gpu"]["state"] for table, row, _ in cells if table == "gpu_steps"
    } == {"not measured"}


def test_a_gpu_record_fills_the_gpu_cells_and_no_other(tmp_path: Path) -> None:
    folder = copied(tmp_path / "records", {})
    record = json.loads((DEFAULT_RECORDS / "segment_l.json").read_text())
    record["parameters"]["backend"] = "cuda"
    record["transactions_per_second"] = 123_456.0
    (folder / "segment_l_gpu.json").write_text(json.dumps(record))
    before, after = shipped_numbers(), numbers(model_of(folder))
    assert after["comparison", "GPU", "throughput"]["value"] == 123_456.0
    assert after["comparison", "GPU", "cost"]["value"] == pytest.approx(2 / 3600 / 123_456)
    changed = {place for place in before if before[place]["value"] != after[place]["value"]}
    assert changed
    assert all(before[place]["state"] == "not measured" for place in changed)


@pytest.mark.parametrize(
    "price", ["validating_price", "proving_price_demo", "proving_price_target"]
)
def test_twice_the_rate_is_half_the_cost(price: str, tmp_path: Path) -> None:
    edits = dict.fromkeys(("levels", "segment_l", "segment_s", "admission", "execution"), faster)
    before, after = shipped_values(), values(model_of(copied(tmp_path / "records", edits)))
    assert before[price]
    assert after[price] == pytest.approx((before[price] or 0) / 2, rel=1e-12)


def test_every_table_follows_a_changed_record(tmp_path: Path) -> None:
    before = shipped_numbers()
    records = read_records(DEFAULT_RECORDS)
    edits: dict[str, Edit] = dict.fromkeys(records, faster)
    edits["steps"] = lambda record: [row.update(cpu_seconds=9.0) for row in record["table"]]
    after = numbers(model_of(copied(tmp_path / "records", edits)))
    changed = {place[0] for place in before if before[place]["value"] != after[place]["value"]}
    assert changed == {place[0] for place in before} - {"gpu_share"}


@pytest.mark.parametrize("left_out", ["levels", "admission", "segment_l", "finality"])
def test_without_a_record_its_numbers_are_gone_and_no_other_changes(
    left_out: str, tmp_path: Path
) -> None:
    before = model_of()
    own = {one.name for one in measured_figures(DEFAULT_RECORDS) if one.value is not None}
    records = copied(tmp_path / "records", {}, [left_out])
    own -= {one.name for one in measured_figures(records) if one.value is not None}
    assert own
    found, left = shipped_numbers(), numbers(model_of(records))
    for place, cell in found.items():
        rests = cell["quantity"] and own & set(before.sources[cell["quantity"]])
        assert left[place]["value"] == (None if rests else cell["value"]), place


def known_of(model: CostModel) -> dict[str, float]:
    """Returns what is known of every figure and formula."""
    return {name: value for name, value in computed(model).items() if value is not None}


def test_windows_are_counted_as_they_are_cut_and_joined() -> None:
    """The cost of an epoch by plain counting, for both loads."""
    known = known_of(model_of())
    clock = TARGET.clock
    windows = clock.windows_per_shard_epoch * clock.shard_epochs_per_hour

    def joins(children: int, slots: int) -> int:
        nodes = 0
        while children > 1:
            children -= min(children, slots) - 1
            nodes += 1
        return nodes

    for end, rate in (("demo", 50_000 / 3600), ("target", 50_000)):
        filled = rate * 30 / TARGET.chain.shards
        costs = []
        for large in range(math.ceil(filled / known["large_transactions"]) + 1):
            small = math.ceil(
                max(filled - large * known["large_transactions"], 0) / known["small_transactions"]
            )
            lifts = math.ceil(small / 6)
            costs.append(
                large * (known["large_cpu"] + known["lift_l_cpu"])
                + small * known["small_cpu"]
                + lifts * known["lift_s_cpu"]
                + joins(large + lifts, 8) * known["join_cpu"]
            )
        shard = 10 * joins(12, 8) + joins(10, 8)
        day = joins(24, 8) * known["day_cpu"] + known["wrap_cpu"]
        expected = windows * 8 * (min(costs) + filled * known["cut_cpu"])
        expected += 8 * shard * known["join_cpu"] + known["epoch_cpu"] + day / 24
        assert known[f"epoch_core_{end}"] == pytest.approx(expected, rel=1e-9)


def test_periods_are_of_one_rate() -> None:
    known = known_of(model_of())
    for end, hourly in (("demo", 50_000), ("target", 50_000 * 3600)):
        price = known[f"total_price_{end}"]
        assert known[f"total_epoch_{end}"] == pytest.approx(price * hourly)
        assert known[f"total_day_{end}"] == pytest.approx(price * hourly * 24)
        assert known[f"total_month_{end}"] == pytest.approx(price * hourly * 24 * 30)


@pytest.mark.parametrize(
    ("name", "unit", "expression"),
    [
        ("rate", "transaction/second", "load_demo"),
        ("rate", "transaction/hour", "load_target"),
        ("rate", "transaction/second", "load_demo * seconds_per_hour"),
        ("both", "transaction/second", "load_target + load_demo"),
        ("price", "dollar/transaction", "core_dollars * admission_cpu"),
        ("price", "dollar/transaction", "core_dollars / seconds_per_hour"),
        ("cost", "dollar/month", "core_dollars * machine_cores * hours_per_day"),
        ("worse", "core*second", "smaller(small_cpu, segment_s_wall)"),
        ("one", "1", "seconds_per_hour - 3600"),
        ("absent", "1", "nothing_like_it"),
        ("taken", "1", "ceil(shards, shards)"),
        ("odd", "1", "shards ** shards"),
        ("odd", "1", "shards +"),
        ("odd", "1", "'text'"),
        ("shards", "1", "shards"),
    ],
)
def test_a_mistaken_unit_or_formula_is_refused(name: str, unit: str, expression: str) -> None:
    figures = [*measured_figures(DEFAULT_RECORDS), *given_figures(TARGET)]
    with pytest.raises(InvariantError):
        check_units(figures, [Formula(name, unit, expression)])


def test_a_rate_per_hour_becomes_one_per_second_by_the_figure_that_says_so() -> None:
    units = {"load": parse_unit("transaction/hour"), "hour": parse_unit("second/hour")}
    assert unit_of("load / hour", units) == parse_unit("transaction/second")
    assert unit_of("load / load", units) == ONE
    assert str(unit_of("hour * hour / load", units)) == "second*second/hour/transaction"


@pytest.mark.parametrize(
    ("text", "value", "unit", "title"),
    [
        ("50000/hour", 50_000, "transaction/hour", "50,000 tx/hour"),
        ("50,000 tx/s", 50_000, "transaction/second", "50,000 tx/s"),
        ("2_500", 2_500, "transaction/second", "2,500 tx/s"),
        ("0.5/h", 0.5, "transaction/hour", "0.5 tx/hour"),
    ],
)
def test_a_load_is_read_with_its_unit(text: str, value: float, unit: str, title: str) -> None:
    load = parse_load(text)
    assert (load.value, load.unit, load.basis) == (value, unit, Basis.ASSUMED)
    assert load_title(load) == title


@pytest.mark.parametrize(
    "text", ["", "fast", "-5/s", "5/minute", "0", "1e9", "5/s/s", "nan", "9999999999/s"]
)
def test_what_is_no_load_is_refused(text: str) -> None:
    with pytest.raises(ParameterError):
        parse_load(text)


def test_an_own_load_stands_beside_both_and_costs_what_it_would_as_one_of_them() -> None:
    for text, end in (("50000/hour", "demo"), ("180000000/hour", "target"), ("50000", "target")):
        known = values(model_of(DEFAULT_RECORDS, parse_load(text)))
        for name in ("proving_price", "total_month", "even_price"):
            assert known[f"{name}_own"] == pytest.approx(known[f"{name}_{end}"], rel=1e-12)


def test_both_loads_and_all_approaches_are_always_there() -> None:
    cells = shipped_numbers()
    rows = {row for table, row, _ in cells if table == "comparison"}
    assert rows >= set(APPROACHES)
    columns = {column for table, _, column in cells if table == "comparison"}
    assert columns == {"throughput", "latency", "cost", "decentralisation", "security"}
    for load in ("50,000 tx/hour", "50,000 tx/s"):
        for period in ("transaction", "epoch", "day", "month"):
            assert cells["costs", f"{load}: proving", period]["state"] == "known"
        assert cells["margin", load, "margin"]["state"] == "known"


def test_no_figure_and_no_formula_is_idle() -> None:
    model = model_of()
    read = {name for formula in model.formulas for name in names_in(formula.expression)}
    shown = {name for table in model.tables for row in table.rows for name in row.quantities}
    assert {figure.name for figure in model.figures} == needed_figures(model.tables, model.sources)
    assert {formula.name for formula in model.formulas} <= read | shown


def test_the_share_of_validators_with_gpus_follows_the_nodes(tmp_path: Path) -> None:
    assert shipped_values()["gpu_validator_share"] == 0.25
    changes = tmp_path / "mine.toml"
    changes.write_text('[validator_provers]\nvalue = 300\nsource = "mine"\n')
    figures = [*measured_figures(DEFAULT_RECORDS), *given_figures(TARGET, changes)]
    with closing(open_costs(cost_model(figures))) as connection:
        _, rows = query_costs(connection, "select validators, with_gpu, share from gpu_share")
    assert rows == [(600.0, 300.0, 0.5)]


def test_a_changed_price_changes_what_rests_on_it_and_says_so(tmp_path: Path) -> None:
    changes = tmp_path / "mine.toml"
    changes.write_text(
        '[core_dollars]\nvalue = 0.08\nsource = "my contract"\nbasis = "published"\n'
    )
    given = {figure.name: figure for figure in given_figures(TARGET, changes)}
    price = given["core_dollars"]
    assert (price.value, price.basis, price.unit) == (0.08, Basis.PUBLISHED, "dollar/hour/core")
    assert price.source == "my contract (mine.toml)"
    known = values(cost_model([*measured_figures(DEFAULT_RECORDS), *given.values()]))
    before = shipped_values()
    assert known["total_price_target"] == pytest.approx(2 * (before["total_price_target"] or 0))
    assert known["gpu_month"] == before["gpu_month"]


@pytest.mark.parametrize(
    "text",
    [
        "[core_dollars]\nvalue = 1\n",
        '[core_dollars]\nvalue = 1\nsource = " "\n',
        '[core_dollars]\nvalue = -1\nsource = "x"\n',
        '[core_dollars]\nvalue = nan\nsource = "x"\n',
        '[core_dollars]\nvalue = 1\nsource = "x"\nbasis = "measured"\n',
        '[core_dollars]\nvalue = 1\nsource = "x"\nunit = "dollar/day"\n',
        '[admission_cpu]\nvalue = 1\nsource = "x"\n',
        '[shards]\nvalue = 1\nsource = "x"\n',
        "core_dollars = 1\n",
        "[core_dollars\n",
    ],
)
def test_a_change_without_a_source_or_of_what_is_measured_is_refused(
    text: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ParameterError):
        given_figures(TARGET, tmp_path / "mine.toml")


def broken_records() -> Iterator[tuple[str, Callable[[Path], object]]]:
    def edited(name: str, edit: Edit) -> Callable[[Path], object]:
        def write(folder: Path) -> None:
            record = json.loads((folder / name).read_text())
            edit(record)
            (folder / name).write_text(json.dumps(record))

        return write

    yield "a proof did not hold", edited("levels.json", lambda one: one.update(verified=False))
    yield "no commit", edited("admission.json", lambda one: one.update(commit=None))
    yield "no machine", edited("admission.json", lambda one: one.pop("machine"))
    yield "no transactions", edited("admission.json", lambda one: one.update(transactions=0))
    yield "negative", edited("admission.json", lambda one: one.update(cpu_seconds_median=-1))
    yield "a level less", edited("levels.json", lambda one: one["levels"].pop())
    yield (
        "twice",
        lambda folder: (folder / "b.json").write_bytes((folder / "levels.json").read_bytes()),
    )
    yield "no JSON", lambda folder: (folder / "b.json").write_text("{")
    yield "a list", lambda folder: (folder / "b.json").write_text("[]")


@pytest.mark.parametrize("damage", [pytest.param(one, id=what) for what, one in broken_records()])
def test_a_record_that_cannot_be_believed_is_refused(
    damage: Callable[[Path], object], tmp_path: Path
) -> None:
    folder = copied(tmp_path / "records", {})
    measured_figures(folder)
    damage(folder)
    with pytest.raises(ParameterError):
        measured_figures(folder)


def test_a_figure_without_provenance_cannot_be() -> None:
    for changes in (
        {"source": ""},
        {"basis": Basis.MEASURED},
        {"value": math.inf},
        {"value": None},
        {"unit": "euro"},
        {"name": "two words"},
    ):
        given: dict[str, Any] = {"name": "x", "value": 1.0, "unit": "1", "basis": Basis.ASSUMED}
        with pytest.raises(ParameterError):
            Figure(**{**given, "source": "why", **changes})


def test_assumptions_give_a_reason_and_publications_their_place() -> None:
    assert all(figure.source.startswith("own: ") for figure in ASSUMED)
    assert all(figure.source.startswith("design: ") for figure in PUBLISHED)


def test_smaller_of_something_unknown_is_unknown(costs: duckdb.DuckDBPyConnection) -> None:
    _, rows = query_costs(
        costs, "select smaller(1, 2), smaller(3, 2), smaller(null, 1), smaller(1, null)"
    )
    assert rows == [(1, 2, None, None)]


@pytest.mark.parametrize(
    "sql",
    [
        "select 1; select 2",
        "drop view comparison",
        "insert into figures values ('x', 1, '1', 'assumed', 'x', '', '')",
        "select * from read_text('pyproject.toml')",
        "attach 'other.duckdb'",
        "select * from nothing",
        "",
    ],
)
def test_only_one_question_over_the_tables_is_answered(
    sql: str, costs: duckdb.DuckDBPyConnection
) -> None:
    with pytest.raises(ParameterError):
        query_costs(costs, sql)
    assert query_costs(costs, "select 1 as one") == (("one",), [(1,)])


def test_the_command_prints_tables_and_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--load", "2000/s", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema_version"], found["name"], found["profile"]) == (1, "cost", "target")
    assert set(found["loads"]) == {"load_demo", "load_target", "load_own"}
    for table in found["tables"].values():
        for row in table["rows"]:
            for cell in row["cells"].values():
                assert (cell["value"] is None) == (cell["state"] != "known")
                assert all(name in found["figures"] for name in cell.get("figures", ()))
                if cell["state"] == "not measured":
                    assert cell["missing"]
    assert main(["cost"]) == 0
    text = capsys.readouterr().out
    for said in ("50,000 tx/hour: proving", "50,000 tx/s: proving", "not measured", *APPROACHES):
        assert said in text
    assert main(["cost", "--sql", "select name, cost from comparison", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 11


@pytest.mark.parametrize(
    "arguments", [["--load", "fast"], ["--records", "absent"], ["--sql", "drop table figures"]]
)
def test_mistakes_of_the_command_end_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", *arguments]) == 2
    assert "error: " in capsys.readouterr().err


def test_the_formulas_of_an_own_load_do_not_disturb_the_others() -> None:
    own = parse_load("7/s")
    with_own = all_formulas([own])
    assert len({formula.name for formula in with_own}) == len(with_own)
    before, after = shipped_values(), values(model_of(DEFAULT_RECORDS, own))
    assert {name: after[name] for name in before} == before


def test_milliseconds_of_records_become_seconds(tmp_path: Path) -> None:
    edits: dict[str, Edit] = {
        "finality": lambda one: one["table"][0].update(final_ms_p50=250),
        "levels": lambda one: one["levels"][0].update(verify_ms=40),
        "wan": lambda one: [row.update(p99_ms=80) for row in one["table"]],
    }
    found = {one.name: one for one in measured_figures(copied(tmp_path / "records", edits))}
    assert found["wan_p99"].source == "bench wan: wan.json, simulated"
    assert "transcribed from" in found["finality_p50"].source
    for name, seconds in (("finality_p50", 0.25), ("segment_s_check", 0.04), ("wan_p99", 0.08)):
        assert found[name].value == pytest.approx(seconds)
        assert found[name].unit == "second"


def test_the_shape_of_the_object_is_fixed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {
        *("schema_version", "name", "profile", "loads", "machines"),
        *("tables", "figures", "formulas"),
    }
    assert {name: list(table["rows"][0]["cells"]) for name, table in found["tables"].items()} == {
        "comparison": ["throughput", "latency", "cost", "decentralisation", "security"],
        "costs": ["transaction", "epoch", "day", "month", "busy"],
        "validation": ["cpu", "gpu", "cpu_published", "gpu_published"],
        "scenarios": [
            *("validators", "gpu_share", "dollars_per_validator_month", "network_dollars_month"),
            *("capacity", "rented_demo", "rented_target"),
        ],
        "gpu_steps": ["cpu", "gpu", "gpu_published"],
        "levels": ["core_seconds", "seconds", "bytes", "bits", "check_seconds"],
        "margin": [
            *("reward", "fees", "fees_cover", "cost"),
            *("even_price", "margin", "margin_per_prover"),
        ],
        "gpu_share": ["validators", "with_gpu", "share"],
    }
    assert len(found["machines"]) == len(set(found["machines"])) > 0
    assert not any("load" in machine for machine in found["machines"])


def test_every_view_is_the_table_that_is_shown() -> None:
    model = model_of()
    with closing(open_costs(model)) as connection:
        for table in model.tables:
            columns, rows = query_costs(connection, f"from {table.name}")
            assert columns == ("name", *table.columns, "remark")
            shown = [
                tuple(
                    shipped_numbers()[table.name, row.name, column]["value"]
                    for column in table.columns
                )
                for row in table.rows
            ]
            assert [row[1:-1] for row in rows] == shown
            assert [row[0] for row in rows] == [row.name for row in table.rows]
