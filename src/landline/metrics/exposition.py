"""Prometheus' text of everything that is counted, made when it is asked for."""

from collections.abc import Callable, Iterable, Sequence

import msgspec
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from landline.metrics.counts import Distribution
from landline.metrics.families import FAMILIES, MetricFamily, MetricSources, Sample

Collected = list[tuple[MetricFamily, list[Sample]]]
"""Every family with its samples; nothing in it changes any more."""


class Exposition(msgspec.Struct, frozen=True):
    """What a scrape is answered with."""

    content_type: str
    body: bytes


def collect(sources: MetricSources) -> Collected:
    """Reads every number: 0.1 ms for each model and target. Must be called in the thread that counts."""
    return [(family, list(family.read(sources))) for family in FAMILIES]


def encode(collected: Collected, accept: str) -> Exposition:
    """The text for a scrape with this `Accept`: OpenMetrics if it asks for that, else Prometheus' own format.

    Ten times the time of `collect`, so it may run in any thread. The registry is of this scrape alone: nothing else in the
    process is shown.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(collected))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    encoder, content_type = _choose(accept)
    return Exposition(content_type, encoder(registry))


def _choose(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """How to write for this `Accept`; as for none when it is not one, at which prometheus_client 0.26 raises."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")


class _Collector(Collector):
    def __init__(self, collected: Collected) -> None:
        self._collected = collected

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        return [_metric(family, samples) for family, samples in self._collected]


def _metric(family: MetricFamily, samples: Sequence[Sample]) -> Metric:
    match family.kind:
        case "counter":
            metric = CounterMetricFamily(family.name, family.meaning, labels=family.labels)
        case "gauge":
            metric = GaugeMetricFamily(family.name, family.meaning, labels=family.labels)
        case "histogram":
            metric = HistogramMetricFamily(family.name, family.meaning, labels=family.labels)
    for labels, value in samples:
        match metric, value:
            case HistogramMetricFamily(), Distribution():
                metric.add_metric(labels, value.buckets, value.sum)
            case CounterMetricFamily() | GaugeMetricFamily(), int() | float():
                metric.add_metric(labels, value)
            case _:
                raise TypeError(f"{family.name!r} cannot be {value!r}")
    return metric
