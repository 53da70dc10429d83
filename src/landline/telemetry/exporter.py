"""The OpenTelemetry SDK, set up for one process: where spans and metrics of turns go, and how they are flushed.

Landline stands between a client and a model: the turn is a server span (`gen_ai.server.*`), the request to its target a
client span below it (`gen_ai.client.*`). Neither holds content.

A turn is recorded when it is over, which only fills queues: the SDK's threads send them, and drop what a collector does
not take.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable

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
from landline.telemetry.conventions import TelemetrySources
from landline.telemetry.instruments import TurnHistograms
from landline.telemetry.settings import TelemetrySettings
from landline.telemetry.spans import TurnSpans

_log = structlog.stdlib.get_logger(__name__)


class Telemetry:
    """Spans and metrics of turns, until it is closed."""

    def __init__(
        self,
        sources: TelemetrySources,
        *,
        span_processor: SpanProcessor | None,
        metric_reader: MetricReader | None,
        resource: Resource,
        flush_s: float,
    ) -> None:
        self._flush_s = flush_s
        self._closers: list[Callable[[], None]] = []
        self._recorders: list[Callable[[Entry], None]] = []
        # Without the SDK's exit handlers: `close` flushes, with a deadline of its own.
        if span_processor is not None:
            tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
            tracers.add_span_processor(span_processor)
            self._closers.append(tracers.shutdown)
            self._recorders.append(TurnSpans(tracers.get_tracer("landline", __version__), sources).record)
        if metric_reader is not None:
            meters = MeterProvider([metric_reader], resource=resource, shutdown_on_exit=False)
            self._closers.append(meters.shutdown)
            self._recorders.append(TurnHistograms(meters.get_meter("landline", __version__), sources).record)

    def add(self, entry: Entry) -> None:
        """A turn is over: for `Ledger.watch`."""
        for record in self._recorders:
            record(entry)

    async def close(self) -> None:
        """Flushes, for `flush_s` at most. The SDK's shutdown blocks and cannot be cancelled, so it runs in daemon threads,
        which are left behind when the time is over."""
        loop = asyncio.get_running_loop()
        closed = [loop.create_future() for _ in self._closers]
        for close, future in zip(self._closers, closed, strict=True):
            threading.Thread(target=_close, args=(close, loop, future), daemon=True).start()
        if closed:
            _, late = await asyncio.wait(closed, timeout=self._flush_s)
            if late:
                _log.warning("telemetry_not_flushed", waited_s=self._flush_s)


def open_telemetry(settings: TelemetrySettings, sources: TelemetrySources) -> Telemetry:
    """Telemetry that is sent by OTLP over HTTP, as the settings and the standard `OTEL_*` variables say."""
    base = settings.endpoint.rstrip("/") if settings.endpoint is not None else None
    processor = reader = None
    if settings.traces:
        processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=base and f"{base}/v1/traces"))
    if settings.metrics:
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=base and f"{base}/v1/metrics"))
    return Telemetry(
        sources,
        span_processor=processor,
        metric_reader=reader,
        resource=_resource(settings),
        flush_s=settings.flush_s,
    )


def _resource(settings: TelemetrySettings) -> Resource:
    """The resource of this server. The SDK reads `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` itself."""
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
