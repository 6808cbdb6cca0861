"""The processes of a chain on one machine, and the configuration they are started with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.settings import Settings
from pipelines.supervisor import ProcessPlan
from schemas.config import Configuration
from schemas.errors import ParameterError

ROLES = ("admission", "validator", "beacon", "chain", "prover", "pyramid", "windows")
"""admission: checks transactions. validator: votes on blocks. beacon: votes on proofs. chain: writes down final
blocks, accepted proofs and, by itself, windows. prover: makes proofs. pyramid: plans recursive proofs and keeps them.
windows: closes, counts and plans windows under Beam, where `streaming.runner` says so."""

VALIDATOR_ROLES = ("validator", "beacon")
"""Roles with one process per validator."""

SERVICE_ROLES = {
    "admission": ("admission",),
    "consensus": ("validator", "beacon", "chain"),
    "proving": ("prover", "pyramid"),
    "windows": ("windows",),
    "all": ROLES,
}
"""Roles that a pipeline of `ecliptica run` starts; `export` runs in the command itself."""

PIPELINE_OF = {
    role: name for name, roles in SERVICE_ROLES.items() if name != "all" for role in roles
}
"""Pipeline that a role belongs to."""


COMMANDS = ("all", "demo", "admission", "consensus", "proving", "export")
"""What starts processes: pipelines of `ecliptica run`, and `demo`; each has an endpoint of its own."""


def process_name(role: str, index: int) -> str:
    """Returns the name of a role's process; `index` counts for roles with one per validator."""
    return f"{role}-{index}" if role in VALIDATOR_ROLES else role


def process_names(configuration: Configuration, roles: tuple[str, ...] = ROLES) -> list[str]:
    """Returns the names of all processes of some roles, in the order of starting."""
    count, left_out = configuration.chain.validators, set()
    if not configuration.proving.pyramid:
        left_out.add("pyramid")
    if configuration.streaming.runner == "loop":
        left_out.add("windows")
    return [
        process_name(role, index)
        for role in roles
        if role not in left_out
        for index in range(count if role in VALIDATOR_ROLES else 1)
    ]


def command_name(pipeline: str) -> str:
    """Returns the name of the command itself among the processes it starts."""
    return pipeline if pipeline == "demo" else f"run-{pipeline}"


def metrics_ports(configuration: Configuration) -> dict[str, int]:
    """Returns the port of every process that there can be; empty if metrics are off.

    A process has the same one whichever command starts it: commands come first, then roles in the order of `ROLES`, and the
    command of the pipeline `windows` last, where there is one.
    """
    first = configuration.metrics.port
    names = [*map(command_name, COMMANDS), *process_names(configuration)]
    if configuration.streaming.runner != "loop":
        names.append(command_name("windows"))
    return {name: first + place for place, name in enumerate(names)} if first else {}


def addresses(settings: Settings, names: Sequence[str]) -> list[str]:
    """Returns a line per process that says where it is watched; none if metrics are off."""
    host, ports = settings.configuration.metrics.host, metrics_ports(settings.configuration)
    return [
        f"{name}: http://{host}:{ports[name]}/metrics, /health, /ready"
        for name in names
        if name in ports
    ]


def configuration_path(data: Path) -> Path:
    """Returns where the processes of a data directory find their configuration."""
    return data / "run" / "configuration.json"


def write_node_configuration(settings: Settings) -> None:
    """Writes the merged configuration for the processes, in one rename."""
    path = configuration_path(settings.data)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(settings.configuration.model_dump_json(indent=2), encoding="utf-8")
    draft.rename(path)


def read_node_configuration(data: Path) -> Configuration:
    """Reads what `write_node_configuration` wrote.

    Raises:
        ParameterError: It is absent or damaged.
    """
    path = configuration_path(data)
    try:
        return Configuration.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ParameterError(f"{path}: {error}", "start it through `ecliptica run`") from error


def node_plans(
    data: Path,
    configuration: Configuration,
    roles: tuple[str, ...] = ROLES,
    end_window: int | None = None,
) -> list[ProcessPlan]:
    """Returns one process per role, and one per validator; windows from `end_window` on are not joined."""
    plans = []
    for name in process_names(configuration, roles):
        role, _, index = name.partition("-")
        arguments = ["-m", "pipelines.node", role, "--data", str(data)]
        if role == "pyramid" and end_window is not None:
            arguments += ["--end-window", str(end_window)]
        if index:
            arguments += ["--index", index]
        plans.append(ProcessPlan(name, arguments))
    return plans
