"""`ecliptica deploy render`: manifests from the merged configuration, so that a port, flag or limit stands in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from deploy.compose import compose_files
from deploy.helm import chart_files
from deploy.kuberay import RAY_ADDRESS, TOKEN_KEY, kuberay_files, secret_name
from deploy.prometheus_scrape import as_yaml, scrape_configuration
from deploy.site import DATA, LISTEN, Pipeline, ProverCrew, Site
from pipelines.node_plan import SERVICE_ROLES, command_name, metrics_ports, process_names
from pipelines.settings import Settings, environment_name, setting_rows
from pipelines.supervisor import STOP_SECONDS
from schemas.config import Configuration
from schemas.errors import EnvironmentMissing, ParameterError

DEFAULT_PORT: Final = 9400
"""First port of the endpoints if the configuration switches them off: what runs in containers is always watched."""

PIPELINES = ("consensus", "admission", "proving", "export")
"""Pipelines of a site in the order of starting; the first makes the chain."""

DRAIN_MARGIN_SECONDS = 10
"""What a command needs beyond its children's time to drain."""

SET_BY_SITE = frozenset({"storage.data", "metrics.host"})
"""Settings that the manifest itself decides; `demo.*` is left out but for the seed, which gives the issuer's key."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What was rendered.

    Attributes:
        files: Text by path.
        then: What to do with them.
    """

    files: Mapping[str, str]
    then: str


def render(target: str, settings: Settings) -> Rendered:
    """Returns the manifests of a target.

    Raises:
        ParameterError: The target is none, or the configuration does not fit it.
        EnvironmentMissing: The target is not built yet.
    """
    makers: dict[str, Callable[[Settings], Rendered]] = {
        "compose": _compose,
        "helm": _helm,
        "kuberay": _kuberay,
        "prometheus": _prometheus,
        "flink": _flink,
    }
    if settings.configuration.streaming.runner != "loop":
        raise EnvironmentMissing(
            "not built yet: manifests of a chain whose windows are closed by Beam",
            "render with streaming.runner = loop",
        )
    if target not in makers:
        raise ParameterError(f"there is no target {target!r}", f"targets: {', '.join(makers)}")
    return makers[target](settings)


def site_of(settings: Settings) -> Site:
    """Returns the site of a configuration; its endpoints answer on every address of their container."""
    configuration = _watched(settings.configuration)
    ports = metrics_ports(configuration)
    pipelines = tuple(
        Pipeline(
            name,
            ("run", name),
            ports[command_name(name)],
            {
                process: ports[process]
                for process in (
                    command_name(name),
                    *process_names(configuration, SERVICE_ROLES.get(name, ())),
                )
            },
        )
        for name in PIPELINES
    )
    return Site(
        image=f"ecliptica:{version('ecliptica')}",
        chain=configuration.chain.number,
        log_url=configuration.storage.log_url or f"sqlite:///{DATA}/log.sqlite",
        environment=_environment(settings, configuration),
        pipelines=pipelines,
        stop_seconds=int(STOP_SECONDS) + DRAIN_MARGIN_SECONDS,
    )


def _watched(configuration: Configuration) -> Configuration:
    port = configuration.metrics.port or DEFAULT_PORT
    metrics = configuration.metrics.model_copy(update={"port": port, "host": LISTEN})
    return configuration.model_copy(update={"metrics": metrics})


def _environment(settings: Settings, configuration: Configuration) -> dict[str, str]:
    """Returns the settings that somebody has chosen, and those of the site, as variables."""
    chosen = {
        row.key: _as_text(row.value)
        for row in setting_rows(settings)
        if row.origin != "default" and not row.origin.startswith("profile ")
        if row.key not in SET_BY_SITE and (row.key == "demo.seed" or "demo." not in row.key)
    }
    chosen |= {
        "profile": configuration.profile,
        "storage.data": DATA,
        "metrics.port": str(configuration.metrics.port),
        "metrics.host": configuration.metrics.host,
    }
    return {environment_name(key): value for key, value in chosen.items()}


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _compose(settings: Settings) -> Rendered:
    then = "docker compose --profile watch up, in their directory"
    return Rendered(compose_files(site_of(settings)), then)


def _helm(settings: Settings) -> Rendered:
    site = _shared_site(settings)
    files = chart_files(site, version("ecliptica"))
    return Rendered(files, "helm install NAME DIRECTORY --set data.storageClass=CLASS")


def _kuberay(settings: Settings) -> Rendered:
    site = _shared_site(settings)
    proving = settings.configuration.proving
    if proving.backend == "cuda":
        raise EnvironmentMissing(
            "not built yet: an image with CuPy, which GPU workers need",
            "render with proving.backend = cpu",
        )
    if not proving.workers or (proving.pyramid and not proving.pyramid_workers):
        raise ParameterError(
            "a cluster has no cores of its own to count",
            "say proving.workers and proving.pyramid_workers",
        )
    recursive = proving.pyramid_workers if proving.pyramid else 0
    crew = ProverCrew(proving.workers, recursive, proving.pyramid_threads)
    joined = {**site.environment, environment_name("proving.ray_address"): RAY_ADDRESS}
    joint = Site(site.image, site.chain, site.log_url, joined, site.pipelines, site.stop_seconds)
    files = kuberay_files(joint, crew, version("ray"), "ecliptica-data")
    secret = f"kubectl create secret generic {secret_name(site.chain)} --from-file={TOKEN_KEY}=FILE"
    chain = "helm install ecliptica ... --set proving.enabled=false"
    then = f"{chain}; {secret}; kubectl apply -f raycluster.yaml"
    return Rendered(files, then)


def _prometheus(settings: Settings) -> Rendered:
    """Renders the scrape configuration of processes that all run on the machine that Prometheus runs on."""
    configuration = settings.configuration
    port = configuration.metrics.port or DEFAULT_PORT
    metrics = configuration.metrics.model_copy(update={"port": port})
    ports = metrics_ports(configuration.model_copy(update={"metrics": metrics}))
    targets = {process: f"{metrics.host}:{at}" for process, at in ports.items()}
    files = {"prometheus.yml": as_yaml(scrape_configuration(targets))}
    return Rendered(
        files, f"prometheus --config.file=prometheus.yml; ECLIPTICA_METRICS_PORT={port}"
    )


def _flink(_: Settings) -> Rendered:
    raise EnvironmentMissing(
        "not built yet: `deploy render flink` needs the pipelines on Flink",
        "compose, helm, kuberay and prometheus are there",
    )


def _shared_site(settings: Settings) -> Site:
    """Returns a site over several machines.

    Raises:
        ParameterError: Its log is a file.
    """
    site = site_of(settings)
    if not site.log_url.startswith("kafka://"):
        raise ParameterError(
            f"pods on several machines cannot share the log {site.log_url}",
            "say --log kafka://HOST:PORT/NAME",
        )
    return site
