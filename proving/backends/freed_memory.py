"""Keeps memory that was freed in the process, so that the next proof does not fault it in again.

By default glibc returns a large array to the system when it is freed and asks for fresh pages for the next one; each
page is then cleared and mapped anew. A prover frees and takes the same gigabytes phase after phase: measured on the
circuit of 2^19 rows x 164 columns, 1.8 to 3.2 s of 8 s of a processor were spent on that (virtual machine, 4 KiB
pages). The price is that a process keeps its peak; `proving.memory_plan` says how much that is.
"""

from __future__ import annotations

import ctypes
from functools import cache

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Numbers of the options in glibc's `malloc.h`."""

LARGEST_INT = 2**31 - 1
"""Nothing at the end of the heap is ever returned."""


@cache
def keep_freed_memory() -> bool:
    """Sets it for this process, once; says whether the C library has the options (glibc has)."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, LARGEST_INT))
