"""Writes the sealed epochs of a log as Parquet, with their proofs and the genesis document.

An epoch is sealed when a final block of a later one exists. An epoch whose proofs are not all accepted yet is
written too, marked incomplete, and written again when they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from operators.event_log import EventLog
from operators.export_files import (
    MANIFEST,
    Manifest,
    epoch_folder,
    is_whole,
    read_manifest,
    sha256_of,
    write_epoch,
)
from operators.export_rows import EpochRows, EpochSorter
from operators.proof_files import proof_path, write_proof
from operators.topic_view import TopicView
from operators.validator import identity_of
from proving.backends.port import Hasher
from proving.ledger.rules import LedgerParameters
from proving.ledger.state import genesis_ledger
from schemas.block import Phase
from schemas.errors import EclipticaError, ParameterError
from schemas.exports import EXPORTS
from schemas.genesis import Genesis, load_genesis
from schemas.job import ProofLevel
from schemas.topics import shard_topic

GENESIS = "genesis.json"
"""The chain's document at the root of an export."""


@dataclass(frozen=True, slots=True)
class ExportedEpoch:
    """What became of one epoch.

    Attributes:
        shard: Shard.
        epoch: Epoch.
        blocks: Number of blocks.
        transactions: Number of executed transactions.
        proofs: Accepted proofs.
        complete: Whether every window is proven and accepted.
        written: False when a complete export was there already.
        folder: Its directory.
    """

    shard: int
    epoch: int
    blocks: int
    transactions: int
    proofs: int
    complete: bool
    written: bool
    folder: Path


@dataclass(frozen=True, slots=True)
class ExportSource:
    """What is exported.

    Attributes:
        log: The log.
        genesis_path: The chain's document.
        fee: Least fee of the chain, units of 1e-6 ECLIPT.
        hasher: Poseidon2.
    """

    log: EventLog
    genesis_path: Path
    fee: int
    hasher: Hasher


def export_epochs(
    source: ExportSource,
    root: Path,
    shards: Sequence[int],
    wanted: int | None = None,
    on_epoch: Callable[[ExportedEpoch], None] | None = None,
) -> list[ExportedEpoch]:
    """Writes every sealed epoch of the shards below `root`, or only one epoch.

    Args:
        source: Log and chain.
        root: Where `epochs/`, `proofs/` and the genesis document go; a data directory is one.
        shards: Shards.
        wanted: One epoch, or None for all.
        on_epoch: Told about each.

    Raises:
        ParameterError: The wanted epoch is not sealed or has no blocks, or `root` is of another chain.
        EclipticaError: The disk refuses.
        EclipticaError: An epoch is to be written whose votes have been removed from the log.
        InvariantError: The log lacks what a final block refers to.
    """
    genesis = load_genesis(source.genesis_path)
    genesis_bytes = source.genesis_path.read_bytes()
    done = []
    for shard in shards:
        parameters = LedgerParameters(genesis.chain, shard, source.fee, genesis.shards)
        identity = identity_of(genesis, shard, None, None)
        sorter = EpochSorter(TopicView(source.log), genesis, shard, identity)
        is_cut = source.log.first_offset(shard_topic("votes", shard)) > 0
        quorum = identity.committee.validators.quorum if is_cut else 0
        epochs = sorter.read(genesis_ledger(parameters, source.hasher, genesis.issuer_key))
        if wanted is not None and wanted not in {rows.epoch for rows in epochs}:
            sealed = ", ".join(str(rows.epoch) for rows in epochs) or "none"
            raise ParameterError(
                f"epoch {wanted} of shard {shard} is not sealed", f"sealed epochs: {sealed}"
            )
        _copy_genesis(root, genesis_bytes)
        previous = None
        for rows in epochs:
            exported, previous = _export(
                root,
                genesis,
                shard,
                rows,
                previous=previous,
                genesis_bytes=genesis_bytes,
                quorum=quorum,
            )
            done.append(exported)
            if on_epoch is not None:
                on_epoch(exported)
            if rows.epoch == wanted:
                break
    return done


def _export(
    root: Path,
    genesis: Genesis,
    shard: int,
    rows: EpochRows,
    *,
    previous: str | None,
    genesis_bytes: bytes,
    quorum: int,
) -> tuple[ExportedEpoch, str]:
    folder = epoch_folder(root, shard, rows.epoch)
    is_there = _is_finished(folder, previous) and not _damaged_proofs(root, rows)
    if not is_there:
        _check_votes(rows, folder, quorum)
        for path in _damaged_proofs(root, rows):
            path.unlink(missing_ok=True)
        for digest, proof in sorted(rows.proofs.items()):
            write_proof(root, ProofLevel.SEGMENT, digest, proof)
        last = rows.headers[-1]
        manifest = Manifest(
            chain=genesis.chain,
            shard=shard,
            epoch=rows.epoch,
            genesis_sha256=hashlib.sha256(genesis_bytes).hexdigest(),
            previous=previous,
            first_height=rows.headers[0].height,
            end_height=last.height + 1,
            state_root=last.post_state_root.hex(),
            complete=rows.is_complete,
            files={},
        )
        tables = {
            table.name: pa.Table.from_batches([table.batch(rows.tables.get(table.name, ()))])
            for table in EXPORTS
        }
        write_epoch(folder, manifest, tables)
    exported = ExportedEpoch(
        shard,
        rows.epoch,
        len(rows.headers),
        len(rows.tables.get("transactions", ())),
        len(rows.proofs),
        rows.is_complete,
        not is_there,
        folder,
    )
    return exported, sha256_of(folder / MANIFEST)


def _check_votes(rows: EpochRows, folder: Path, quorum: int) -> None:
    """Checks that the log still has the votes of an epoch that is to be written.

    Args:
        rows: The epoch.
        folder: Where it is to be written.
        quorum: Signers that its first block needed; 0 if no vote was ever removed from the log.

    Raises:
        EclipticaError: It has not: an export without them would hide what was signed.
    """
    first = rows.headers[0].view
    signers = {
        row["sender"]
        for row in rows.tables.get("votes", ())
        if row["view"] == first and row["phase"] == Phase.NOTARIZE.name.lower()
    }
    if len(signers) < quorum:
        raise EclipticaError(
            f"the votes of epoch {rows.epoch} have been removed from the log, and {folder} does not hold them",
            "copy the folder from an export that has it whole",
        )


def _is_finished(folder: Path, previous: str | None) -> bool:
    """Whether a complete and whole export of the epoch is there, on the same one before."""
    if not (folder / MANIFEST).exists():
        return False
    try:
        found = read_manifest(folder)
    except ParameterError:
        return False
    return found.complete and found.previous == previous and is_whole(folder, found)


def _damaged_proofs(root: Path, rows: EpochRows) -> list[Path]:
    """Files of accepted proofs that are absent or hold other bytes than were accepted."""
    damaged = []
    for digest, proof in sorted(rows.proofs.items()):
        path = proof_path(root, ProofLevel.SEGMENT, digest)
        if not path.is_file() or path.stat().st_size != len(proof) or path.read_bytes() != proof:
            damaged.append(path)
    return damaged


def _copy_genesis(root: Path, data: bytes) -> None:
    path = root / GENESIS
    if path.exists():
        if path.read_bytes() != data:
            raise ParameterError(f"{path} is of another chain", "choose another --out")
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_bytes(data)
        draft.rename(path)
    except OSError as error:
        raise EclipticaError(f"{path}: {error.strerror or error}") from error
