"""What this machine has and what each absence costs."""

from __future__ import annotations

import ctypes.util
import os
import platform
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from operators.event_log import LogError, open_log
from pipelines.cli.contract import Call, Document
from proving.backends.cupy_device import gpu_description
from schemas.errors import EnvironmentMissing

OLDEST_PYTHON = (3, 11)
LEAST_MEMORY_BYTES = 4 * 2**30
LEAST_DISK_BYTES = 2 * 2**30
VECTOR_WIDTHS = (("avx512f", 512), ("avx2", 256), ("neon", 128), ("sse2", 128))


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of the environment.

    Attributes:
        part: What was looked for.
        found: Whether it is there and good enough.
        required: Whether nothing works without it.
        detail: What was found.
        cost: What its absence costs; empty when found.
    """

    part: str
    found: bool
    required: bool
    detail: str
    cost: str = ""


def diagnose(call: Call) -> Document:
    """Returns every part; exit code 5 when a required one is missing."""
    data = call.settings().data
    findings = [
        _python(),
        _processor(),
        _memory(),
        _disk(data),
        _embedded_log(),
        *_kafka_log(call.settings().log_url),
        *[_library(*entry) for entry in LIBRARIES],
        _signatures(),
        _liboqs(),
        _cuda(),
    ]
    missing = [finding.part for finding in findings if finding.required and not finding.found]
    fields = {"ok": not missing, "missing_required": missing, "parts": findings}
    return Document(_as_text(findings), fields, exit_code=5 if missing else 0)


LIBRARIES = (
    ("llvmlite", True, "no compiled field programs: nothing can be proven at a usable speed"),
    ("numpy", True, "nothing works"),
    ("pyarrow", True, "no records on the log, no Parquet"),
    ("duckdb", True, "no audit queries"),
    ("pydantic", True, "no configuration"),
    ("ray", False, "proofs run in one process: ECLIPTICA_PROVING_POOL=process"),
    ("apache-beam", False, "no windowed pipelines, no Flink runner"),
    ("confluent-kafka", False, "no Kafka log; the embedded log works"),
    ("prometheus-client", False, "no metrics, health and readiness endpoints"),
)
"""Distribution, whether required, what its absence costs."""

MODULES = {
    "apache-beam": "apache_beam",
    "confluent-kafka": "confluent_kafka",
    "prometheus-client": "prometheus_client",
}


def _library(name: str, required: bool, cost: str) -> Finding:
    if find_spec(MODULES.get(name, name)) is None:
        return Finding(name, found=False, required=required, detail="not installed", cost=cost)
    return Finding(name, found=True, required=required, detail=version(name))


def _python() -> Finding:
    good = sys.version_info >= OLDEST_PYTHON
    cost = "" if good else "Python 3.11 or newer is needed"
    return Finding("Python", good, required=True, detail=platform.python_version(), cost=cost)


def _processor() -> Finding:
    width = vector_bits()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    detail = f"{platform.machine()}, {cores} usable cores, {width}-bit vectors"
    cost = "" if width >= 256 else "proofs are several times slower than with AVX2 or AVX-512"
    return Finding("CPU", width > 0, required=False, detail=detail, cost=cost)


def vector_bits() -> int:
    """Returns the widest SIMD register the compiler may use, bits; 0 when it cannot tell."""
    if find_spec("llvmlite") is None:
        return 0
    features = import_module("llvmlite.binding").get_host_cpu_features()
    return next((width for name, width in VECTOR_WIDTHS if features.get(name)), 0)


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    good = total >= LEAST_MEMORY_BYTES
    cost = "" if good else "the demo needs 4 GiB"
    return Finding("memory", good, required=False, detail=f"{total / 2**30:.1f} GiB", cost=cost)


def _disk(data: Path) -> Finding:
    place = data.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    writable = place.is_dir() and os.access(place, os.W_OK)
    good = writable and free >= LEAST_DISK_BYTES
    state = "writable" if writable else "not writable"
    detail = f"{free / 2**30:.1f} GiB free at {place}, {state}"
    cost = "" if good else "nothing can be stored: choose another --data"
    return Finding("data directory", good, required=not writable, detail=detail, cost=cost)


def _embedded_log() -> Finding:
    return Finding("embedded log", found=True, required=True, detail=sqlite3.sqlite_version)


def _kafka_log(url: str) -> list[Finding]:
    """Says whether the brokers of the configured log answer; nothing if it is no Kafka log."""
    if not url.startswith("kafka:"):
        return []
    try:
        with open_log(url) as log:
            topics = len(log.topics())
    except (LogError, EnvironmentMissing) as error:
        cost = f"the log {url} cannot be used: {error.hint}"
        return [Finding("Kafka log", found=False, required=True, detail=str(error), cost=cost)]
    return [Finding("Kafka log", found=True, required=True, detail=f"{url}: {topics} topics")]


def _signatures() -> Finding:
    part, cost = "ML-DSA-44", "no signatures: nothing can be admitted"
    name = "cryptography.hazmat.primitives.asymmetric.mldsa"
    if find_spec("cryptography") is None or find_spec(name) is None:
        return Finding(part, found=False, required=True, detail="not installed", cost=cost)
    unsupported = import_module("cryptography.exceptions").UnsupportedAlgorithm
    try:
        import_module(name).MLDSA44PrivateKey.generate()
    except unsupported as error:
        return Finding(part, found=False, required=True, detail=str(error), cost=cost)
    detail = f"cryptography {version('cryptography')}"
    return Finding(part, found=True, required=True, detail=detail)


def _liboqs() -> Finding:
    place = ctypes.util.find_library("oqs")
    cost = "" if place else "signatures verify about four times slower"
    detail = place or "library not found"
    return Finding("liboqs", place is not None, required=False, detail=detail, cost=cost)


def _cuda() -> Finding:
    try:
        return Finding("CUDA", found=True, required=False, detail=gpu_description())
    except EnvironmentMissing as error:
        cost = "proofs run on the CPU; the backend cuda ends with exit code 5"
        return Finding("CUDA", found=False, required=False, detail=str(error), cost=cost)


def _as_text(findings: list[Finding]) -> str:
    width = max(len(finding.part) for finding in findings)
    lines = []
    for finding in findings:
        state = "ok" if finding.found else ("MISSING" if finding.required else "absent")
        cost = f" - {finding.cost}" if finding.cost else ""
        lines.append(f"{finding.part:<{width}}  {state:<7}  {finding.detail}{cost}")
    return "\n".join(lines)
