"""Manifests parse, and name only images, commands, ports, settings and fields that there are."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from deploy.compose import GRAFANA_IMAGE, PROMETHEUS_IMAGE
from deploy.kuberay import SHARED_GIBIBYTES
from pipelines.cli.main import build_app
from pipelines.deployment import PIPELINES, render, site_of
from pipelines.node_plan import ROLES, SERVICE_ROLES, metrics_ports
from pipelines.settings import Settings, environment_name, load_settings, setting_keys
from schemas.config import profile_configuration
from schemas.errors import EnvironmentMissing, ParameterError

ROOT = Path(__file__).resolve().parents[2]
KAFKA = "kafka://broker:9092/ledger"
CROWD = {"proving.workers": 6, "proving.pyramid_workers": 2, "proving.pyramid_threads": 3}
TARGETS = ("compose", "helm", "kuberay", "prometheus")
VALUE = re.compile(r"\{\{ (?:required `[^`]*` )?\.(Values|Release|Files)\.?([\w.]*)([^}]*)\}\}")


def settings(**more: Any) -> Settings:
    flags = {"storage.log_url": KAFKA, **CROWD, **more}
    return load_settings(flags=flags, environment={})


def documents(target: str, chosen: Settings | None = None) -> Iterator[tuple[str, Any]]:
    for path, text in render(target, chosen or settings()).files.items():
        if path.endswith(("yaml", "yml")):
            for document in yaml.safe_load_all(text):
                yield path, document


def containers(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "image" in node and ("command" in node or "name" in node):
            yield node
        for value in node.values():
            yield from containers(value)
    elif isinstance(node, list):
        for value in node:
            yield from containers(value)


def parse_cli(arguments: list[str]) -> None:
    """Runs the real command with what a manifest says; only `--dry-run` is added."""
    result = CliRunner().invoke(build_app(), [*arguments, "--dry-run"], env={"ECLIPTICA_DATA": "d"})
    assert result.exit_code == 0, result.output


def own_image() -> str:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return f"ecliptica:{version}"


@pytest.mark.parametrize("target", TARGETS)
def test_a_manifest_is_yaml_in_one_document_per_object(target: str) -> None:
    found = list(documents(target))
    assert found
    assert all(isinstance(document, dict) and document for _, document in found)


@pytest.mark.parametrize("target", TARGETS)
def test_images_are_ours_or_those_of_what_watches(target: str) -> None:
    images = {one["image"] for _, document in documents(target) for one in containers(document)}
    assert images <= {own_image(), PROMETHEUS_IMAGE, GRAFANA_IMAGE, "{{ .Values.image }}"}
    if target == "helm":
        assert dict(documents("helm"))["values.yaml"]["image"] == own_image()


def test_compose_runs_commands_that_there_are_in_an_order_that_makes_the_chain_first() -> None:
    (compose,) = [document for path, document in documents("compose") if path == "compose.yaml"]
    services = compose["services"]
    assert list(services) == [*PIPELINES, "prometheus", "grafana"]
    for name in PIPELINES:
        parse_cli(services[name]["command"])
        assert services[name]["command"] == ["run", name]
        assert "depends_on" not in services[name] or services[name]["depends_on"] == {
            PIPELINES[0]: {"condition": "service_healthy"}
        }
    assert "depends_on" not in services[PIPELINES[0]]
    assert {one.split(":")[0] for name in PIPELINES for one in services[name]["volumes"]} <= set(
        compose["volumes"]
    )
    files = set(render("compose", settings()).files)
    mounted = {
        one.split(":")[0].removeprefix("./")
        for service in services.values()
        for one in service["volumes"]
        if one.startswith("./")
    }
    assert mounted == files - {"compose.yaml"}


@pytest.mark.parametrize("target", ["helm", "kuberay"])
def test_pods_run_commands_that_there_are(target: str) -> None:
    ran = []
    for _, document in documents(target):
        for one in containers(document):
            script = (one.get("command") or ["", "", ""])[2]
            found = re.fullmatch(
                r"(until test -f /data/genesis\.json; do sleep 1; done; )?exec ecliptica (.+)",
                script,
            )
            if found:
                parse_cli(found[2].split())
                assert bool(found[1]) == (one["name"] != PIPELINES[0])
                ran.append(one["name"])
    assert sorted(ran) == sorted(PIPELINES if target == "helm" else ["proving"])


@pytest.mark.parametrize("target", ["compose", "helm", "kuberay"])
def test_every_variable_is_a_setting_and_gives_the_configuration_back(target: str) -> None:
    known = {environment_name(key) for key in setting_keys()}
    chosen = settings(**{"chain.number": 9, "chain.shards": 1, "demo.seed": 3})
    found = []
    for _, document in documents(target, chosen):
        if target == "compose":
            services = document.get("services", {}).values()
            found += [one["environment"] for one in services if "environment" in one]
        elif document.get("kind") == "ConfigMap" and document["metadata"]["name"].endswith(
            "settings"
        ):
            found.append(document["data"])
    assert found
    for environment in found:
        assert set(environment) <= known
        assert all(isinstance(value, str) for value in environment.values())
        inside = load_settings(environment=environment).configuration
        outside = chosen.configuration
        assert (inside.chain, inside.clock, inside.demo.seed) == (
            outside.chain,
            outside.clock,
            outside.demo.seed,
        )
        assert inside.storage.log_url == KAFKA
        assert inside.storage.data == "/data"
        assert inside.metrics.host == "0.0.0.0"  # noqa: S104
        assert bool(inside.proving.ray_address) == (target == "kuberay")
        wanted = outside.proving.model_copy(update={"ray_address": inside.proving.ray_address})
        assert inside.proving == wanted


def test_a_switch_that_is_off_is_off_inside() -> None:
    chosen = settings(**{"proving.pyramid": False})
    environment = site_of(chosen).environment
    assert load_settings(environment=environment).configuration.proving.pyramid is False
    assert not [
        name
        for pipeline in site_of(chosen).pipelines
        for name in pipeline.processes
        if name == "pyramid"
    ]


@pytest.mark.parametrize("target", ["compose", "helm", "prometheus"])
def test_every_process_is_scraped_once_at_the_port_of_the_plan(target: str) -> None:
    chosen = settings(**{"metrics.port": 9500})
    ports = metrics_ports(chosen.configuration)
    scraped: dict[str, str] = {}
    for path, document in documents(target, chosen):
        if path == "prometheus.yml":
            scrape = document
        elif path == "templates/prometheus.yaml":
            scrape = yaml.safe_load(document["data"]["prometheus.yml"])
        else:
            continue
        (job,) = scrape["scrape_configs"]
        for entry in job["static_configs"]:
            (place,) = entry["targets"]
            assert entry["labels"]["instance"] not in scraped
            scraped[entry["labels"]["instance"]] = place
            role = entry["labels"]["role"]
            assert role in ROLES or role in {"demo"} or role.startswith("run-")
    running = {
        f"run-{name}"
        for name in (PIPELINES if target != "prometheus" else (*SERVICE_ROLES, "export"))
        if name != "windows"  # where the runner is the loop, nobody starts it
    }
    processes = set(ports) - {name for name in ports if name.startswith("run-")} - {"demo"}
    extra = {"demo"} if target == "prometheus" else set()
    assert set(scraped) == processes | running | extra
    assert {name: int(place.rpartition(":")[2]) for name, place in scraped.items()} == {
        name: ports[name] for name in scraped
    }


def test_the_stored_scrape_configuration_is_that_of_the_sample() -> None:
    sample = load_settings(ROOT / "deploy" / "ecliptica.sample.toml", environment={})
    stored = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    assert stored == render("prometheus", sample).files["prometheus.yml"]


def test_compose_and_helm_scrape_hosts_that_there_are() -> None:
    found = dict(documents("compose"))
    hosts = {
        entry["targets"][0].partition(":")[0]
        for entry in found["prometheus.yml"]["scrape_configs"][0]["static_configs"]
    }
    assert hosts <= set(found["compose.yaml"]["services"])
    chart = dict(documents("helm"))
    scrape = yaml.safe_load(chart["templates/prometheus.yaml"]["data"]["prometheus.yml"])
    services = {
        document["metadata"]["name"]: {port["port"] for port in document["spec"]["ports"]}
        for document in chart.values()
        if document.get("kind") == "Service"
    }
    for entry in scrape["scrape_configs"][0]["static_configs"]:
        host, _, port = entry["targets"][0].rpartition(":")
        assert int(port) in services[host]


def test_every_probe_asks_a_path_and_a_port_that_answer() -> None:
    ports = {
        process: at
        for one in site_of(settings()).pipelines
        for process, at in one.processes.items()
    }
    for target in ("helm", "kuberay"):
        for _, document in documents(target):
            for one in containers(document):
                stated = {port["containerPort"] for port in one.get("ports", [])}
                for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                    probe = one.get(kind, {}).get("httpGet")
                    if probe:
                        assert probe["path"] in {"/health", "/ready"}
                        assert probe["port"] in stated & set(ports.values())
                for port in one.get("ports", []):
                    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?", port["name"])


def fill(text: str, values: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """What Helm would fill in, for the forms that the chart uses; an unknown one fails."""

    def put(match: re.Match[str]) -> str:
        kind, path, rest = match[1], match[2], match[3].strip()
        if kind == "Values":
            found: Any = values
            for part in path.split("."):
                found = found[part]
            return str(found)
        if kind == "Release":
            assert path == "Name"
            return "led"
        wanted = re.fullmatch(r"`([^`]+)` \| b64enc", rest)
        assert path == "Get"
        assert wanted is not None
        assert wanted[1] in files
        return "encoded"

    conditions = re.findall(r"^# \{\{ (if \.Values\.[\w.]+|end) \}\}$", text, re.MULTILINE)
    assert conditions in ([], ["if .Values.proving.enabled", "end"])
    filled = VALUE.sub(put, re.sub(r"^# \{\{.*\}\}$", "#", text, flags=re.MULTILINE))
    assert "{{" not in filled, filled
    return filled


def test_the_chart_fills_in_only_values_that_it_has() -> None:
    files = render("helm", settings()).files
    values = yaml.safe_load(files["values.yaml"])
    assert isinstance(values["proving"]["enabled"], bool)
    names: dict[tuple[str, str], str] = {}
    for path, text in files.items():
        if not path.startswith("templates/"):
            continue
        document = yaml.safe_load(fill(text, values, files))
        names[document["kind"], document["metadata"]["name"]] = path
    for path, text in files.items():
        if not path.startswith("templates/"):
            continue
        document = yaml.safe_load(fill(text, values, files))
        template = document.get("spec", {}).get("template", {}).get("spec", {})
        for volume in template.get("volumes", []):
            assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in names
        for one in template.get("containers", []):
            for source in one["envFrom"]:
                assert ("ConfigMap", source["configMapRef"]["name"]) in names
            mounts = {mount["name"] for mount in one["volumeMounts"]}
            assert mounts <= {volume["name"] for volume in template["volumes"]}


CLUSTER_FIELDS = {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
HEAD_FIELDS = {"rayStartParams", "template"}
GROUP_FIELDS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
"""Fields of the RayCluster of ray.io/v1 that the manifest uses; all but `rayVersion` are required there."""


def test_the_ray_cluster_has_the_fields_of_its_definition_and_the_workers_of_the_configuration() -> (
    None
):
    by_kind = {document["kind"]: document for _, document in documents("kuberay")}
    cluster = by_kind["RayCluster"]
    then = render("kuberay", settings()).then
    assert cluster["apiVersion"] == "ray.io/v1"
    assert set(cluster["spec"]) == CLUSTER_FIELDS
    locked = re.search(r"^ray==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked is not None
    assert cluster["spec"]["rayVersion"] == locked[1]
    head = cluster["spec"]["headGroupSpec"]
    assert set(head) == HEAD_FIELDS
    assert (
        head["template"]["spec"]["containers"][0]["name"] == "ray-head"
    )  # KubeRay starts the first
    groups = cluster["spec"]["workerGroupSpecs"]
    assert all(set(group) == GROUP_FIELDS for group in groups)
    assert {
        group["groupName"]: (group["replicas"], group["rayStartParams"]) for group in groups
    } == {"workers": (2, {"num-cpus": "3"})}
    for group in (head, *groups):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for one in pod["containers"]:
            variables = {entry["name"]: entry for entry in one["env"]}
            assert variables["RAY_AUTH_MODE"]["value"] == "token"
            assert variables["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] in then
            assert {mount["name"] for mount in one.get("volumeMounts", [])} <= volumes
            assert "command" not in one or one["name"] == "proving"
    assert (
        int(groups[0]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"][:-2])
        > SHARED_GIBIBYTES
    )


def test_what_does_not_fit_is_refused_with_the_next_step() -> None:
    with pytest.raises(EnvironmentMissing, match="not built yet") as found:
        render("flink", settings())
    assert found.value.exit_code == 5
    with pytest.raises(EnvironmentMissing, match="whose windows are closed by Beam"):
        render("compose", settings(**{"streaming.runner": "direct"}))
    with pytest.raises(ParameterError, match="cannot share the log sqlite:"):
        render("helm", load_settings(environment={}))
    with pytest.raises(ParameterError, match="no cores of its own"):
        render("kuberay", settings(**{"proving.workers": 0}))
    with pytest.raises(EnvironmentMissing, match="CuPy"):
        render("kuberay", settings(**{"proving.backend": "cuda"}))
    with pytest.raises(ParameterError, match="no target 'swarm'"):
        render("swarm", settings())


def test_endpoints_are_on_in_containers_even_if_the_configuration_has_none() -> None:
    assert profile_configuration("local").metrics.port == 0
    site = site_of(load_settings(environment={}))
    assert min(pipeline.port for pipeline in site.pipelines) > 0
    assert int(site.environment["ECLIPTICA_METRICS_PORT"]) > 0


def test_the_image_is_built_of_files_that_there_are_and_runs_the_command() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ")]
    assert all((ROOT / name).exists() for names in copied for name in names)
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) | {
        "requirements.lock",
        "pyproject.toml",
        project["project"]["readme"],
    } == {name for names in copied for name in names}
    assert any("--require-hashes" in line and "requirements.lock" in line for line in lines)
    (entry,) = [line for line in lines if line.startswith("ENTRYPOINT ")]
    assert entry == f'ENTRYPOINT ["{next(iter(project["project"]["scripts"]))}"]'
    (base,) = [line for line in lines if line.startswith("FROM ")]
    major, minor = base.removeprefix("FROM python:").removesuffix("-slim").split(".")
    assert (int(major), int(minor)) >= (3, 11)


def test_the_command_prints_or_writes_what_is_rendered(tmp_path: Path) -> None:
    arguments = ["deploy", "render", "compose", "--out", str(tmp_path)]
    result = CliRunner().invoke(build_app(), arguments, env={})
    assert result.exit_code == 0, result.output
    written = {
        str(path.relative_to(tmp_path)): path.read_text(encoding="utf-8")
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert written == render("compose", load_settings(environment={})).files
