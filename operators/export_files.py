"""The files of an exported epoch: Parquet tables and a manifest that names every byte of them.

`<root>/epochs/shard=K/epoch=N/` holds one Parquet file per table and `manifest.json`; `<root>/proofs/` the proofs
and `<root>/genesis.json` the chain. A data directory is such a root. An epoch appears whole, by a rename.
"""

from __future__ import annotations

import hashlib
import os
import re
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
MANIFEST_VERSION = 1
CHUNK_BYTES = 2**20

_EPOCH_NAME = re.compile(r"epoch=(0|[1-9][0-9]*)")
_SHARD_NAME = re.compile(r"shard=(0|[1-9][0-9]*)")
_LEFTOVER_NAME = re.compile(r"\.epoch=[0-9]+\.(old|[0-9]+)")
"""An unfinished epoch of a killed export; nothing reads it."""


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

    schema_version: int = MANIFEST_VERSION
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
        names = (_SHARD_NAME.fullmatch(folder.parent.name), _EPOCH_NAME.fullmatch(folder.name))
        if names[0] is not None and names[1] is not None:
            found.append((int(names[0][1]), int(names[1][1])))
    yield from sorted(one for one in found if shard is None or one[0] == shard)


def stray_entries(root: Path) -> list[Path]:
    """Returns what lies below `epochs/` beside the epochs' own directories, sorted."""
    folder = epochs_folder(root)
    shards = sorted(folder.iterdir()) if folder.is_dir() else []
    stray = []
    for shard in shards:
        if not _SHARD_NAME.fullmatch(shard.name) or not shard.is_dir():
            stray.append(shard)
            continue
        for epoch in sorted(shard.iterdir()):
            is_leftover = _LEFTOVER_NAME.fullmatch(epoch.name) is not None
            if not is_leftover and (not _EPOCH_NAME.fullmatch(epoch.name) or not epoch.is_dir()):
                stray.append(epoch)
    return stray


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
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise ParameterError(f"{path}: {place}: {first['msg']}") from error


def is_whole(folder: Path, manifest: Manifest) -> bool:
    """Whether every file that a manifest names is there with the bytes it names."""
    return set(manifest.files) == set(table_names()) and all(
        (folder / name).is_file() and sha256_of(folder / name) == entry.sha256
        for name, entry in manifest.files.items()
    )


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
            sync_path(path)
        replace_folder(draft, folder)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise EclipticaError(
            f"{folder}: {error.strerror or error}", "free space or choose another folder with --out"
        ) from error
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


def replace_folder(draft: Path, folder: Path) -> None:
    """Puts a written folder in the place of another one of its parent, or of none."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    sync_path(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def sync_path(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
