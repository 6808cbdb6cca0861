"""A Prometheus on this machine's loopback, for as long as somebody needs it: for pictures and tests, not for service.

The program is the system's own package `prometheus`; what it collects is below a directory of the caller's.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from deploy.prometheus_scrape import as_yaml, scrape_configuration
from schemas.errors import EclipticaError, EnvironmentMissing

PROGRAM = "prometheus"
START_SECONDS = 60.0
STOP_SECONDS = 30.0
LOOK_SECONDS = 0.2


@contextmanager
def running_prometheus(
    targets: Mapping[str, str], directory: Path, port: int, scrape_seconds: int
) -> Iterator[str]:
    """Scrapes processes while the block runs; yields the URL.

    Args:
        targets: `host:port` by name of the process.
        directory: Where it keeps configuration and data; is made.
        port: On loopback, free.
        scrape_seconds: Between two scrapes.

    Raises:
        EnvironmentMissing: The program is not installed.
        EclipticaError: It does not start; its words are in `directory/prometheus.log`.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise EnvironmentMissing("Prometheus is not installed", "apt-get install prometheus")
    directory.mkdir(parents=True, exist_ok=True)
    configuration = directory / "prometheus.yml"
    document = scrape_configuration(targets)
    document["global"]["scrape_interval"] = f"{scrape_seconds}s"
    configuration.write_text(as_yaml(document), "utf-8")
    arguments = [
        program,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = directory / "prometheus.log"
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - the system's program, our arguments
            arguments, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
        try:
            _await_ready(process, url, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(f"{url}/-/ready", timeout=LOOK_SECONDS) as answer:  # noqa: S310 - loopback
                if answer.status == 200:
                    return
        except (URLError, OSError):
            pass  # not listening, or not ready, yet
        try:
            process.wait(LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    raise EclipticaError(f"Prometheus does not start; its words are in {log}")
