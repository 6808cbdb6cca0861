"""A real disk of a few megabytes that a test may fill; where none can be mounted, the tests that need it are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.faults.disk import SmallDisk, small_disk
from schemas.errors import EnvironmentMissing


@contextmanager
def mounted(folder: Path, megabytes: int = 8) -> Iterator[SmallDisk]:
    """Mounts a disk below a folder, or skips the test."""
    try:
        made = small_disk(folder / "disk", folder / "image", megabytes)
        disk = made.__enter__()
    except EnvironmentMissing as error:
        pytest.skip(f"NO DISK: {error}")
    try:
        yield disk
    finally:
        made.__exit__(None, None, None)
