from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from operators.event_log import Append, FencedError, Record
from operators.log_memory import MemoryLog, MemoryStore
from operators.metered_log import MeteredLog
from operators.metrics import NO_METRICS, Metrics, PrometheusMetrics
from schemas.errors import InvariantError
from schemas.metrics import BATCH_RECORDS, METRICS, READER_BATCH, MetricKind

NOW = 1_800_000_000_000


def samples(metrics: PrometheusMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def record_each(metrics: Metrics) -> None:
    for metric in METRICS:
        values = [f"a-{label}" for label in metric.labels]
        if metric.kind is MetricKind.COUNTER:
            metrics.count(metric, *values, by=3)
        elif metric.kind is MetricKind.GAUGE:
            metrics.set(metric, 3, *values)
        else:
            metrics.observe(metric, metric.buckets[0], *values)


def test_every_metric_is_exposed_under_its_name_labels_and_help() -> None:
    metrics = PrometheusMetrics()
    record_each(metrics)
    record_each(metrics)
    found = samples(metrics)
    text = metrics.exposition().decode()
    for metric in METRICS:
        labels = tuple(sorted((label, f"a-{label}") for label in metric.labels))
        if metric.kind is MetricKind.HISTOGRAM:
            assert found[metric.name + "_count", labels] == 2
            assert found[metric.name + "_sum", labels] == pytest.approx(2 * metric.buckets[0])
            within = tuple(sorted((*labels, ("le", str(float(metric.buckets[0]))))))
            assert found[metric.name + "_bucket", within] == 2
        else:
            assert found[metric.name, labels] == (6 if metric.kind is MetricKind.COUNTER else 3)
        assert f"# HELP {metric.name} {metric.meaning}\n" in text


def test_the_shared_one_takes_everything_and_keeps_nothing() -> None:
    record_each(NO_METRICS)
    assert not hasattr(NO_METRICS, "exposition")


def test_a_metric_of_another_kind_or_with_other_labels_is_a_defect() -> None:
    metrics = PrometheusMetrics()
    with pytest.raises(InvariantError, match="is a histogram"):
        metrics.count(READER_BATCH, "r")
    with pytest.raises(InvariantError, match="with labels"):
        metrics.observe(READER_BATCH, 1.0)


def test_a_metered_log_tells_what_was_read_written_and_lost() -> None:
    store = MemoryStore()
    store.now_millis = lambda: NOW
    metrics = PrometheusMetrics()
    log = MeteredLog(MemoryLog("memory://m", store), metrics)
    log.create_topics({"in": 1, "out": 1})
    log.append("in", [Record(bytes([n])) for n in range(5)])
    reader = log.reader("r", ["in"])
    assert len(reader.poll(3)) == 3
    reader.commit([Append("out", [Record(b"a"), Record(b"b")])])
    assert reader.poll(3)[-1].value == b"\x04"
    assert reader.poll(3) == []
    log.append("in", [Record(b"late")])
    lag = log.measure(NOW + 1500)
    assert (lag.records, lag.millis) == (1, 1500)
    log.reader("r", ["in"])
    with pytest.raises(FencedError):
        reader.commit()

    found = samples(metrics)
    of_reader = (("reader", "r"),)
    assert found["ecliptica_reader_records_total", of_reader] == 5
    assert found["ecliptica_reader_batch_records_count", of_reader] == 2
    assert found["ecliptica_reader_batch_records_sum", of_reader] == 5
    assert found["ecliptica_reader_commit_seconds_count", of_reader] == 1
    assert found["ecliptica_reader_lag_records", of_reader] == 1
    assert found["ecliptica_reader_lag_seconds", of_reader] == 1.5
    aborts = (("kind", "FencedError"), ("reader", "r"))
    assert found["ecliptica_reader_aborts_total", aborts] == 1
    assert found["ecliptica_log_records_total", (("topic", "in"),)] == 6
    assert found["ecliptica_log_records_total", (("topic", "out"),)] == 2
    assert found["ecliptica_log_append_seconds_count", (("topic", "in"),)] == 2


def test_the_largest_batch_of_any_driver_has_a_bucket() -> None:
    from operators import consensus_node, prover_role, pyramid_role, stage_driver  # noqa: PLC0415

    polls = [m.POLL_RECORDS for m in (consensus_node, prover_role, pyramid_role, stage_driver)]
    assert max(polls) == BATCH_RECORDS[-1]
