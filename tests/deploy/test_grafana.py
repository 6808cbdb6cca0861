"""The dashboard shows every metric, and none that is not there."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from deploy.grafana_dashboard import FILE, as_json, dashboard
from operators.metrics import PrometheusMetrics
from schemas.metrics import METRICS, MetricKind
from tests.suites.promql import PromqlError, selectors

TARGET_LABELS = {"instance", "role", "job", "le"}
"""Labels that the scrape configuration and histograms add."""

GRAFANA_COLUMNS = 24


def known() -> dict[str, tuple[MetricKind, set[str]]]:
    found: dict[str, tuple[MetricKind, set[str]]] = {}
    for metric in METRICS:
        names = [metric.name]
        if metric.kind is MetricKind.HISTOGRAM:
            names = [f"{metric.name}_{part}" for part in ("bucket", "sum", "count")]
        for name in names:
            kind = MetricKind.COUNTER if metric.kind is MetricKind.HISTOGRAM else metric.kind
            found[name] = kind, set(metric.labels)
    exposed = PrometheusMetrics().exposition().decode()
    for name, kind in re.findall(r"# TYPE (process_\w+) (\w+)", exposed):
        found[name] = MetricKind(kind), set()
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def targets() -> list[tuple[str, str]]:
    return [(target["expr"], target["legendFormat"]) for p in panels() for target in p["targets"]]


def test_the_stored_dashboard_is_the_tables() -> None:
    assert FILE.read_text(encoding="utf-8") == as_json()
    assert json.loads(as_json())["uid"] == "ecliptica"


@pytest.mark.parametrize(("expression", "legend"), targets())
def test_an_expression_names_metrics_and_labels_that_there_are(
    expression: str, legend: str
) -> None:
    metrics = known()
    found = selectors(expression)
    assert found
    for selector in found:
        kind, labels = metrics[selector.name]
        assert selector.labels <= labels | TARGET_LABELS
        assert selector.is_range == (kind is MetricKind.COUNTER)
        assert ("le" in selector.labels) == selector.name.endswith("_bucket")
    shown = set(re.findall(r"{{(\w+)}}", legend))
    assert shown <= set.union(*(selector.labels for selector in found))


def test_every_metric_is_on_some_panel() -> None:
    shown = {selector.name for expression, _ in targets() for selector in selectors(expression)}
    missing = [
        metric.name
        for metric in METRICS
        if not {metric.name, f"{metric.name}_bucket", f"{metric.name}_sum"} & shown
    ]
    assert missing == []


def test_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    every = dashboard()["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    cells: set[tuple[int, int]] = set()
    for panel in every:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= GRAFANA_COLUMNS
        own = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not own & cells
        cells |= own
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert len(set(legends)) == len(legends)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "sum by (a) (rate(b_total[5m])",
        "rate(b_total)",
        "sum(b) c",
        "histogram_quantile(2, sum by (le) (rate(b_bucket[5m])))",
        "histogram_quantile(0.9, sum by (a) (rate(b_bucket[5m])))",
        "topk(3, b)",
        "b{a=1}",
        "sum by () (b)",
    ],
)
def test_what_the_parser_does_not_know_does_not_pass(expression: str) -> None:
    with pytest.raises(PromqlError):
        selectors(expression)


def test_the_parser_finds_metrics_and_their_labels() -> None:
    (one, two) = selectors('sum by (a, b) (rate(x_total{c=~"d.*"}[5m])) / max(y)')
    assert (one.name, one.labels, one.is_range) == ("x_total", {"a", "b", "c"}, True)
    assert (two.name, two.labels, two.is_range) == ("y", set(), False)
