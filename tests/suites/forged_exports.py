"""Exports as a forger leaves them: changed tables under manifests that fit them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from operators.export_files import (
    MANIFEST,
    FileEntry,
    epoch_folder,
    exported_epochs,
    read_manifest,
    sha256_of,
)

Rows = list[dict[str, Any]]


def table_rows(folder: Path, name: str) -> Rows:
    """Returns the rows of a table of an epoch."""
    rows: Rows = pq.read_table(folder / f"{name}.parquet", partitioning=None).to_pylist()
    return rows


def write_rows(folder: Path, name: str, rows: Rows) -> None:
    """Replaces the rows of a table of an epoch."""
    path = folder / f"{name}.parquet"
    schema = pq.read_table(path, partitioning=None).schema
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")


def mend_manifests(root: Path, shard: int) -> None:
    """Makes a shard's manifests fit its changed tables."""
    previous = None
    for place in exported_epochs(root, shard):
        folder = epoch_folder(root, *place)
        manifest = read_manifest(folder)
        files = {
            name: FileEntry(
                rows=pq.read_metadata(folder / name).num_rows,
                bytes=(folder / name).stat().st_size,
                sha256=sha256_of(folder / name),
            )
            for name in manifest.files
        }
        mended = manifest.model_copy(update={"files": files, "previous": previous})
        (folder / MANIFEST).write_text(mended.model_dump_json(indent=2) + "\n")
        previous = sha256_of(folder / MANIFEST)
