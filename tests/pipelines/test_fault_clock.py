from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

from pipelines.faults.clock import wall_clocks

ANSWER = """
import datetime, sys, time
for _ in sys.stdin:
    print(time.time(), time.time_ns() / 1e9, datetime.datetime.now().timestamp(), time.monotonic(), flush=True)
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="NO COMPILER: cc is not installed")
def test_a_shifted_clock_moves_the_wall_clock_of_its_process_alone() -> None:
    with wall_clocks(["one"]) as clocks:
        child = subprocess.Popen(  # noqa: S603
            [*clocks["one"].wrapper, sys.executable, "-c", ANSWER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        for shift in (0.0, 3600.0, -3600.0, 0.0):
            clocks["one"].shift(shift)
            before = (time.time(), time.monotonic())
            child.stdin.write("\n")
            child.stdin.flush()
            *walls, steady = map(float, child.stdout.readline().split())
            after = (time.time(), time.monotonic())
            assert all(before[0] <= wall - shift <= after[0] + 1e-3 for wall in walls)
            assert before[1] <= steady <= after[1]
        child.stdin.close()
        child.stdout.close()
        child.wait()
