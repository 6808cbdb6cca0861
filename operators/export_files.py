"""The files of an exported epoch: Parquet tables and a manifest that names every byte of them.

`<root>/epochs/shard=K/epoch=N/` holds one Parquet file per table and `manifest.json`; `<root>/proofs/` the proofs
and `<root>/genesis.json` the chain. A data directory is such a root. An epoch appears whole, by a rename.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import EclipticaError, ParameterError
from schemas.exports import EXPORTS
from schemas.tables import Table

MANIFEST = "manifest.json"
CHUNK_BYTES = 2**20


class FileEntry(BaseModel):
    """One file of an epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What an epoch's directory holds.

    Attributes:
        schema_version: Version of the manifest.
        chain: Chain number.
        shard: Shard.
        epoch: Epoch.
        genesis_sha256: Of the chain's genesis document.
        previous: SHA-256 of the manifest of the epoch before with blocks, or None for the first.
        first_height: Height of the first block.
        end_height: Height after the last block.
        state_root: State root after the last block, hex.
        complete: Whether the beacon has accepted proofs of every window.
        files: Every Parquet file by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    chain: int
    shard: int
    epoch: int
    genesis_sha256: str
    previous: str | None
    first_height: int
    end_height: int
    state_root: str
    complete: bool
    files: Mapping[str, FileEntry]


def epochs_folder(root: Path) -> Path:
    """Returns where a root keeps its epochs."""
    return root / "epochs"


def epoch_folder(root: Path, shard: int, epoch: int) -> Path:
    """Returns the directory of an epoch."""
    return epochs_folder(root) / f"shard={shard}" / f"epoch={epoch}"


def exported_epochs(root: Path, shard: int | None = None) -> Iterator[tuple[int, int]]:
    """Yields (shard, epoch) of the exported epochs in order."""
    found = []
    for folder in epochs_folder(root).glob("shard=*/epoch=*"):
        names = (folder.parent.name.partition("=")[2], folder.name.partition("=")[2])
        if all(name.isdecimal() for name in names):
            found.append((int(names[0]), int(names[1])))
    yield from sorted(one for one in found if shard is None or one[0] == shard)


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest of an epoch.

    Raises:
        ParameterError: It is absent or not a manifest.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ParameterError(
            f"{path} does not exist", "write it with `ecliptica epoch export`"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise ParameterError(f"{path}: {place}: {first['msg']}") from error


def write_epoch(folder: Path, manifest: Manifest, tables: Mapping[str, pa.Table]) -> Manifest:
    """Writes an epoch's directory, whole or not at all, and returns its manifest with the files filled in.

    Raises:
        EclipticaError: The disk refuses.
    """
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        files = {}
        for name, table in tables.items():
            path = draft / f"{name}.parquet"
            pq.write_table(table, path, compression="zstd")
            files[path.name] = FileEntry(
                rows=table.num_rows, bytes=path.stat().st_size, sha256=sha256_of(path)
            )
        finished = manifest.model_copy(update={"files": files})
        (draft / MANIFEST).write_text(finished.model_dump_json(indent=2) + "\n", encoding="utf-8")
        for path in (*draft.iterdir(), draft):
            _sync(path)
        _replace(draft, folder)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise EclipticaError(f"{folder}: {error.strerror or error}") from error
    return finished


def read_table(folder: Path, table: Table) -> pa.Table:
    """Reads a table of an epoch.

    Raises:
        ParameterError: The file is absent, is no Parquet file, or has another schema.
    """
    path = folder / f"{table.name}.parquet"
    try:
        found = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ParameterError(f"{path}: {error}") from error
    if not found.schema.equals(table.schema):
        raise ParameterError(f"{path} does not have the schema of {table.name}")
    return found


def num_rows(path: Path) -> int:
    """Returns the number of rows of a Parquet file, -1 if it is none."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return -1


def table_names() -> list[str]:
    """Returns the names of the files of an epoch, without the manifest."""
    return [f"{table.name}.parquet" for table in EXPORTS]


def _replace(draft: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
