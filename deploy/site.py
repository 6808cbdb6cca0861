"""A site: what manifests need to know of a chain that is to run in containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DATA = "/data"
"""Data directory inside a container; the image makes it a volume."""

LISTEN = "0.0.0.0"  # noqa: S104 - inside a container; what is published is the manifest's to say
"""Where processes in containers answer about themselves."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One `ecliptica run` with its processes.

    Attributes:
        name: Of the pipeline.
        arguments: Of the command, such as `run consensus`.
        port: Of the command's own endpoint, which is ready when all its processes run.
        processes: Port by name of each process, the command first.
    """

    name: str
    arguments: tuple[str, ...]
    port: int
    processes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ProverCrew:
    """The workers of a prover, as they are configured.

    Attributes:
        segments: Workers with one thread, >= 1.
        recursive: Workers with `threads` threads, >= 0.
        threads: Of a worker for recursive proofs, >= 1.
    """

    segments: int
    recursive: int
    threads: int

    @property
    def pods(self) -> int:
        """Pods of `threads` processors that hold them all: one recursive worker each, or `threads` for segments."""
        return max(self.recursive, -(-self.segments // self.threads))


@dataclass(frozen=True, slots=True)
class Site:
    """What is deployed.

    Attributes:
        image: Of every process.
        chain: Number of the chain.
        log_url: Of the event log.
        environment: Settings that differ from the profile, as variables.
        pipelines: In the order of starting; the first makes the chain.
        stop_seconds: What a command needs to drain.
    """

    image: str
    chain: int
    log_url: str
    environment: Mapping[str, str]
    pipelines: tuple[Pipeline, ...]
    stop_seconds: int

    def targets(self, host_of: Mapping[str, str]) -> dict[str, str]:
        """Returns `host:port` of every process, by name; hosts by name of the pipeline."""
        return {
            process: f"{host_of[pipeline.name]}:{port}"
            for pipeline in self.pipelines
            for process, port in pipeline.processes.items()
        }
