"""Actions of `ecliptica epoch`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.audit import EpochAudit, audit_export, check_places
from operators.audit_findings import Finding
from operators.audit_views import (
    named_queries,
    open_views,
    query_epochs,
    write_database,
)
from operators.beacon_start import open_planner
from operators.event_log import open_existing_log
from operators.export import ExportedEpoch, ExportSource, export_epochs
from operators.export_files import epoch_folder, exported_epochs, read_manifest
from operators.log_genesis import require_chain
from operators.message_retention import Removed, remove_messages
from operators.proof_index import check_index, write_index
from operators.proof_worker import process_backend
from operators.validator import identity_of
from pipelines.chain_setup import genesis_path
from pipelines.cli.contract import Call, Rows
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from schemas.errors import ParameterError
from schemas.genesis import load_genesis

LIST_COLUMNS = (
    "shard",
    "epoch",
    "first_height",
    "end_height",
    "transactions",
    "rejected",
    "windows",
    "proofs",
    "complete",
    "state_root",
)


@dataclass(frozen=True, slots=True)
class EpochCheck:
    """What `epoch check` found.

    Attributes:
        ok: Whether nothing is wrong.
        epochs: What was found in each epoch.
        strays: What lies among the epochs and belongs to none.
        proofs: What is wrong with the table of all proofs or with a file that it names.
    """

    ok: bool
    epochs: list[EpochAudit]
    strays: list[Finding]
    proofs: list[Finding]

    @property
    def exit_code(self) -> int:
        """0 when nothing is wrong."""
        return 0 if self.ok else 1


def list_epochs(call: Call, *, shard: int | None) -> Rows:
    """Lists the exported epochs."""
    root = call.settings().data
    return Rows(LIST_COLUMNS, [_summary(root, *place) for place in _exported(root, shard)])


def show_epoch(call: Call, *, epoch: int, shard: int | None) -> list[dict[str, Any]]:
    """Shows what an epoch's manifest and tables say, per shard."""
    root = call.settings().data
    places = [place for place in _exported(root, shard) if place[1] == epoch]
    if not places:
        raise ParameterError(f"epoch {epoch} is not exported", "`ecliptica epoch list` shows them")
    shown = []
    for place in places:
        row: dict[str, Any] = dict(zip(LIST_COLUMNS, _summary(root, *place), strict=True))
        manifest = read_manifest(epoch_folder(root, *place))
        row["previous"] = manifest.previous
        row["supply"] = _one(root, "supply", place)
        row["files"] = manifest.model_dump()["files"]
        shown.append(row)
    return shown


def export_epochs_action(
    call: Call, *, epoch: int | None, out: Path | None, shard: int | None
) -> list[ExportedEpoch]:
    """Writes sealed epochs; complete ones that are there already stay."""
    settings = call.settings()
    path = genesis_path(settings.data)
    genesis = load_genesis(path)
    shards = range(genesis.shards) if shard is None else [shard]
    call.report.phase("epochs", None)
    with closing(open_existing_log(settings.log_url)) as log:
        fee = settings.configuration.admission.min_fee_micros
        hasher = process_backend()  # hundreds of proofs are verified
        source = ExportSource(log, path, fee, hasher)
        exported = export_epochs(
            source, out or settings.data, shards, epoch, lambda _: call.report.advance(1)
        )
        if exported:
            call.report.phase("proofs", None)
            root = out or settings.data
            planner = open_planner(genesis, settings.configuration.clock, hasher)
            write_index(log, root, genesis, planner, lambda: call.report.advance(1))
    if exported and out is None:
        write_database(settings.data)
    return exported


def prune_messages(call: Call, *, dry_run: bool, yes: bool) -> list[Removed]:
    """Removes the messages of finished epochs from the log.

    Raises:
        ParameterError: Nobody has said yes, or the log is of another chain.
    """
    if not dry_run and not yes:
        raise ParameterError(
            "the exported epochs will be the only place that has their votes",
            "look with --dry-run, keep a copy, then say --yes",
        )
    settings = call.settings()
    genesis = load_genesis(genesis_path(settings.data))
    with closing(open_existing_log(settings.log_url)) as log:
        require_chain(log, genesis)
        return [
            remove_messages(
                log, settings.data, identity_of(genesis, shard, None, None), is_dry=dry_run
            )
            for shard in range(genesis.shards)
        ]


def query_epochs_action(call: Call, *, sql: str | None, named: str | None) -> Rows:
    """Runs a query, or lists the named ones."""
    if (sql is None) == (named is None):
        raise ParameterError("give one query: SQL, or --named NAME", "--named list shows the names")
    if named == "list":
        queries = named_queries().values()
        return Rows(("name", "answers"), [(query.name, query.meaning) for query in queries])
    if named is not None:
        if named not in named_queries():
            raise ParameterError(
                f"there is no query named {named!r}", f"names: {', '.join(named_queries())}"
            )
        sql = named_queries()[named].sql
    settings = call.settings()
    minimum = settings.configuration.proving.minimum_proven_bits
    result = query_epochs(settings.data, sql or "", minimum)
    return Rows(result.columns, result.rows)


def check_epochs(call: Call, *, epoch: int | None, shard: int | None) -> EpochCheck:
    """Recomputes the exported epochs; with one epoch, those before it are recomputed and not shown."""
    settings = call.settings()
    if epoch is not None and not any(
        place[1] == epoch for place in _exported(settings.data, shard)
    ):
        raise ParameterError(f"epoch {epoch} is not exported", "`ecliptica epoch list` shows them")
    call.report.phase("check", len(_exported(settings.data, shard)))
    fee = settings.configuration.admission.min_fee_micros
    audits = audit_export(
        settings.data, fee, NumpyHasher(), shard, lambda _: call.report.advance(1)
    )
    shown = [audit for audit in audits if epoch in (None, audit.epoch)]
    strays = list(check_places(settings.data))
    genesis = load_genesis(genesis_path(settings.data))
    planner = open_planner(genesis, settings.configuration.clock, NumpyHasher())
    proofs = list(check_index(settings.data, genesis, planner, MINIMUM_PROVEN_BITS))
    is_ok = not strays and not proofs and not any(audit.findings for audit in audits)
    return EpochCheck(is_ok, shown, strays, proofs)


def _exported(root: Path, shard: int | None) -> list[tuple[int, int]]:
    return list(exported_epochs(root, shard))


def _summary(root: Path, shard: int, epoch: int) -> tuple[Any, ...]:
    manifest = read_manifest(epoch_folder(root, shard, epoch))
    rows = {name.removesuffix(".parquet"): entry.rows for name, entry in manifest.files.items()}
    return (
        shard,
        epoch,
        manifest.first_height,
        manifest.end_height,
        rows.get("transactions"),
        rows.get("rejected"),
        rows.get("windows"),
        rows.get("proofs"),
        manifest.complete,
        manifest.state_root,
    )


def _one(root: Path, view: str, place: tuple[int, int]) -> dict[str, Any]:
    connection = open_views(root)
    try:
        cursor = connection.execute(
            f"select * from {view} where shard = ? and epoch = ?",  # noqa: S608 - a view's name
            list(place),
        )
        columns = [entry[0] for entry in cursor.description or ()]
        row = cursor.fetchone()
        return {} if row is None else dict(zip(columns, row, strict=True))
    finally:
        connection.close()
