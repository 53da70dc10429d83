"""Turns told to an OpenTelemetry collector: spans and metrics by the GenAI semantic conventions.

Names as of open-telemetry/semantic-conventions-genai, November 2026, all of status "development". Landline is between a
client and a model: the turn is a server's span, the question to its target a client's span below it; `gen_ai.server.*` is
what the turn took, `gen_ai.client.*` what the target did. What a message says is nowhere in them.

A turn is told when it is over, and only put in a queue: sending is the work of the SDK's threads, which drop what a
collector does not take.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping

import structlog
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from landline import __version__
from landline.ledger.entry import Entry
from landline.metrics.counts import ModelLabels, TurnMetrics
from landline.telemetry.former import FormerMetricTeller
from landline.telemetry.instruments import MetricTeller
from landline.telemetry.settings import Provider, TelemetrySettings
from landline.telemetry.spans import SpanTeller

_log = structlog.stdlib.get_logger(__name__)


class Telemetry:
    """Tells of turns, until it is closed."""

    def __init__(
        self,
        *,
        span_processor: SpanProcessor | None,
        metric_reader: MetricReader | None,
        resource: Resource,
        providers: Mapping[str, Provider],
        labels: ModelLabels,
        turns: TurnMetrics,
        former_names: bool,
        flush_s: float,
    ) -> None:
        """`providers` are the targets' by their names. What ends the process sends the rest: not an exit handler."""
        self._flush_s = flush_s
        self._closers: list[Callable[[], None]] = []
        self._tellers: list[Callable[[Entry], None]] = []
        if span_processor is not None:
            tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
            tracers.add_span_processor(span_processor)
            self._closers.append(tracers.shutdown)
            tracer = tracers.get_tracer("landline", __version__)
            self._tellers.append(SpanTeller(tracer, providers, labels, former_names=former_names).tell)
        if metric_reader is not None:
            meters = MeterProvider([metric_reader], resource=resource, shutdown_on_exit=False)
            self._closers.append(meters.shutdown)
            meter = meters.get_meter("landline", __version__)
            self._tellers.append(MetricTeller(meter, providers, labels, turns).tell)
            if former_names:
                self._tellers.append(FormerMetricTeller(meter, providers, labels).tell)

    def add(self, entry: Entry) -> None:
        """A turn is over: for `Ledger.watch`."""
        for tell in self._tellers:
            tell(entry)

    async def close(self) -> None:
        """Sends what is left, and gives up after `flush_s`: the threads that try are left behind."""
        loop = asyncio.get_running_loop()
        closed = [loop.create_future() for _ in self._closers]
        for close, future in zip(self._closers, closed, strict=True):
            threading.Thread(target=_close, args=(close, loop, future), daemon=True).start()
        if closed:
            _, late = await asyncio.wait(closed, timeout=self._flush_s)
            if late:
                _log.warning("telemetry_not_flushed", waited_s=self._flush_s)


def open_telemetry(
    settings: TelemetrySettings, *, providers: Mapping[str, Provider], labels: ModelLabels, turns: TurnMetrics
) -> Telemetry:
    """Telemetry that is sent by OTLP over HTTP, as the settings and the standard `OTEL_*` variables say."""
    base = settings.endpoint.rstrip("/") if settings.endpoint is not None else None
    processor = reader = None
    if settings.traces:
        processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=base and f"{base}/v1/traces"))
    if settings.metrics:
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=base and f"{base}/v1/metrics"))
    return Telemetry(
        span_processor=processor,
        metric_reader=reader,
        resource=_resource(settings),
        providers=providers,
        labels=labels,
        turns=turns,
        former_names=settings.former_names,
        flush_s=settings.flush_s,
    )


def _resource(settings: TelemetrySettings) -> Resource:
    """Who tells. The SDK reads `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` itself."""
    resource = Resource.create({"service.version": __version__})
    known = str(resource.attributes.get(SERVICE_NAME, ""))
    is_unknown = known.startswith("unknown_service")
    name = settings.service_name or ("landline" if is_unknown else known)
    return resource.merge(Resource({SERVICE_NAME: name}))


def _close(close: Callable[[], None], loop: asyncio.AbstractEventLoop, closed: "asyncio.Future[None]") -> None:
    try:
        close()
    finally:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_set, closed)


def _set(closed: "asyncio.Future[None]") -> None:
    if not closed.done():
        closed.set_result(None)
