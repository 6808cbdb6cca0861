"""Checks exported epochs from the export alone: nothing is believed that can be computed again.

From the genesis document on, every block's hash, certificate, references and roots, every transaction's
signature and effect, every window, proof, vote, receipt and the supply are recomputed and compared. What only the
log's word stands for (times, prover names, dead letters) is bound by the manifest's hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from operators.audit_blocks import BlockAuditor
from operators.audit_evidence import check_proofs, check_receipts, check_rejections, check_votes
from operators.audit_findings import EpochTables, Finding
from operators.audit_links import SentWords, check_deliveries
from operators.export import GENESIS
from operators.export_files import (
    MANIFEST,
    MANIFEST_VERSION,
    Manifest,
    epoch_folder,
    exported_epochs,
    num_rows,
    read_manifest,
    sha256_of,
    stray_entries,
    table_names,
)
from operators.validator import identity_of
from proving.backends.port import Hasher
from proving.ledger.rules import LedgerParameters
from proving.ledger.state import genesis_ledger
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from schemas.errors import EclipticaError, ParameterError
from schemas.genesis import Genesis, load_genesis


@dataclass(frozen=True, slots=True)
class EpochAudit:
    """What was found in one epoch.

    Attributes:
        shard: Shard.
        epoch: Epoch.
        blocks: Blocks recomputed.
        transactions: Transactions executed and their signatures verified.
        certificates: Certificates checked.
        proofs: Proofs verified.
        proven_bits: Least proven soundness among them, or None.
        state_root: State root after the last block, recomputed, hex.
        complete: Whether every window is proven.
        open_certificates: Certificates that name a block after the export.
        findings: What is wrong.
    """

    shard: int
    epoch: int
    blocks: int
    transactions: int
    certificates: int
    proofs: int
    proven_bits: int | None
    state_root: str
    complete: bool
    open_certificates: int
    findings: tuple[Finding, ...]


def audit_export(
    root: Path,
    fee: int,
    hasher: Hasher,
    shard: int | None = None,
    on_epoch: Callable[[EpochAudit], None] | None = None,
) -> list[EpochAudit]:
    """Checks every exported epoch below `root`, in order from the first block.

    Args:
        root: Holds `epochs/`, `proofs/` and `genesis.json`.
        fee: Least fee of the chain, units of 1e-6 ECLIPT.
        hasher: Poseidon2.
        shard: Only this shard, or None for all.
        on_epoch: Told about each epoch.

    Raises:
        ParameterError: There is no export, or its genesis document cannot be read.
    """
    genesis = load_genesis(root / GENESIS)
    shards = sorted({found for found, _ in exported_epochs(root, shard)})
    if not shards:
        raise ParameterError(
            f"{root / 'epochs'} holds no epochs", "write them with `ecliptica epoch export`"
        )
    done = []
    sent = SentWords(root)
    for number in shards:
        for audited in _audit_shard(sent, genesis, number, fee, hasher):
            done.append(audited)
            if on_epoch is not None:
                on_epoch(audited)
    return done


def _audit_shard(
    sent: SentWords, genesis: Genesis, shard: int, fee: int, hasher: Hasher
) -> Iterator[EpochAudit]:
    root = sent.root
    parameters = LedgerParameters(genesis.chain, shard, fee, genesis.shards)
    ledger = genesis_ledger(parameters, hasher, genesis.issuer_key)
    blocks = BlockAuditor(genesis, identity_of(genesis, shard, None, None), ledger)
    proven_at = ledger.boundary()
    previous: str | None = None
    genesis_sha256 = sha256_of(root / GENESIS)
    for _, epoch in exported_epochs(root, shard):
        folder = epoch_folder(root, shard, epoch)
        findings = list(
            check_files(folder, (genesis.chain, shard, epoch), previous, genesis_sha256)
        )
        proofs, bits = 0, None
        complete = False
        try:
            manifest = read_manifest(folder)
            complete = manifest.complete
            previous = sha256_of(folder / MANIFEST)
            tables = EpochTables(folder)
            findings += blocks.check(tables, manifest)
            findings += check_deliveries(blocks.links, shard, epoch, sent)
            proven = check_proofs(
                tables, root, proven_at, blocks, hasher=hasher, minimum_bits=MINIMUM_PROVEN_BITS
            )
            proven_at, proofs, bits = proven.at, proven.count, proven.bits
            findings += proven.findings
            if manifest.complete != proven.is_complete:
                findings.append(Finding("manifest", MANIFEST, "is wrong about being complete"))
            findings += check_votes(tables, blocks)
            findings += check_receipts(tables, blocks)
            findings += check_rejections(tables)
        except EclipticaError as error:
            findings.append(Finding("unreadable", folder.name, str(error)))
        yield EpochAudit(
            shard,
            epoch,
            len(blocks.headers),
            blocks.num_transactions,
            blocks.num_certificates,
            proofs,
            bits,
            blocks.state_root.hex(),
            complete,
            len(blocks.open_certificates),
            tuple(findings),
        )


def check_places(root: Path) -> Iterator[Finding]:
    """Yields what lies among the epochs and belongs to none, so that a query or a person may take it for one.

    Args:
        root: Holds `epochs/`.
    """
    for path in stray_entries(root):
        yield Finding("files", str(path.relative_to(root)), "is not part of an export")


def check_files(
    folder: Path, place: tuple[int, int, int], previous: str | None, genesis_sha256: str
) -> Iterator[Finding]:
    """Yields what is wrong with an epoch's files by their bytes.

    Args:
        folder: Its directory.
        place: Chain, shard and epoch that it must be of.
        previous: SHA-256 of the manifest before, or None for the first epoch.
        genesis_sha256: Of the genesis document.
    """
    try:
        manifest = read_manifest(folder)
    except ParameterError as error:
        yield Finding("manifest", MANIFEST, str(error))
        return
    if manifest.schema_version != MANIFEST_VERSION:
        yield Finding("manifest", MANIFEST, f"has version {manifest.schema_version}, not the known")
    if (manifest.chain, manifest.shard, manifest.epoch) != place:
        yield Finding("manifest", MANIFEST, "is of another chain, shard or epoch")
    if manifest.previous != previous:
        yield Finding("manifest", MANIFEST, "does not follow the manifest of the epoch before")
    if manifest.genesis_sha256 != genesis_sha256:
        yield Finding("manifest", MANIFEST, "is of another genesis document")
    if hashlib.sha256(_canonical(manifest)).digest() != bytes.fromhex(sha256_of(folder / MANIFEST)):
        yield Finding("manifest", MANIFEST, "is not written as the exporter writes it")
    found = {path.name for path in folder.iterdir()}
    wanted = {*table_names(), MANIFEST}
    if found != wanted or set(manifest.files) != set(table_names()):
        odd = ", ".join(sorted((found ^ wanted) | (set(manifest.files) ^ set(table_names()))))
        yield Finding("files", odd, "missing or not part of an export")
    for name, entry in manifest.files.items():
        path = folder / name
        if name not in found:
            continue
        if not path.is_file():
            yield Finding("files", name, "is not a file")
        elif (sha256_of(path), path.stat().st_size) != (entry.sha256, entry.bytes):
            yield Finding("files", name, "its bytes are not those the manifest names")
        elif num_rows(path) != entry.rows:
            yield Finding("files", name, "does not hold as many rows as the manifest says")


def _canonical(manifest: Manifest) -> bytes:
    return (manifest.model_dump_json(indent=2) + "\n").encode()
