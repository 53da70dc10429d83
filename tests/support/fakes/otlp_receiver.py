"""An OpenTelemetry collector as far as OTLP over HTTP goes: takes protobuf, keeps what it was told."""

import asyncio
import gzip
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from contextlib import contextmanager

from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

WAIT_S = 30.0


class OtlpReceiver:
    """What came, in the order in which it came. Read it after `wait_for` or when the sender has ended."""

    def __init__(self) -> None:
        self.port = 0
        self.spans: list[Span] = []
        self.metrics: list[Metric] = []
        self.resources: list[dict[str, object]] = []
        self.requests: list[web.Request] = []
        self.answers_with = 200
        self.is_silent = False
        """Whether requests are never answered."""
        self._changed = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, is_there: Callable[["OtlpReceiver"], object]) -> None:
        """Returns once it is so."""
        with self._changed:
            assert self._changed.wait_for(lambda: is_there(self), WAIT_S), (self.requests, self.spans)

    async def take_traces(self, request: web.Request) -> web.Response:
        sent = ExportTraceServiceRequest.FromString(await self._body(request))
        return await self._answer(request, lambda: self._keep_traces(sent), ExportTraceServiceResponse())

    async def take_metrics(self, request: web.Request) -> web.Response:
        sent = ExportMetricsServiceRequest.FromString(await self._body(request))
        return await self._answer(request, lambda: self._keep_metrics(sent), ExportMetricsServiceResponse())

    async def _body(self, request: web.Request) -> bytes:
        assert request.content_type == "application/x-protobuf"
        body = await request.read()
        return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body

    async def _answer(
        self,
        request: web.Request,
        keep: Callable[[], None],
        answer: ExportTraceServiceResponse | ExportMetricsServiceResponse,
    ) -> web.Response:
        with self._changed:
            self.requests.append(request)
            if self.answers_with == 200 and not self.is_silent:
                keep()
            self._changed.notify_all()
        if self.is_silent:
            await asyncio.Event().wait()
        return web.Response(
            status=self.answers_with, body=answer.SerializeToString(), content_type="application/x-protobuf"
        )

    def _keep_traces(self, sent: ExportTraceServiceRequest) -> None:
        for resource in sent.resource_spans:
            self.resources.append(read_attributes(resource.resource.attributes))
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def _keep_metrics(self, sent: ExportMetricsServiceRequest) -> None:
        for resource in sent.resource_metrics:
            self.resources.append(read_attributes(resource.resource.attributes))
            for scope in resource.scope_metrics:
                self.metrics.extend(scope.metrics)


def read_attributes(attributes: Iterable[KeyValue]) -> dict[str, object]:
    """As a plain mapping."""
    return {each.key: _value(each.value) for each in attributes}


def _value(value: AnyValue) -> object:
    if value.WhichOneof("value") == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, value.WhichOneof("value") or "string_value")


@contextmanager
def otlp_receiver() -> Generator[OtlpReceiver]:
    """One that listens on a free loopback port, in a thread of its own."""
    receiver = OtlpReceiver()
    loop = asyncio.new_event_loop()
    ready: Future[int] = Future()
    stopped = asyncio.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/v1/traces", receiver.take_traces)
        app.router.add_post("/v1/metrics", receiver.take_metrics)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.set_result(runner.addresses[0][1])
        await stopped.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    receiver.port = ready.result(WAIT_S)
    try:
        yield receiver
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(WAIT_S)
        loop.close()
