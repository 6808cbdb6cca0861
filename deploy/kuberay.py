"""KubeRay: a RayCluster whose workers make the proofs; the prover itself is a container beside Ray's head.

The prover joins the head through the session directory and the shared memory of its pod. It waits for a chain that
another pipeline makes on the same volume, such as the Helm chart with `proving.enabled=false`.
"""

from __future__ import annotations

from typing import Any

from deploy.kubernetes import (
    SETTINGS,
    container,
    data_volume,
    pod_security,
    settings_map,
)
from deploy.prometheus_scrape import as_yaml
from deploy.site import Pipeline, ProverCrew, Site

GCS_PORT = 6379
"""Of Ray's head."""

RAY_ADDRESS = f"127.0.0.1:{GCS_PORT}"
"""Of the head, as the prover beside it sees it."""

TOKEN_KEY = "auth_token"  # noqa: S105 - where the token stands in its Secret
"""Entry of the Secret, as KubeRay's own are called."""

HEAD_GIBIBYTES = 2
"""Memory of Ray's head, which proves nothing."""

RECURSIVE_GIBIBYTES = 4
"""Memory of a worker for recursive proofs: it holds 3.5 GB once it has made all kinds."""

SEGMENT_GIBIBYTES = 1
"""Memory of a worker for segments: 0.3 GB of shape S. Shape L takes 3.3 GiB: raise it where windows need that."""

SHARED_GIBIBYTES = 1
"""Ray's object store on each pod: two envelopes of 15 MiB in flight for each worker, and Ray's own."""

SESSION_MOUNTS = (
    {"name": "session", "mountPath": "/tmp/ray"},  # noqa: S108 - where Ray keeps its sockets
    {"name": "shared", "mountPath": "/dev/shm"},  # noqa: S108 - where Ray keeps its objects
)


def kuberay_files(site: Site, crew: ProverCrew, ray_version: str, claim: str) -> dict[str, str]:
    """Returns the files by path.

    Args:
        site: With the pipeline `proving`.
        crew: Workers of the cluster.
        ray_version: Of the image.
        claim: PersistentVolumeClaim of the data directory.
    """
    (prover,) = (one for one in site.pipelines if one.name == "proving")
    name = _name(site.chain)
    settings = f"{name}-{SETTINGS}"
    token = _token(secret_name(site.chain))
    groups = {
        "headGroupSpec": _head(site, prover, settings, claim, token),
        "workerGroupSpecs": _groups(site, crew, token),
    }
    cluster = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": name},
        "spec": {"rayVersion": ray_version, **groups},
    }
    documents = (settings_map(settings, site), cluster)
    return {"raycluster.yaml": "---\n".join(map(as_yaml, documents))}


def secret_name(chain: int) -> str:
    """Returns the name of the Secret with the cluster's token, which a person makes."""
    return f"{_name(chain)}-ray"


def _name(chain: int) -> str:
    return f"ecliptica-{chain}-provers"


def _token(secret: str) -> list[dict[str, Any]]:
    """Returns the variables by which all of a cluster know one another: nobody else is to run work on it."""
    place = {"secretKeyRef": {"name": secret, "key": TOKEN_KEY}}
    return [
        {"name": "RAY_AUTH_MODE", "value": "token"},
        {"name": "RAY_AUTH_TOKEN", "valueFrom": place},
    ]


def _head(
    site: Site, prover: Pipeline, settings: str, claim: str, token: list[dict[str, Any]]
) -> dict[str, Any]:
    beside = container(prover, site.image, settings, is_first=False)
    beside["env"] = token
    beside["volumeMounts"] += list(SESSION_MOUNTS)
    head = {
        "name": "ray-head",
        "image": site.image,
        "env": token,
        "ports": [{"name": "gcs", "containerPort": GCS_PORT}],
        "resources": _resources(1, HEAD_GIBIBYTES),
        "volumeMounts": list(SESSION_MOUNTS),
        **_probes(),
    }
    volumes = [*_session_volumes(), data_volume(claim)]
    return {
        "rayStartParams": {"num-cpus": "0", "include-dashboard": "false"},
        "template": _pod([head, beside], volumes, site.stop_seconds),
    }


def _groups(site: Site, crew: ProverCrew, token: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns one group of equal pods: workers for segments and for recursive proofs take turns on the same processors."""
    gibibytes = RECURSIVE_GIBIBYTES + crew.threads * SEGMENT_GIBIBYTES + SHARED_GIBIBYTES
    worker = {
        "name": "ray-worker",
        "image": site.image,
        "env": token,
        "resources": _resources(crew.threads, gibibytes),
        "volumeMounts": [SESSION_MOUNTS[1]],
        **_probes(),
    }
    return [
        {
            "groupName": "workers",
            "replicas": crew.pods,
            "minReplicas": crew.pods,
            "maxReplicas": crew.pods,
            "rayStartParams": {"num-cpus": str(crew.threads)},
            "template": _pod([worker], [_session_volumes()[1]], site.stop_seconds),
        }
    ]


def _pod(
    containers: list[dict[str, Any]], volumes: list[dict[str, Any]], stop_seconds: int
) -> dict[str, Any]:
    return {
        "spec": {
            "terminationGracePeriodSeconds": stop_seconds,
            "securityContext": pod_security(),
            "containers": containers,
            "volumes": volumes,
        }
    }


def _session_volumes() -> list[dict[str, Any]]:
    size = f"{SHARED_GIBIBYTES}Gi"
    return [
        {"name": "session", "emptyDir": {}},
        {"name": "shared", "emptyDir": {"medium": "Memory", "sizeLimit": size}},
    ]


def _resources(cpus: int, gibibytes: int) -> dict[str, Any]:
    stated = {"cpu": str(cpus), "memory": f"{gibibytes}Gi"}
    return {"requests": stated, "limits": dict(stated)}


def _probes() -> dict[str, Any]:
    """Returns probes of Ray's own; those that KubeRay would put in ask the dashboard, which the image lacks."""
    check = {
        "exec": {"command": ["ray", "health-check"]},
        "periodSeconds": 10,
        "timeoutSeconds": 10,
    }
    return {
        "livenessProbe": {**check, "initialDelaySeconds": 30, "failureThreshold": 12},
        "readinessProbe": {**check, "failureThreshold": 6},
    }
