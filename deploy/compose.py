"""Docker Compose: one service per pipeline over one volume, and Prometheus with Grafana beside them.

The first service makes the chain; the others wait until it is ready. They share a data directory on one machine, so
the embedded log serves as well as Kafka.
"""

from __future__ import annotations

from typing import Any

from deploy.grafana_dashboard import as_json
from deploy.prometheus_scrape import as_yaml, scrape_configuration
from deploy.site import DATA, Pipeline, Site

PROMETHEUS_IMAGE = "prom/prometheus:v3.5.0"
GRAFANA_IMAGE = "grafana/grafana:12.1.0"
PROMETHEUS_PORT = 9090
GRAFANA_PORT = 3000
"""Ports that the two images answer at."""

START_SECONDS = 120
"""How long a start may take before a failed check counts: imports and replay on a busy machine."""

CHECK_SECONDS = 10

WATCHING = "watch"
"""Profile of the two: `docker compose --profile watch up`."""


def compose_files(site: Site) -> dict[str, str]:
    """Returns the files by path, to lie in one directory."""
    hosts = {pipeline.name: pipeline.name for pipeline in site.pipelines}
    return {
        "compose.yaml": as_yaml(_compose(site)),
        "prometheus.yml": as_yaml(scrape_configuration(site.targets(hosts))),
        "grafana/ecliptica.json": as_json(),
        "grafana/datasources.yml": as_yaml(grafana_datasources("prometheus")),
        "grafana/dashboards.yml": as_yaml(GRAFANA_DASHBOARDS),
    }


def grafana_datasources(host: str) -> dict[str, Any]:
    """Returns the provisioning of Grafana's data source."""
    return {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "Prometheus",
                "type": "prometheus",
                "url": f"http://{host}:{PROMETHEUS_PORT}",
                "isDefault": True,
            }
        ],
    }


GRAFANA_DASHBOARDS: dict[str, Any] = {
    "apiVersion": 1,
    "providers": [
        {
            "name": "ecliptica",
            "type": "file",
            "options": {"path": "/var/lib/grafana/dashboards"},
        }
    ],
}
"""Provisioning of Grafana's dashboards."""


def ready_check(port: int) -> list[str]:
    """Returns a command that succeeds when a process is ready; the image has no curl."""
    url = f"http://127.0.0.1:{port}/ready"
    return ["python", "-c", f"import urllib.request; urllib.request.urlopen('{url}', timeout=5)"]


def _compose(site: Site) -> dict[str, Any]:
    first, *rest = site.pipelines
    services = {first.name: _service(site, first)}
    for pipeline in rest:
        waits = {first.name: {"condition": "service_healthy"}}
        services[pipeline.name] = {**_service(site, pipeline), "depends_on": waits}
    return {
        "name": f"ecliptica-{site.chain}",
        "services": {**services, "prometheus": _prometheus(), "grafana": _grafana()},
        "volumes": {"data": {}, "prometheus": {}, "grafana": {}},
    }


def _service(site: Site, pipeline: Pipeline) -> dict[str, Any]:
    return {
        "image": site.image,
        "command": list(pipeline.arguments),
        "environment": dict(site.environment),
        "volumes": [f"data:{DATA}"],
        "restart": "unless-stopped",
        "stop_grace_period": f"{site.stop_seconds}s",
        "healthcheck": {
            "test": ["CMD", *ready_check(pipeline.port)],
            "interval": f"{CHECK_SECONDS}s",
            "start_period": f"{START_SECONDS}s",
        },
        **({"shm_size": "1gb"} if pipeline.name == "proving" else {}),  # Ray's object store
    }


def _prometheus() -> dict[str, Any]:
    return {
        "image": PROMETHEUS_IMAGE,
        "profiles": [WATCHING],
        "volumes": [
            "./prometheus.yml:/etc/prometheus/prometheus.yml:ro",
            "prometheus:/prometheus",
        ],
        "ports": [f"127.0.0.1:{PROMETHEUS_PORT}:{PROMETHEUS_PORT}"],
    }


def _grafana() -> dict[str, Any]:
    return {
        "image": GRAFANA_IMAGE,
        "profiles": [WATCHING],
        "volumes": [
            "./grafana/datasources.yml:/etc/grafana/provisioning/datasources/ecliptica.yml:ro",
            "./grafana/dashboards.yml:/etc/grafana/provisioning/dashboards/ecliptica.yml:ro",
            "./grafana/ecliptica.json:/var/lib/grafana/dashboards/ecliptica.json:ro",
            "grafana:/var/lib/grafana",
        ],
        "ports": [f"127.0.0.1:{GRAFANA_PORT}:{GRAFANA_PORT}"],
    }
