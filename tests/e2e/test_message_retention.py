"""Messages of finished epochs leave the log, and nothing that anybody needs leaves with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from operators.audit import audit_export
from operators.export import ExportSource, export_epochs
from operators.export_files import MANIFEST, epoch_folder, read_table, sha256_of
from operators.log_memory import MemoryLog, MemoryStore
from operators.message_retention import STEMS, finished_epoch, remove_messages
from operators.validator import identity_of
from pipelines.chain_setup import genesis_path
from pipelines.cli import contract
from pipelines.cli.actions.epoch import prune_messages
from proving.arithmetic.poseidon2 import NumpyHasher
from schemas.errors import EclipticaError, ParameterError
from schemas.exports import EXPORTS
from schemas.workload import Workload
from tests.suites.mini_chain import MiniChain, Quiet, small_traffic

HASHER = NumpyHasher()
KEPT = 5
VOTES = next(table for table in EXPORTS if table.name == "votes")


def copied(day: MiniChain) -> MemoryLog:
    """A log of its own with all records of a chain's."""
    log, theirs = MemoryLog("memory://copy", MemoryStore()), day.log()
    log.create_topics(theirs.topics())
    for topic in theirs.topics():
        for record in theirs.read(topic, 0, 10**6):
            log.append(topic, [record])  # type: ignore[list-item]
    return log


def copied_export(day: MiniChain, to: Path) -> Path:
    to.mkdir()
    for name in ("epochs", "proofs"):
        shutil.copytree(day.data / name, to / name)
    shutil.copy(genesis_path(day.data), to)
    return to


def source(day: MiniChain, log: MemoryLog) -> ExportSource:
    return ExportSource(log, genesis_path(day.data), 1000, HASHER)


def test_messages_of_finished_epochs_go_and_all_else_stays(
    proven_day: MiniChain, tmp_path: Path
) -> None:
    log, root = copied(proven_day), copied_export(proven_day, tmp_path / "root")
    identity = identity_of(proven_day.genesis, 0, None, None)
    sizes = {topic: len(log.read(topic, 0, 10**6)) for topic in log.topics()}
    looked = remove_messages(log, root, identity, kept_records=KEPT, is_dry=True)
    assert {t: len(log.read(t, 0, 10**6)) for t in log.topics()} == sizes

    removed = remove_messages(log, root, identity, kept_records=KEPT)
    assert removed == looked
    assert removed.epoch >= 0
    assert removed.records["votes.0"] > 0
    for topic, size in sizes.items():
        gone = removed.records.get(topic, 0)
        assert len(log.read(topic, 0, 10**6)) == size - gone
        assert gone == 0 or topic.partition(".")[0] in STEMS
        assert topic not in removed.records or size - gone >= min(size, KEPT)
    assert remove_messages(log, root, identity, kept_records=KEPT).records["votes.0"] == 0

    before = sha256_of(epoch_folder(root, 0, 0) / MANIFEST)
    assert not [one for one in export_epochs(source(proven_day, log), root, [0]) if one.written]
    assert sha256_of(epoch_folder(root, 0, 0) / MANIFEST) == before
    assert not [found for audit in audit_export(root, 1000, HASHER) for found in audit.findings]


def test_an_export_does_not_write_an_epoch_whose_votes_are_gone(
    proven_day: MiniChain, tmp_path: Path
) -> None:
    log, root = copied(proven_day), copied_export(proven_day, tmp_path / "root")
    identity = identity_of(proven_day.genesis, 0, None, None)
    remove_messages(log, root, identity, kept_records=KEPT)
    with pytest.raises(EclipticaError, match="votes of epoch 0 have been removed"):
        export_epochs(source(proven_day, log), tmp_path / "other", [0])
    (epoch_folder(root, 0, 0) / "votes.parquet").write_bytes(b"damaged")
    with pytest.raises(EclipticaError, match="does not hold them") as found:
        export_epochs(source(proven_day, log), root, [0])
    assert found.value.hint == "copy the folder from an export that has it whole"
    assert (epoch_folder(root, 0, 0) / "votes.parquet").read_bytes() == b"damaged"


def test_an_epoch_that_is_damaged_or_not_proven_keeps_its_messages_and_those_after_it(
    proven_day: MiniChain, tmp_path: Path
) -> None:
    root = copied_export(proven_day, tmp_path / "root")
    identity = identity_of(proven_day.genesis, 0, None, None)
    last, view = finished_epoch(root, 0)
    assert last >= 0
    assert view == max(read_table(epoch_folder(root, 0, last), VOTES).column("view").to_pylist())
    (epoch_folder(root, 0, 0) / "blocks.parquet").write_bytes(b"damaged")
    assert finished_epoch(root, 0) == (-1, 0)
    log = copied(proven_day)
    assert set(remove_messages(log, root, identity, kept_records=KEPT).records.values()) == {0}
    assert finished_epoch(tmp_path / "nothing", 0) == (-1, 0)


def test_a_chain_goes_on_and_starts_again_on_a_log_without_old_messages(tmp_path: Path) -> None:
    chain = MiniChain(tmp_path / "data")
    names = [f"validator-{index}" for index in range(4)]
    rows = small_traffic(tmp_path, chain.genesis, Workload(accounts=4, funding=10**12), 60)
    chain.start("admission", *names, "chain")
    chain.send(rows[:40])
    log = chain.log()
    chain.run_until(lambda: log.end_offset("blocks.0") >= 6, 60)
    for topic in ("proposals.0", "votes.0", "certificates.0"):
        log.retain(topic, log.end_offset(topic) - 20)
    for name in ("chain", *names):
        chain.roles.pop(name).close()
        chain.start(name)
    chain.send(rows[40:])
    tall = log.end_offset("blocks.0")
    chain.run_until(lambda: log.end_offset("blocks.0") > tall, 60)
    chain.close()


def test_the_command_wants_a_yes(proven_day: MiniChain) -> None:
    call = contract.Call(Quiet(), contract.StopFlag(), None, {"storage.data": str(proven_day.data)})
    with pytest.raises(ParameterError, match="the only place that has their votes"):
        prune_messages(call, dry_run=False, yes=False)
