"""Auditors' table over proofs of all levels, and the verifier as a function of DuckDB, over an exported chain."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.audit_views import named_queries, query_epochs, view_names
from operators.beacon_history import read_beacon
from operators.beacon_start import BeaconPlace
from operators.export_files import epoch_folder, exported_epochs
from operators.planned_statements import planned_statements
from operators.proof_files import proof_files
from operators.proof_index import check_index, index_path, read_index, write_index
from operators.proof_verdict import register_verifier
from operators.topic_view import TopicView
from pipelines.cli.main import main
from pipelines.inclusion import planned_trees
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.recursion.pyramid_work import said_bytes, said_digest
from proving.recursion.span import lift_spans
from schemas.exports import PROOF_INDEX
from schemas.job import ProofLevel
from schemas.statement import decode_statement
from schemas.tables import CONSENSUS
from tests.suites.mini_chain import MiniChain

HASHER = NumpyHasher()


@pytest.fixture
def root(proven_day: MiniChain, tmp_path: Path) -> Path:
    to = tmp_path / "copy"
    for name in ("epochs", "proofs"):
        shutil.copytree(proven_day.data / name, to / name)
    shutil.copy(proven_day.data / "genesis.json", to)
    return to


def found(root: Path, day: MiniChain) -> list[str]:
    return [finding.detail for finding in check_index(root, day.genesis, day.planner(), 100)]


def test_every_accepted_proof_is_a_row_with_what_it_says(root: Path, proven_day: MiniChain) -> None:
    sql = (
        'select shard, "window", segment, path, bytes, proven_bits, pre_root = lag(post_root) over (order by '
        '"window", segment), payee, transfers from segment_proofs order by "window", segment'
    )
    rows = query_epochs(root, sql).rows
    assert {row[3] for row in rows} == {
        path.relative_to(root).as_posix() for path in proof_files(root, ProofLevel.SEGMENT)
    }
    assert all(row[4] == (root / row[3]).stat().st_size and row[5] >= 100 for row in rows)
    assert [row[6] for row in rows] == [None] + [True] * (len(rows) - 1)
    assert {row[7] for row in rows} == {bytes(32)}
    (total,) = query_epochs(root, "select count(*) from transactions where kind = 'transfer'").rows[
        0
    ]
    assert sum(row[8] for row in rows) == total > 0
    assert found(root, proven_day) == []


def test_the_verifier_answers_any_blob_with_a_verdict(root: Path) -> None:
    path = proof_files(root, ProofLevel.SEGMENT)[0]
    proof = path.read_bytes()
    damaged = bytearray(proof)
    damaged[-1] ^= 1
    with closing(duckdb.connect()) as connection:
        register_verifier(connection, root)
        blobs = [proof, bytes(damaged), b"", b"garbage", proof[:100], proof + b"\0", None]
        verdicts = [
            connection.execute("select verify_proof(?::blob)", [blob]).fetchall()[0][0]
            for blob in blobs
        ]
    assert verdicts[-1] is None
    assert [one["verdict"] for one in verdicts[:-1]] == [
        "accepted",
        "rejected",
        "malformed",
        "malformed",
        "malformed",
        "malformed",
    ]
    assert (verdicts[0]["level"], verdicts[0]["statement"]) == ("segment", path.stem)
    assert verdicts[0]["bits"] >= 100
    assert all(one["reason"] and one["bits"] is None for one in verdicts[1:-1])


def test_the_named_queries_verify_files_and_name_the_damaged_one(root: Path) -> None:
    by_level = query_epochs(root, named_queries()["proofs-by-level"].sql).rows
    count = len(proof_files(root, ProofLevel.SEGMENT))
    assert [row[:3] for row in by_level] == [("segment", "segment_s", count)]
    assert query_epochs(root, named_queries()["verify-day"].sql).rows == []
    verify = named_queries()["verify-proofs"].sql
    assert query_epochs(root, verify).rows == []
    path = proof_files(root, ProofLevel.SEGMENT)[0]
    path.write_bytes(path.read_bytes()[:-1])
    (row,) = query_epochs(root, verify).rows
    assert (row[3], row[4]) == (path.relative_to(root).as_posix(), "malformed")
    for name in (
        "proofs/none.proof",
        "/etc/passwd",
        "genesis.json",
        "proofs/../genesis.json",
        "a\0b",
    ):
        sql = (
            f"select (verify_proof_file({name!r})).verdict"
            if "\0" not in name
            else ("select (verify_proof_file('a' || chr(0))).verdict")
        )
        assert query_epochs(root, sql).rows == [("unreadable",)], name


@pytest.mark.parametrize("column", ["post_root", "proven_bits", "first_window", "payee", "bytes"])
def test_a_row_that_says_something_else_is_found(
    root: Path, proven_day: MiniChain, column: str
) -> None:
    rows = read_index(root)
    value = rows[0][column]
    rows[0][column] = bytes(31) + b"\1" if isinstance(value, bytes) else value + 1
    pq.write_table(pa.Table.from_pylist(rows, schema=PROOF_INDEX.schema), index_path(root))
    assert [detail.split(": ")[-1] for detail in found(root, proven_day)] == [column]


def test_a_missing_row_and_a_damaged_table_are_found_and_an_export_mends(
    root: Path, proven_day: MiniChain
) -> None:
    whole = index_path(root).read_bytes()
    rows = read_index(root)[1:]
    pq.write_table(pa.Table.from_pylist(rows, schema=PROOF_INDEX.schema), index_path(root))
    assert found(root, proven_day) == ["an accepted proof is not listed"]
    index_path(root).write_bytes(b"PAR1")
    assert len(found(root, proven_day)) == 1
    write_index(proven_day.log(), root, proven_day.genesis, proven_day.planner())
    assert index_path(root).read_bytes() == whole


def test_statements_are_those_that_the_log_plans_again(root: Path, proven_day: MiniChain) -> None:
    place = BeaconPlace(proven_day.log(), proven_day.genesis, proven_day.configuration, HASHER)
    view = TopicView(place.log)
    genesis = proven_day.genesis
    history = read_beacon(view.rows("beacon", CONSENSUS), genesis)
    trees = planned_trees(place, view, history, genesis.windows_per_epoch)
    nodes = [node for tree in trees for node in tree.nodes()]
    assert {node.level for node in nodes} == {ProofLevel.WINDOW, ProofLevel.EPOCH}
    planned = planned_statements(root, genesis, proven_day.planner())
    assert {(node.level.value, said_digest(node.said, HASHER)) for node in nodes} <= planned
    shutil.rmtree(epoch_folder(root, *next(iter(exported_epochs(root)))))
    assert planned_statements(root, genesis, proven_day.planner()) == frozenset()


def test_a_proof_of_another_history_is_not_taken_for_one_of_this_chain(
    root: Path, proven_day: MiniChain
) -> None:
    """Whether it holds makes no difference: it is not even looked at."""
    segments = [row for row in read_index(root) if row["level"] == ProofLevel.SEGMENT]
    said = lift_spans([decode_statement(segments[0]["statement"])], HASHER)
    other = replace(said, after=replace(said.after, height=said.after.height + 1))
    row = {
        **segments[0],
        "level": ProofLevel.WINDOW.value,
        "statement": said_bytes(other),
        "statement_digest": said_digest(other, HASHER),
    }
    table = pa.Table.from_pylist([*read_index(root), row], schema=PROOF_INDEX.schema)
    pq.write_table(table, index_path(root))
    assert "does not follow from the accepted segments" in found(root, proven_day)


def test_an_export_without_the_table_has_no_rows_and_all_views(root: Path) -> None:
    index_path(root).unlink()
    for name in view_names():
        query_epochs(root, f"select * from {name} limit 1")  # noqa: S608 - a view's name
    assert query_epochs(root, "select count(*) from all_proofs").rows == [(0,)]


def test_the_command_verifies(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "select verify_proof_file(path).verdict as verdict from all_proofs limit 1"
    assert main(["epoch", "query", sql, "--data", str(root), "--json"]) == 0
    assert "accepted" in json.dumps(json.loads(capsys.readouterr().out))
