"""The pieces of a campaign side by side: each in a process that starts fresh, until all are done or it is stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Result_co = TypeVar("Result_co", covariant=True)


class Shift(Protocol[Result_co]):
    """A piece of a campaign; it travels to a process and its result back."""

    def run(self) -> Result_co:
        """Does the piece."""
        ...


def in_parallel(
    shifts: Sequence[Shift[T]],
    processes: int,
    is_stopped: Callable[[], bool],
    prepare: Callable[..., None] | None = None,
    given: tuple[Any, ...] = (),
) -> Iterator[tuple[int, T]]:
    """Yields the number and the result of every piece as it is done.

    Args:
        shifts: The pieces.
        processes: Processes side by side, at least 1.
        is_stopped: Ends it with the next piece that is done; those that have not begun are dropped.
        prepare: What every process does first, importable by name; None for nothing.
        given: Its arguments.
    """
    with ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=prepare, initargs=given
    ) as pool:
        waiting = {pool.submit(shift.run): number for number, shift in enumerate(shifts)}
        for future in as_completed(waiting):
            if is_stopped():
                pool.shutdown(wait=False, cancel_futures=True)
                return
            yield waiting[future], future.result()
