"""Ray clusters: one of the prover's own on this machine, or one that somebody runs and the prover joins."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import EclipticaError, EnvironmentMissing

NAMESPACE = "ecliptica"
"""Names of actors are unique in it."""

AUTH_VARIABLE = "RAY_AUTH_MODE"
"""Nodes that `ray start` makes ask for a token unless this says `disabled`, but clients bring one only if it says
`token`; bringing one where none is asked for does no harm."""

HEALTH_SECONDS = 30.0
"""How long the head of a cluster may take to say that it is there; the question itself imports Ray, 2 s."""

OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Shared memory of a cluster of our own, bytes: two in-flight envelopes of 15 MiB for each of eight actors; what is
more is spilled to disk. Envelopes of small segments have about 130 kB."""


@dataclass(frozen=True, slots=True)
class NodeSize:
    """What a node of a cluster offers.

    Attributes:
        cores: Processors, at least 1.
        gpus: GPUs.
    """

    cores: int
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A connection of this process to a cluster.

    Attributes:
        ray: The module, connected.
        nodes: What each node offers; nodes without processors are left out.
        address: Of a joined cluster; empty for one of our own.
    """

    ray: Any
    nodes: Sequence[NodeSize] = field(default_factory=tuple)
    address: str = ""

    @property
    def is_joined(self) -> bool:
        """Whether others may use it too, so that resources must be asked for."""
        return bool(self.address)

    def options(self, threads: int, gpus: int, memory_bytes: int) -> Mapping[str, Any]:
        """Returns what a worker asks of the scheduler.

        On a cluster of our own a thread is a processor, of which it is told to have enough. On a joined one segments'
        workers and those of recursive proofs take turns on the same processors, so each asks for half of what it can
        use; Ray takes no fractions above one.
        """
        if not self.is_joined:
            return {"num_cpus": threads}
        half = threads / 2
        return {
            "num_cpus": half if half <= 1 else int(half),
            "num_gpus": gpus,
            "memory": memory_bytes,
            "scheduling_strategy": "SPREAD",
        }

    def close(self) -> None:
        """Ends the connection, and a cluster of our own."""
        self.ray.shutdown()


def start_cluster(cores: int) -> RayCluster:
    """Starts a cluster of our own on this machine.

    Args:
        cores: Processors that it says it has, at least 1.

    Raises:
        EclipticaError: It does not start.
    """
    ray = _ray()
    try:
        ray.init(
            num_cpus=cores,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            **_QUIET,
        )
    except (ConnectionError, RuntimeError, OSError, ValueError) as error:
        # it may have died on its way up: a new start helps
        raise EclipticaError(
            f"Ray did not start: {error}", "the prover tries again; see `ecliptica doctor`"
        ) from error
    return RayCluster(ray, (NodeSize(cores),))


def join_cluster(address: str) -> RayCluster:
    """Joins a running cluster.

    Args:
        address: `HOST:PORT` of its head, or `auto` for the one on this machine.

    Raises:
        EnvironmentMissing: There is none, it asks for another token, has other versions of Ray or Python, or no
            processors.
    """
    os.environ.setdefault(AUTH_VARIABLE, "token")
    ray = _ray()
    _check_health(address)
    try:
        ray.init(address=address, **_QUIET)
    except (ConnectionError, RuntimeError, OSError, ValueError) as error:
        raise _no_cluster(address, str(error) or type(error).__name__) from error
    nodes = tuple(
        NodeSize(int(node["Resources"]["CPU"]), int(node["Resources"].get("GPU", 0)))
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    )
    if not nodes:
        ray.shutdown()
        raise EnvironmentMissing(
            f"no node of the Ray cluster at {address} offers a processor", "add a worker node"
        )
    return RayCluster(ray, nodes, address)


def _check_health(address: str) -> None:
    """Asks the head of a cluster whether it is there; a connection of Ray's own tries for many minutes.

    Raises:
        EnvironmentMissing: It does not say yes within `HEALTH_SECONDS`.
    """
    place = [] if address == "auto" else ["--address", address]
    try:
        asked = subprocess.run(  # noqa: S603 - our own interpreter and Ray's command
            [sys.executable, "-m", "ray.scripts.scripts", "health-check", *place],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=HEALTH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _no_cluster(address, f"no answer within {HEALTH_SECONDS:g} s") from error
    if asked.returncode:
        raise _no_cluster(address, asked.stderr.decode("utf-8", "replace"))


def _no_cluster(address: str, told: str) -> EnvironmentMissing:
    lines = [line for line in told.strip().splitlines() if line.strip()]
    return EnvironmentMissing(
        f"there is no Ray cluster to join at {address}: {lines[-1] if lines else 'it is not there'}",
        f"start one (`ray start --head`), or leave proving.ray_address empty; {AUTH_VARIABLE} and the "
        "token must be the cluster's",
    )


_QUIET: dict[str, Any] = {
    "namespace": NAMESPACE,
    "logging_level": logging.ERROR,
    "log_to_driver": False,
}


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray  # noqa: PLC0415  - half a second, and only provers need it

    return ray
