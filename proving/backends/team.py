"""Threads that share the points of one kernel call; compiled code runs without the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from schemas.errors import ParameterError


class Team:
    """A fixed number of threads, the caller one of them.

    Attributes:
        threads: How many.
    """

    def __init__(self, threads: int) -> None:
        """Prepares the threads; they start when there is work for them.

        Raises:
            ParameterError: threads is below one.
        """
        if threads < 1:
            raise ParameterError(f"a backend needs a thread, got {threads}")
        self.threads = threads
        self._others = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    def share(self, work: Callable[[int, int], None], size: int, step: int) -> None:
        """Calls work(start, end) on disjoint parts of range(size), and returns when all are done.

        Args:
            work: Touches nothing but its part.
            size: Where the last part ends.
            step: Parts begin at its multiples.
        """
        steps = -(-size // step)
        parts = min(self.threads, steps)
        if self._others is None or parts < 2:
            work(0, size)
            return
        cuts = [min(size, steps * part // parts * step) for part in range(parts + 1)]
        pending = [self._others.submit(work, start, end) for start, end in pairwise(cuts[1:])]
        try:
            work(cuts[0], cuts[1])
        finally:
            for future in pending:
                future.result()
