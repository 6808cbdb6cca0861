"""The port to another device: its memory, and kernels that run on it in the order of the calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from proving.backends.cuda_source import BLOCK_THREADS, Kernel
from proving.backends.port import FieldArray

WORD_BYTES = 4
"""Of a residue."""


class Buffer(Protocol):
    """Memory of a device, given back when nothing refers to it any more."""

    @property
    def address(self) -> int:
        """Where it starts, in the device's addresses; a multiple of 16."""
        ...

    def fetch(self, first: int, count: int) -> FieldArray:
        """Waits for what was started and returns `count` words from word `first` on.

        Raises:
            EnvironmentMissing: The device is lost.
        """
        ...


class Device(Protocol):
    """What runs kernels, in the order of the calls."""

    def describe(self) -> str:
        """Returns what a measurement must name: device, memory, driver."""
        ...

    def finish(self) -> None:
        """Waits for everything that was started.

        Raises:
            EnvironmentMissing: Some of it failed, or the device is lost.
        """
        ...

    def allocate(self, words: int) -> Buffer:
        """Returns room for 32-bit words, of any content.

        Raises:
            EnvironmentMissing: The device has no such room left, or is lost.
        """
        ...

    def upload(self, values: NDArray[Any]) -> Buffer:
        """Copies a contiguous array of any type to the device."""
        ...

    def launch(
        self,
        kernel: Kernel,
        blocks: tuple[int, int],
        arguments: Sequence[int],
        *,
        threads: int = BLOCK_THREADS,
        shared_bytes: int = 0,
    ) -> None:
        """Starts a kernel.

        Args:
            kernel: Of the module of `cuda_kernels`.
            blocks: Grid, (x, y).
            arguments: One integer per parameter; addresses for pointers.
            threads: Of a block, at most `BLOCK_THREADS`.
            shared_bytes: Dynamic shared memory of a block.

        Raises:
            EnvironmentMissing: The device refuses, or is lost.
        """
        ...
