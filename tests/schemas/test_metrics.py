from __future__ import annotations

import re

import pytest

from schemas.errors import ParameterError
from schemas.metrics import LABELS, METRICS, Metric, MetricKind

UNITS = [
    "blocks",
    "bytes",
    "epochs",
    "events",
    "info",
    "jobs",
    "jobs",
    "letters",
    "messages",
    "number",
    "proofs",
    "records",
    "restarts",
    "rows",
    "seconds",
]
UNITS += ["state", "timeouts", "transactions", "aborts"]


def test_every_name_is_there_once_and_ends_in_its_unit() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names)) > 30
    for name in names:
        assert re.fullmatch(rf"ecliptica_[a-z_]+_({'|'.join(UNITS)})(_total)?", name), name


def test_every_metric_has_a_sentence_of_help_and_every_label_is_used() -> None:
    for metric in METRICS:
        assert metric.meaning[:1].strip(), metric.name
        assert metric.meaning.endswith("."), metric.name
    assert {label for metric in METRICS for label in metric.labels} == set(LABELS)


@pytest.mark.parametrize(
    ("name", "kind", "labels", "buckets"),
    [
        ("ecliptica_a_records", MetricKind.COUNTER, (), ()),
        ("ecliptica_a_records_total", MetricKind.GAUGE, (), ()),
        ("a_records_total", MetricKind.COUNTER, (), ()),
        ("ecliptica_a_records_total", MetricKind.COUNTER, ("offset",), ()),
        ("ecliptica_a_records_total", MetricKind.COUNTER, ("key",), ()),
        ("ecliptica_a_seconds", MetricKind.HISTOGRAM, (), ()),
        ("ecliptica_a_seconds", MetricKind.HISTOGRAM, (), (2.0, 1.0)),
        ("ecliptica_a_seconds", MetricKind.GAUGE, (), (1.0, 2.0)),
    ],
)
def test_what_breaks_the_rules_is_no_metric(
    name: str, kind: MetricKind, labels: tuple[str, ...], buckets: tuple[float, ...]
) -> None:
    with pytest.raises(ParameterError):
        Metric(name, kind, "Something.", labels, buckets)
