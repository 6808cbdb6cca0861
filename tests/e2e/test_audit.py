from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from operators.audit import EpochAudit, audit_export, check_files, check_places
from operators.audit_views import named_queries, query_epochs, write_database
from operators.export import ExportSource, export_epochs
from operators.export_files import (
    MANIFEST,
    epoch_folder,
    exported_epochs,
    read_manifest,
    sha256_of,
)
from operators.proof_files import proof_files, write_proof
from pipelines.chain_setup import genesis_path
from pipelines.cli import contract
from pipelines.cli.render import to_plain
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.ledger.trace import statement_digest
from schemas.errors import ParameterError
from schemas.job import ProofLevel, job_id_of
from schemas.tables import TRANSACTIONS
from tests.e2e.dictionary_executor import execute_log
from tests.suites.forged_exports import Rows, mend_manifests, table_rows, write_rows
from tests.suites.mini_chain import MiniChain
from tests.suites.segments_again import (
    Proven,
    proven_for_another_chain,
    proven_for_more_shards,
    proven_other_history,
)

HASHER = NumpyHasher()


def _audit(root: Path) -> list[EpochAudit]:
    return audit_export(root, 1000, HASHER)


def _copy(day: MiniChain, to: Path) -> Path:
    to.mkdir()
    for name in ("epochs", "proofs"):
        shutil.copytree(day.data / name, to / name)
    shutil.copy(day.data / "genesis.json", to)
    return to


def _rewrite(root: Path, name: str, change: Callable[[Rows], None]) -> None:
    """Changes a table of epoch 0 as a forger does who also mends the manifests."""
    folder = epoch_folder(root, 0, 0)
    rows = table_rows(folder, name)
    change(rows)
    write_rows(folder, name, rows)
    mend_manifests(root, 0)


def test_a_true_export_has_no_finding(proven_day: MiniChain) -> None:
    audits = _audit(proven_day.data)
    assert [audit.findings for audit in audits] == [()] * len(audits)
    assert all(audit.complete and (audit.proven_bits or 0) >= 100 for audit in audits)
    view = proven_day.view()
    assert sum(audit.proofs for audit in audits) == view.segments == len(view.accepted)
    books = execute_log(proven_day.log())
    assert sum(audit.transactions for audit in audits) == books.executed
    last = query_epochs(proven_day.data, named_queries()["supply"].sql).rows[-1]
    columns = query_epochs(proven_day.data, named_queries()["supply"].sql).columns
    supply = dict(zip(columns, last, strict=True))
    assert supply["holds"]
    assert supply["proposer_pool"] == books.balances[1]


def test_exporting_again_changes_no_byte(proven_day: MiniChain, tmp_path: Path) -> None:
    source = ExportSource(proven_day.log(), genesis_path(proven_day.data), 1000, HASHER)
    assert not any(epoch.written for epoch in export_epochs(source, proven_day.data, [0]))
    assert all(epoch.written for epoch in export_epochs(source, tmp_path, [0]))
    for path in (proven_day.data / "epochs").rglob("*.*"):
        other = tmp_path / path.relative_to(proven_day.data)
        assert other.read_bytes() == path.read_bytes(), path.name
    with pytest.raises(ParameterError, match="not sealed"):
        export_epochs(source, tmp_path, [0], 99)


def test_exporting_again_mends_what_was_damaged(proven_day: MiniChain, tmp_path: Path) -> None:
    root = _copy(proven_day, tmp_path / "copy")
    table = epoch_folder(root, 0, 0) / "votes.parquet"
    changed, absent = proof_files(root, ProofLevel.SEGMENT)[:2]
    before = {path: path.read_bytes() for path in (table, changed, absent)}
    for path in (table, changed):
        data = bytearray(before[path])
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    absent.unlink()
    source = ExportSource(proven_day.log(), genesis_path(root), 1000, HASHER)
    assert any(epoch.written for epoch in export_epochs(source, root, [0]))
    assert {path: path.read_bytes() for path in before} == before
    assert not any(audit.findings for audit in _audit(root))


def test_any_changed_byte_of_a_file_is_found(proven_day: MiniChain, tmp_path: Path) -> None:
    root = _copy(proven_day, tmp_path / "copy")
    folder = epoch_folder(root, 0, 0)
    genesis = sha256_of(root / "genesis.json")
    place = (proven_day.genesis.chain, 0, 0)
    assert list(check_files(folder, place, None, genesis)) == []
    rng = random.Random(1)  # noqa: S311 - a reproducible choice
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        for at in {0, len(data) - 1, *(rng.randrange(len(data)) for _ in range(20))}:
            changed = bytearray(data)
            changed[at] ^= 1 << rng.randrange(8)
            path.write_bytes(changed)
            is_found = bool(list(check_files(folder, place, None, genesis)))
            assert is_found or any(audit.findings for audit in _audit(root)), (path.name, at)
        path.write_bytes(data)
    assert list(check_files(folder, place, None, genesis)) == []
    (folder / "votes.parquet").unlink()
    assert list(check_files(folder, place, None, genesis))


@pytest.mark.parametrize(
    ("field", "value"),
    [("schema_version", 2), ("complete", False), ("first_height", 0), ("state_root", "00" * 32)],
)
def test_a_false_word_of_the_last_manifest_is_found(
    proven_day: MiniChain, tmp_path: Path, field: str, value: object
) -> None:
    root = _copy(proven_day, tmp_path / "copy")
    folder = epoch_folder(root, *list(exported_epochs(root))[-1])
    forged = read_manifest(folder).model_copy(update={field: value})
    (folder / MANIFEST).write_text(forged.model_dump_json(indent=2) + "\n")
    findings = [finding for audit in _audit(root) for finding in audit.findings]
    assert {finding.check for finding in findings} == {"manifest"}


def test_what_is_no_file_is_found_and_not_opened(proven_day: MiniChain, tmp_path: Path) -> None:
    root = _copy(proven_day, tmp_path / "copy")
    folder = epoch_folder(root, 0, 0)
    for name, check in (("votes.parquet", "files"), (MANIFEST, "manifest")):
        path = folder / name
        data = path.read_bytes()
        path.unlink()
        path.mkdir()
        assert check in {finding.check for audit in _audit(root) for finding in audit.findings}
        path.rmdir()
        path.write_bytes(data)


def test_what_lies_among_the_epochs_and_is_none_is_found(
    proven_day: MiniChain, tmp_path: Path
) -> None:
    root = _copy(proven_day, tmp_path / "copy")
    shard = epoch_folder(root, 0, 0).parent
    assert list(check_places(root)) == []
    known = list(exported_epochs(root))
    for name in ("epoch=00", "epoch=x", "epoch=\u0661", "note.txt"):
        (shard / name).mkdir()
    (shard / ".epoch=0.123").mkdir()  # an export that was killed
    (root / "epochs" / "shard=one").mkdir()
    assert sorted(Path(finding.where).name for finding in check_places(root)) == [
        "epoch=00",
        "epoch=x",
        "epoch=\u0661",
        "note.txt",
        "shard=one",
    ]
    assert list(exported_epochs(root)) == known


def test_any_changed_byte_of_a_proof_is_found(proven_day: MiniChain, tmp_path: Path) -> None:
    root = _copy(proven_day, tmp_path / "copy")
    path = proof_files(root, ProofLevel.SEGMENT)[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    findings = [finding for audit in _audit(root) for finding in audit.findings]
    assert {finding.check for finding in findings} == {"proofs"}
    path.unlink()
    assert any("cannot be read" in f.detail for audit in _audit(root) for f in audit.findings)


def _flip(column: str) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        value = bytearray(rows[-1][column])
        value[-1] ^= 1
        rows[-1][column] = bytes(value)

    return change


def _add(column: str) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        rows[-1][column] += 1

    return change


def _drop(rows: Rows) -> None:
    del rows[-1]


@pytest.mark.parametrize(
    ("table", "change", "check"),
    [
        ("transactions", _flip("signature"), "signatures"),
        ("transactions", _flip("body"), "transactions"),
        ("transactions", _add("amount"), "transactions"),
        ("transactions", _drop, "roots"),
        ("registrations", _add("account"), "registrations"),
        ("blocks", _flip("payload"), "blocks"),
        ("blocks", _add("height"), "blocks"),
        ("certificates", _flip("certificate"), "certificates"),
        ("certificates", _add("height"), "certificates"),
        ("votes", _flip("message"), "votes"),
        ("votes", _add("view"), "votes"),
        ("windows", _flip("post_state_root"), "windows"),
        ("windows", _add("segments"), "proofs"),
        ("proofs", _flip("statement"), "proofs"),
        ("proofs", _add("proven_bits"), "proofs"),
        ("proofs", _flip("sha256"), "proofs"),
        ("proofs", _add("bytes"), "proofs"),
        ("proofs", _drop, "proofs"),
        ("supply", _add("accounts"), "supply"),
        ("receipts", _drop, "receipts"),
        ("rejected", lambda rows: rows[-1].update(reason="because"), "rejected"),
    ],
)
def test_a_forger_who_mends_the_manifest_is_found(
    proven_day: MiniChain, tmp_path: Path, table: str, change: Callable[[Rows], None], check: str
) -> None:
    root = _copy(proven_day, tmp_path / "copy")
    _rewrite(root, table, change)
    found = {finding.check for audit in _audit(root) for finding in audit.findings}
    assert check in found


def test_the_rewriting_itself_is_not_what_is_found(proven_day: MiniChain, tmp_path: Path) -> None:
    root = _copy(proven_day, tmp_path / "copy")
    _rewrite(root, "transactions", lambda rows: None)
    assert not any(audit.findings for audit in _audit(root))


@pytest.mark.parametrize(
    ("prove", "details"),
    [
        (proven_for_another_chain, ["is of another chain or shard"]),
        (proven_for_more_shards, ["is of another chain or shard"]),
        (
            proven_other_history,
            [
                "do not end in the state of its last block",
                "does not begin where the one before ended",
            ],
        ),
    ],
)
def test_a_proof_of_something_else_is_found(
    proven_day: MiniChain,
    tmp_path: Path,
    prove: Callable[[MiniChain, bytes], Proven],
    details: list[str],
) -> None:
    """A proof that holds, in place of the first one, with row, file and manifest made to fit it."""
    root = _copy(proven_day, tmp_path / "copy")

    def change(rows: Rows) -> None:
        row = next(row for row in rows if row["accepted"] and row["window"] == 0)
        statement, data = prove(proven_day, row["job_id"])
        digest = statement_digest(statement, HASHER)
        path = write_proof(root, ProofLevel.SEGMENT, digest, data)
        place = (statement.shard, statement.window, statement.segment)
        row.update(
            job_id=job_id_of(ProofLevel.SEGMENT, place, statement.preimage()),
            statement_digest=digest,
            statement=statement.preimage(),
            path=path.relative_to(root).as_posix(),
            sha256=hashlib.sha256(data).digest(),
            bytes=len(data),
        )

    _rewrite(root, "proofs", change)
    found = [finding for audit in _audit(root) for finding in audit.findings]
    assert [(f.check, f.detail) for f in found] == [("proofs", detail) for detail in details]


def test_a_damaged_table_is_named_by_a_query_and_mended_by_an_export(
    proven_day: MiniChain, tmp_path: Path
) -> None:
    root = _copy(proven_day, tmp_path / "copy")
    path = epoch_folder(root, 0, 0) / "votes.parquet"
    path.write_bytes(b"PAR1 nothing of the kind")
    with pytest.raises(ParameterError, match=r"votes\.parquet"):
        query_epochs(root, "select count(*) from votes")
    source = ExportSource(proven_day.log(), genesis_path(root), 1000, HASHER)
    export_epochs(source, root, [0])
    write_database(root)
    assert query_epochs(root, "select count(*) > 0 from votes").rows == [(True,)]


def test_a_query_may_answer_with_any_type_of_duckdb(proven_day: MiniChain) -> None:
    result = query_epochs(
        proven_day.data,
        "select 1.50::decimal(9, 2) d, 'nan'::double n, ['-inf'::float] i, time '10:00' t, {'a': 1} s, "
        "interval 90 minutes v, '00000000-0000-0000-0000-000000000001'::uuid u, null z, "
        "340282366920938463463374607431768211455::uhugeint h, '\\x00\\xff'::blob b, map {1: 2} m",
    )
    assert to_plain(contract.Rows(result.columns, result.rows)) == [
        {
            "d": "1.50",
            "n": "nan",
            "i": ["-inf"],
            "t": "10:00:00",
            "s": {"a": 1},
            "v": 5400.0,
            "u": "00000000-0000-0000-0000-000000000001",
            "z": None,
            "h": 2**128 - 1,
            "b": "00ff",
            "m": {"1": 2},
        }
    ]


def test_queries_read_the_export_and_nothing_else(proven_day: MiniChain, tmp_path: Path) -> None:
    for query in named_queries().values():
        result = query_epochs(proven_day.data, query.sql)
        if query.name in ("double-spend", "equivocation", "unproven-windows"):
            assert result.rows == []
    with pytest.raises(ParameterError, match="only SELECT"):
        query_epochs(proven_day.data, f"copy (select 1) to '{tmp_path / 'x'}'")
    with pytest.raises(ParameterError, match="query failed"):
        query_epochs(proven_day.data, "select * from read_csv('/etc/passwd')")
    for text, count in (("", 0), ("-- nothing", 0), ("select 1; select 2", 2)):
        with pytest.raises(ParameterError, match=f"{count} statements"):
            query_epochs(proven_day.data, text)
    with pytest.raises(ParameterError) as caught:
        query_epochs(proven_day.data, "select\nselec\nfrom nowhere")
    assert "\n" not in str(caught.value)
    with pytest.raises(ParameterError, match="holds no epochs"):
        query_epochs(tmp_path, "select 1")
    assert TRANSACTIONS.name == "transactions"
