"""One job server for all tests that need Flink: started when first asked for, stopped when the run ends."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest

from deploy.flink_job_server import JobServer
from deploy.java_service import ServiceMissing, free_port

JARS = Path(__file__).resolve().parents[2] / ".flink" / "lib"
"""Where `make flink` keeps the jars too."""


@cache
def _started() -> JobServer | str:
    home = Path(tempfile.mkdtemp(prefix="ecliptica-flink-"))
    server = JobServer(home, free_port(), jars=JARS)
    owner = os.getpid()

    def end() -> None:
        if os.getpid() == owner:
            server.kill()
            shutil.rmtree(home, ignore_errors=True)

    atexit.register(end)
    try:
        server.start()
    except ServiceMissing as error:
        return str(error)
    return server


def flink_server() -> JobServer:
    """Returns the job server; skips the test, and says why in the summary, where it cannot be had."""
    found = _started()
    if isinstance(found, str):
        pytest.skip(f"NO FLINK: not one test of the Flink runner ran, since {found}")
    return found
