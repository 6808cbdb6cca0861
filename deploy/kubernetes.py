"""Parts of Kubernetes objects that several manifests have.

Ports are named like their processes, which have at most the 15 characters that Kubernetes allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deploy.compose import CHECK_SECONDS, START_SECONDS
from deploy.site import DATA, Pipeline, Site

CHAIN_MADE = f"until test -f {DATA}/genesis.json; do sleep 1; done"
"""Shell that waits for the first pipeline, which makes the chain."""

VOLUME = "data"
SETTINGS = "settings"
"""Suffix of the ConfigMap with the settings."""

USER = 10001
"""Of the image."""


def container(pipeline: Pipeline, image: str, settings: str, *, is_first: bool) -> dict[str, Any]:
    """Returns the container of a pipeline.

    Args:
        pipeline: What runs in it.
        image: Its image.
        settings: Name of the ConfigMap whose entries become variables.
        is_first: Whether it makes the chain; the others wait for that.
    """
    command = " ".join(("exec", "ecliptica", *pipeline.arguments))
    script = command if is_first else f"{CHAIN_MADE}; {command}"
    return {
        "name": pipeline.name,
        "image": image,
        "command": ["sh", "-c", script],
        "envFrom": [{"configMapRef": {"name": settings}}],
        "ports": [
            {"name": process, "containerPort": port} for process, port in pipeline.processes.items()
        ],
        "volumeMounts": [{"name": VOLUME, "mountPath": DATA}],
        "startupProbe": _probe("/health", pipeline.port, START_SECONDS // CHECK_SECONDS),
        "livenessProbe": _probe("/health", pipeline.port, 3),
        "readinessProbe": _probe("/ready", pipeline.port, 1),
    }


def pod_security() -> dict[str, Any]:
    """Returns under whom a pod runs; the volume becomes the group's."""
    return {"runAsNonRoot": True, "runAsUser": USER, "fsGroup": USER}


def service_ports(pipelines: Iterable[Pipeline]) -> list[dict[str, Any]]:
    """Returns the ports of a Service in front of pipelines."""
    return [
        {"name": process, "port": port}
        for pipeline in pipelines
        for process, port in pipeline.processes.items()
    ]


def data_volume(claim: str) -> dict[str, Any]:
    """Returns the volume of the data directory."""
    return {"name": VOLUME, "persistentVolumeClaim": {"claimName": claim}}


def settings_map(name: str, site: Site) -> dict[str, Any]:
    """Returns the ConfigMap of the settings."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": dict(site.environment),
    }


def _probe(path: str, port: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": CHECK_SECONDS,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
