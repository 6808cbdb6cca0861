"""The wall clock of one process, set ahead or back while it runs; its monotonic clock stays as it is."""

from __future__ import annotations

import mmap
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pipelines.faults.shell import run_tool

SOURCE = "wall_clock.c"
VARIABLE = "ECLIPTICA_WALL_CLOCK"
SHIFT = struct.Struct("=q")


@dataclass(frozen=True, slots=True)
class WallClock:
    """The clock of a process that is started through `wrapper`.

    Attributes:
        wrapper: What the process is started through.
    """

    wrapper: Sequence[str]
    _page: mmap.mmap

    def shift(self, seconds: float) -> None:
        """Puts the clock so far from the machine's, negative for back."""
        self._page[: SHIFT.size] = SHIFT.pack(int(seconds * 1e9))


@contextmanager
def wall_clocks(names: Sequence[str]) -> Iterator[dict[str, WallClock]]:
    """Builds the library once and yields a clock per process, all of them right.

    Raises:
        EnvironmentMissing: There is no C compiler.
    """
    with tempfile.TemporaryDirectory(prefix="ecliptica-clock-") as folder:
        library = build_library(Path(folder))
        clocks = {}
        for name in names:
            path = Path(folder) / name
            path.write_bytes(SHIFT.pack(0))
            with path.open("r+b") as file:
                page = mmap.mmap(file.fileno(), SHIFT.size)
            words = ("env", f"LD_PRELOAD={library}", f"{VARIABLE}={path}")
            clocks[name] = WallClock(words, page)
        yield clocks


def build_library(folder: Path) -> Path:
    """Compiles the library into a folder and returns its path.

    Raises:
        EnvironmentMissing: There is no C compiler, or it refuses.
    """
    library = folder / "wall_clock.so"
    with resources.as_file(resources.files("pipelines.faults").joinpath(SOURCE)) as source:
        run_tool("cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl")
    return library
