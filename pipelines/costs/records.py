"""Measured figures: what the records of `ecliptica bench NAME --json` in a folder say.

A figure whose record is not there has no value, and no table a number that would need it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.costs.figures import Basis, Figure
from schemas.errors import ParameterError

Record = Mapping[str, Any]

DEFAULT_RECORDS = Path(__file__).resolve().parents[1] / "data" / "records"
"""Records that are shipped."""

MAX_RECORD_BYTES = 2**24
"""A record has some kilobytes."""

GPU_BACKENDS = frozenset({"cuda"})

PER_TRANSACTION = "core*second/transaction"
PER_PROOF = "core*second"
LEVELS = ("segment_s", "segment_l", "lift_s", "lift_l", "join", "epoch", "day", "wrap")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a figure is read from a record.

    Attributes:
        name: Of the figure.
        unit: Its unit.
        record: Which record, as `record_key` calls it.
        read: From the record to the value; None where the record leaves it open.
    """

    name: str
    unit: str
    record: str
    read: Callable[[Record], float | None]


def _per_transaction(record: Record) -> float:
    return float(record["cpu_seconds_median"] / record["transactions"])


def _of_level(kind: str, member: str, scale: float = 1.0) -> Callable[[Record], float]:
    def read(record: Record) -> float:
        (level,) = (one for one in record["levels"] if one["kind"] == kind)
        return float(level[member]) * scale

    return read


def _of_step(step: str, member: str) -> Callable[[Record], float | None]:
    def read(record: Record) -> float | None:
        (row,) = (one for one in record["table"] if one["step"] == step)
        return None if row[member] is None else float(row[member])

    return read


def _of_finality(member: str) -> Callable[[Record], float]:
    def read(record: Record) -> float:
        (row,) = record["table"]
        return float(row[member]) / 1000

    return read


def _of_wan(member: str) -> Callable[[Record], float]:
    def read(record: Record) -> float:
        (row,) = (
            one
            for one in record["table"]
            if (one["spread"], one["validators"], one["down"]) == ("continent", 49, 0)
        )
        return float(row[member]) / 1000

    return read


def _segment_capacity(kind: str) -> Callable[[Record], float]:
    def read(record: Record) -> float:
        return float(record["transactions"] / record["segments"][kind])

    return read


def _segment_cpu(kind: str) -> Callable[[Record], float]:
    """Returns what reads the processor time of a full segment's proof, its trace included."""

    def read(record: Record) -> float:
        return float(record["cpu_seconds"]["prove"] / record["segments"][kind])

    return read


def _cut(record: Record) -> float:
    return float(record["cpu_seconds"]["execute_and_cut"] / record["transactions"])


STEPS = {
    "circuit": "circuit build",
    "trace": "trace generation",
    "commitments": "commitments",
    "fri": "FRI",
    "aggregation": "aggregation",
}
"""Part of a figure's name -> step of `bench steps`."""

READINGS = (
    Reading("admission_cpu", PER_TRANSACTION, "admission", _per_transaction),
    Reading("execution_cpu", PER_TRANSACTION, "execution", _per_transaction),
    Reading("signature_cpu", PER_TRANSACTION, "signatures", _per_transaction),
    Reading("cut_cpu", PER_TRANSACTION, "segment_l", _cut),
    Reading("large_cpu", PER_PROOF, "segment_l", _segment_cpu("segment_l")),
    Reading("small_cpu", PER_PROOF, "segment_s", _segment_cpu("segment_s")),
    Reading("large_transactions", "transaction", "segment_l", _segment_capacity("segment_l")),
    Reading("small_transactions", "transaction", "segment_s", _segment_capacity("segment_s")),
    *(
        Reading(f"{kind}_cpu", PER_PROOF, "levels", _of_level(kind, "cpu_seconds_median"))
        for kind in LEVELS
    ),
    *(
        Reading(f"{kind}_wall", "second", "levels", _of_level(kind, "seconds_median"))
        for kind in LEVELS
    ),
    *(
        Reading(f"{kind}_check", "second", "levels", _of_level(kind, "verify_ms", 0.001))
        for kind in LEVELS
    ),
    *(Reading(f"{kind}_bits", "bit", "levels", _of_level(kind, "proven_bits")) for kind in LEVELS),
    *(
        Reading(f"{kind}_bytes", "byte", "levels", _of_level(kind, "proof_bytes"))
        for kind in LEVELS
    ),
    Reading("finality_p50", "second", "finality", _of_finality("final_ms_p50")),
    Reading("finality_p99", "second", "finality", _of_finality("final_ms_p99")),
    Reading("wan_p50", "second", "wan", _of_wan("p50_ms")),
    Reading("wan_p99", "second", "wan", _of_wan("p99_ms")),
    *(
        Reading(f"step_{name}_{device}", "second", "steps", _of_step(step, f"{device}_seconds"))
        for name, step in STEPS.items()
        for device in ("cpu", "gpu")
    ),
    Reading(
        "gpu_rate",
        "transaction/second/gpu",
        "segment_l on a GPU",
        lambda one: float(one["transactions_per_second"]),
    ),
    Reading(
        "gpu_signature_rate",
        "transaction/second/gpu",
        "signatures on a GPU",
        lambda one: float(one["verifications_per_second"]),
    ),
)
"""Every measured figure, and which record it is read from."""


def measured_figures(folder: Path) -> list[Figure]:
    """Returns every measured figure; one whose record is missing has no value.

    Raises:
        ParameterError: The folder or a record cannot be read, two records are of the same bench, or one says that a
            proof did not hold.
    """
    records = read_records(folder)
    return [_figure(reading, records) for reading in READINGS]


def read_records(folder: Path) -> dict[str, tuple[Path, Record]]:
    """Returns the records of a folder by key, with their files.

    Raises:
        ParameterError: As `measured_figures`.
    """
    if not folder.is_dir():
        raise ParameterError(f"{folder} is not a directory", "`bench NAME --json` prints records")
    found: dict[str, tuple[Path, Record]] = {}
    for path in sorted(folder.glob("*.json")):
        record = _read_record(path)
        key = record_key(record)
        if key in found:
            raise ParameterError(
                f"{path.name} and {found[key][0].name} are both records of {key}",
                "keep one of them",
            )
        found[key] = path, record
    return found


def record_key(record: Record) -> str:
    """Returns what a record is of: the bench, for `segment` the shape that was proven, and the GPU if it ran on one."""
    name = str(record["name"])
    if name == "segment":
        shapes = sorted(shape for shape, count in record["segments"].items() if count)
        name = shapes[0] if len(shapes) == 1 else f"segments of {len(shapes)} shapes"
    return f"{name} on a GPU" if _backend(record) in GPU_BACKENDS else name


def machine_of(record: Record) -> str:
    """Returns the machine of a record in a line."""
    machine = record["machine"]
    load = machine["load_1min"]
    told = "load not recorded" if load is None else f"load {load}"
    return f"{machine['cores']} cores of {machine['cpu']}, {told}"


def _backend(record: Record) -> str:
    told = record.get("parameters", {}).get("backend", "")
    return str(told).split(maxsplit=1)[0].rstrip(",:;") if told else ""


def _read_record(path: Path) -> Record:
    if path.stat().st_size > MAX_RECORD_BYTES:
        raise ParameterError(f"{path} is too large for a record")
    try:
        record = json.loads(path.read_bytes())
        name, commit, machine = record["name"], record["commit"], machine_of(record)
        if not (name and commit and machine and record_key(record)):
            raise ParameterError(f"{path} has no name, commit or machine")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ParameterError(
            f"{path} is no record of a bench: {type(error).__name__} {error}",
            "records are what `ecliptica bench NAME --json` prints",
        ) from error
    if record.get("verified") is False:
        raise ParameterError(f"{path}: a proof of this record did not hold")
    return dict(record)


def _figure(reading: Reading, records: Mapping[str, tuple[Path, Record]]) -> Figure:
    if reading.record not in records:
        missing = f"no record of {reading.record}"
        return Figure(reading.name, None, reading.unit, Basis.MEASURED, missing)
    path, record = records[reading.record]
    try:
        value = reading.read(record)
    except (KeyError, ValueError, TypeError, ZeroDivisionError) as error:
        raise ParameterError(
            f"{path} does not say {reading.name}: {type(error).__name__} {error}"
        ) from error
    told = f"bench {record['name']}: {path.name}"
    if record.get("parameters", {}).get("is_simulated"):
        told += ", simulated"
    if "transcribed_from" in record:
        told += f", transcribed from {record['transcribed_from']}"
    if value is None:
        told = f"left open by {path.name}" + _notes(record.get("notes", ()))
    return Figure(
        reading.name,
        value,
        reading.unit,
        Basis.MEASURED,
        told,
        _short(str(record["commit"])),
        machine_of(record),
    )


def _short(commit: str) -> str:
    """Returns a commit in short; a plus says that the checkout had other changes."""
    return commit[:12] + ("+" if commit.endswith("+") and len(commit) > 12 else "")


def _notes(notes: Iterable[Any]) -> str:
    text = "; ".join(str(note) for note in notes)
    return f": {text}" if text else ""
