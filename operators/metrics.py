"""Recording metrics: a port that drivers hold, a shared no-op, and Prometheus behind it once it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from schemas.errors import EnvironmentMissing, InvariantError
from schemas.metrics import Metric, MetricKind

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class Metrics(Protocol):
    """Where drivers record; label values stand in the order of `Metric.labels`."""

    def count(self, metric: Metric, *labels: str, by: float = 1.0) -> None:
        """Adds to a counter; `by` >= 0."""
        ...

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Sets a gauge."""
        ...

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Puts one value into a histogram."""
        ...


class NoMetrics:
    """Records nothing: what every driver holds until metrics are enabled."""

    def count(self, metric: Metric, *labels: str, by: float = 1.0) -> None:
        """See `Metrics`."""

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Metrics`."""

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Metrics`."""


NO_METRICS: Final = NoMetrics()
"""The shared one."""


class PrometheusMetrics:
    """Metrics of one process in a registry of its own, with what the system says of the process (`process_*`).

    Recording is safe from any thread, and so is `exposition`.
    """

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        """Makes an empty registry.

        Raises:
            EnvironmentMissing: The package prometheus-client is not installed.
        """
        try:
            import prometheus_client as client  # noqa: PLC0415 - only where metrics are enabled
        except ImportError as error:
            raise EnvironmentMissing(
                f"metrics need the package prometheus-client: {error}",
                "make install, or metrics.port = 0",
            ) from error
        client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._client = client
        self.registry: CollectorRegistry = client.CollectorRegistry(auto_describe=False)
        client.ProcessCollector(registry=self.registry)
        self._families: dict[str, Any] = {}
        self._children: dict[tuple[str, ...], Any] = {}

    def count(self, metric: Metric, *labels: str, by: float = 1.0) -> None:
        """See `Metrics`."""
        child = self._children.get((metric.name, *labels))
        (child or self._child(metric, MetricKind.COUNTER, labels)).inc(by)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Metrics`."""
        child = self._children.get((metric.name, *labels))
        (child or self._child(metric, MetricKind.GAUGE, labels)).set(value)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Metrics`."""
        child = self._children.get((metric.name, *labels))
        (child or self._child(metric, MetricKind.HISTOGRAM, labels)).observe(value)

    def exposition(self) -> bytes:
        """Returns everything recorded in Prometheus' text format, version 0.0.4."""
        return bytes(self._client.generate_latest(self.registry))

    def _child(self, metric: Metric, kind: MetricKind, labels: tuple[str, ...]) -> Any:
        """Returns where values of these labels go, made at the first one.

        Raises:
            InvariantError: The metric is of another kind or has other labels.
        """
        if metric.kind is not kind or len(labels) != len(metric.labels):
            raise InvariantError(f"{metric.name} is a {metric.kind} with labels {metric.labels}")
        family = self._families.get(metric.name) or self._family(metric)
        child = family.labels(*labels) if labels else family
        self._children[metric.name, *labels] = child
        return child

    def _family(self, metric: Metric) -> Any:
        made = {
            MetricKind.COUNTER: self._client.Counter,
            MetricKind.GAUGE: self._client.Gauge,
            MetricKind.HISTOGRAM: self._client.Histogram,
        }[metric.kind]
        more = {"buckets": metric.buckets} if metric.buckets else {}
        family = made(metric.name, metric.meaning, metric.labels, registry=self.registry, **more)
        self._families[metric.name] = family
        return family
