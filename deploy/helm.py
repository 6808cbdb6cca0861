"""A Helm chart: a StatefulSet with everything but the proofs, a Deployment that makes them, and what watches both.

Templates are YAML even before Helm has seen them: what it fills in stands inside quotes, and its conditions inside
comments. `values.yaml` has all that an operator may change without rendering anew.
"""

from __future__ import annotations

from typing import Any

from deploy.grafana_dashboard import as_json
from deploy.kubernetes import (
    SETTINGS,
    container,
    data_volume,
    pod_security,
    service_ports,
    settings_map,
)
from deploy.prometheus_scrape import as_yaml, scrape_configuration
from deploy.site import Pipeline, Site

RELEASE = "{{ .Release.Name }}"
IMAGE = "{{ .Values.image }}"
CLAIM = f"{RELEASE}-data"
STORAGE_CLASS = (
    "{{ required `say data.storageClass: a class of ReadWriteMany volumes` "
    ".Values.data.storageClass }}"
)
DASHBOARD_FILE = "files/ecliptica.json"
PROVING = "proving"
WHOLE_PROVER = "# {{ if .Values.proving.enabled }}\n"
END = "# {{ end }}\n"


def chart_files(site: Site, version: str) -> dict[str, str]:
    """Returns the files of the chart by path, to lie in one directory."""
    nodes = tuple(one for one in site.pipelines if one.name != PROVING)
    provers = tuple(one for one in site.pipelines if one.name == PROVING)
    prover = _workload("Deployment", PROVING, provers, site)
    return {
        "Chart.yaml": as_yaml(
            {
                "apiVersion": "v2",
                "name": "ecliptica",
                "description": "A streaming ledger with proofs.",
                "type": "application",
                "version": version,
                "appVersion": version,
            }
        ),
        "values.yaml": as_yaml(_values(site)),
        "templates/settings.yaml": as_yaml(settings_map(f"{RELEASE}-{SETTINGS}", site)),
        "templates/data.yaml": as_yaml(_claim()),
        "templates/node.yaml": as_yaml(_workload("StatefulSet", "node", nodes, site)),
        "templates/node-service.yaml": as_yaml(_service("node", nodes)),
        "templates/proving.yaml": WHOLE_PROVER + as_yaml(prover) + END,
        "templates/proving-service.yaml": as_yaml(_service(PROVING, provers)),
        "templates/prometheus.yaml": as_yaml(_scrape(site)),
        "templates/dashboard.yaml": as_yaml(_dashboard()),
        DASHBOARD_FILE: as_json(),
    }


def _values(site: Site) -> dict[str, Any]:
    return {
        "image": site.image,
        "data": {"size": "50Gi", "storageClass": ""},
        "proving": {"enabled": True},
    }


def _labels(part: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "ecliptica",
        "app.kubernetes.io/instance": RELEASE,
        "part": part,
    }


def _workload(kind: str, part: str, pipelines: tuple[Pipeline, ...], site: Site) -> dict[str, Any]:
    name = f"{RELEASE}-{part}"
    first = site.pipelines[0]
    containers = [
        container(one, IMAGE, f"{RELEASE}-{SETTINGS}", is_first=one is first) for one in pipelines
    ]
    shape: dict[str, Any] = {"replicas": 1, "selector": {"matchLabels": _labels(part)}}
    if kind == "StatefulSet":  # a validator that runs twice is fenced; it is not to be tried
        shape["serviceName"] = name
    else:
        shape["strategy"] = {"type": "Recreate"}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": _labels(part)},
        "spec": {
            **shape,
            "template": {
                "metadata": {"labels": _labels(part)},
                "spec": {
                    "terminationGracePeriodSeconds": site.stop_seconds,
                    "securityContext": pod_security(),
                    "containers": containers,
                    "volumes": [data_volume(CLAIM)],
                },
            },
        },
    }


def _service(part: str, pipelines: tuple[Pipeline, ...]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"{RELEASE}-{part}", "labels": _labels(part)},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,  # who is not ready is to be scraped all the more
            "selector": _labels(part),
            "ports": service_ports(pipelines),
        },
    }


def _claim() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM, "labels": _labels("data")},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": STORAGE_CLASS,
            "resources": {"requests": {"storage": "{{ .Values.data.size }}"}},
        },
    }


def _scrape(site: Site) -> dict[str, Any]:
    hosts = {
        one.name: f"{RELEASE}-{PROVING if one.name == PROVING else 'node'}"
        for one in site.pipelines
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{RELEASE}-prometheus", "labels": _labels("watch")},
        "data": {"prometheus.yml": as_yaml(scrape_configuration(site.targets(hosts)))},
    }


def _dashboard() -> dict[str, Any]:
    """Returns the dashboard as a ConfigMap; encoded, since its legends look like Helm's own marks."""
    labels = {**_labels("watch"), "grafana_dashboard": "1"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{RELEASE}-dashboard", "labels": labels},
        "binaryData": {"ecliptica.json": f"{{{{ .Files.Get `{DASHBOARD_FILE}` | b64enc }}}}"},
    }
