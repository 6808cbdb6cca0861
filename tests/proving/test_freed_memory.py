"""Memory that was freed stays in the process, where the C library lets us ask for it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from proving.backends.freed_memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
def touch():
    np.ones(2**24, dtype=np.uint32)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the options")
def test_freed_arrays_are_not_faulted_in_again() -> None:
    faults = {}
    for keep in (False, True):
        command = [sys.executable, "-c", FAULTS.format(keep=keep)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        faults[keep] = int(ran.stdout)
    assert faults[True] < 10 <= faults[False]
