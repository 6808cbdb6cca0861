"""The processes of a chain on one machine, and the configuration they are started with."""

from __future__ import annotations

from pathlib import Path

from pipelines.settings import Settings
from pipelines.supervisor import ProcessPlan
from schemas.config import Configuration
from schemas.errors import ParameterError

ROLES = ("admission", "validator", "beacon", "chain", "prover", "pyramid")
"""admission: checks transactions. validator: votes on blocks. beacon: votes on proofs. chain: writes down final
blocks, windows and accepted proofs. prover: makes proofs. pyramid: plans recursive proofs and keeps them."""

VALIDATOR_ROLES = ("validator", "beacon")
"""Roles with one process per validator."""

SERVICE_ROLES = {
    "admission": ("admission",),
    "consensus": ("validator", "beacon", "chain"),
    "proving": ("prover", "pyramid"),
    "all": ROLES,
}
"""Roles that a pipeline of `ecliptica run` starts; `export` runs in the command itself."""


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
    for role in roles:
        if role == "pyramid" and not configuration.proving.pyramid:
            continue
        arguments = ["-m", "pipelines.node", role, "--data", str(data)]
        if role == "pyramid" and end_window is not None:
            arguments += ["--end-window", str(end_window)]
        if role not in VALIDATOR_ROLES:
            plans.append(ProcessPlan(role, arguments))
            continue
        plans += [
            ProcessPlan(f"{role}-{index}", [*arguments, "--index", str(index)])
            for index in range(configuration.chain.validators)
        ]
    return plans
