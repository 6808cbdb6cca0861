"""The folders of counted windows: Parquet tables of deterministic bytes, and where a reader goes on after the newest one.

`<root>/analytics/shard=K/epoch=N/window=W/` appears whole, by a rename. Writing a window again gives the same bytes, and leaves
the files as they are.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from operators.analytics_feed import (
    FeedPosition,
    first_position,
    position_fields,
    position_from,
)
from operators.export_files import replace_folder, sync_path
from schemas.analytics import ANALYTICS
from schemas.errors import EclipticaError, ParameterError
from schemas.genesis import Genesis

NEXT = "next.json"
"""Where a feed begins that is to find the windows after this one."""

NEXT_VERSION = 1

_WINDOW_NAME = re.compile(r"window=(0|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class WrittenWindow:
    """What became of a window.

    Attributes:
        shard: Shard.
        epoch: Epoch.
        window: Window.
        transactions: Executed transactions.
        findings: Findings.
        written: False if the same bytes were there already.
    """

    shard: int
    epoch: int
    window: int
    transactions: int
    findings: int
    written: bool


def analytics_folder(root: Path) -> Path:
    """Returns where a root keeps its counted windows."""
    return root / "analytics"


def window_folder(root: Path, genesis: Genesis, shard: int, window: int) -> Path:
    """Returns the directory of a window."""
    epoch = genesis.epoch_of(window)
    return analytics_folder(root) / f"shard={shard}" / f"epoch={epoch}" / f"window={window}"


def counted_windows(root: Path, shard: int) -> list[int]:
    """Returns the windows of a shard that are there, rising."""
    found = []
    for folder in (analytics_folder(root) / f"shard={shard}").glob("epoch=*/window=*"):
        name = _WINDOW_NAME.fullmatch(folder.name)
        if name is not None:
            found.append(int(name[1]))
    return sorted(found)


def has_window(root: Path, genesis: Genesis, shard: int, window: int) -> bool:
    """Whether a window is there."""
    return (window_folder(root, genesis, shard, window) / NEXT).exists()


def resume_position(root: Path, genesis: Genesis, shard: int) -> FeedPosition:
    """Returns where counting goes on: after the newest window that is there, else at the first record.

    Raises:
        ParameterError: What is there is damaged, or of another chain.
    """
    windows = counted_windows(root, shard)
    if not windows:
        return first_position(shard)
    path = window_folder(root, genesis, shard, windows[-1]) / NEXT
    try:
        found = json.loads(path.read_bytes())
        position = position_from(found, shard)
        chain, version = found["genesis_sha256"], found["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ParameterError(
            f"{path}: {error!r}", f"remove {analytics_folder(root)}: it is counted again"
        ) from error
    if (chain, version) != (_identity(genesis), NEXT_VERSION):
        raise ParameterError(
            f"{path} is of another chain or version",
            f"remove {analytics_folder(root)}: it is counted again",
        )
    return position


def write_window(
    root: Path,
    genesis: Genesis,
    place: tuple[int, int],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    following: FeedPosition,
) -> WrittenWindow:
    """Writes a window's tables, whole or not at all; equal ones that are there stay.

    Args:
        root: Data directory.
        genesis: The chain.
        place: Shard and window.
        rows: Rows by table name.
        following: Where a feed begins that is to find what comes after.

    Raises:
        EclipticaError: The disk refuses.
    """
    shard, window = place
    folder = window_folder(root, genesis, shard, window)
    files = {
        f"{table.name}.parquet": _parquet(table.batch(rows[table.name])) for table in ANALYTICS
    }
    files[NEXT] = _next(genesis, following)
    is_new = not _holds(folder, files)
    if is_new:
        _write(folder, files)
    (totals,) = rows[ANALYTICS[0].name]
    return WrittenWindow(
        shard,
        genesis.epoch_of(window),
        window,
        totals["transactions"],
        totals["findings"],
        written=is_new,
    )


def _parquet(batch: pa.RecordBatch) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_batches([batch]), sink, compression="zstd")
    return sink.getvalue()


def _identity(genesis: Genesis) -> str:
    return hashlib.sha256(genesis.model_dump_json().encode()).hexdigest()


def _next(genesis: Genesis, position: FeedPosition) -> bytes:
    fields = {
        "schema_version": NEXT_VERSION,
        "genesis_sha256": _identity(genesis),
        **position_fields(position),
    }
    return (json.dumps(fields, indent=2) + "\n").encode()


def _holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    try:
        return {path.name: path.read_bytes() for path in folder.iterdir()} == dict(files)
    except OSError:
        return False


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.{threading.get_native_id()}")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for name, content in files.items():
            (draft / name).write_bytes(content)
        for path in (*draft.iterdir(), draft):
            sync_path(path)
        replace_folder(draft, folder)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise EclipticaError(
            f"{folder}: {error.strerror or error}", "free space or choose another --data"
        ) from error
