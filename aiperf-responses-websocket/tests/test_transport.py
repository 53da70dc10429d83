"""What AIPerf gets for a turn: its record, whatever becomes of the request, and where the socket is opened."""

import ssl
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiperf.common.enums import CreditPhase, ModelSelectionStrategy
from aiperf.common.models import ModelEndpointInfo, RequestInfo, RequestRecord, Turn
from aiperf.common.models.model_endpoint_info import EndpointInfo, ModelInfo, ModelListInfo
from aiperf.endpoints.openai_responses import ResponsesEndpoint
from aiperf.plugin.enums import EndpointType
from websockets.asyncio.server import serve

from aiperf_responses_websocket.transport import ResponsesWebSocketTransport

from .planned_server import PlannedServer


class Worker:
    """A transport with AIPerf's own endpoint beside it, as in a worker of AIPerf."""

    def __init__(self, url: str, **endpoint: Any) -> None:
        members: dict[str, Any] = {"streaming": True, **endpoint}
        self.model_endpoint = ModelEndpointInfo(
            models=ModelListInfo(
                models=[ModelInfo(name="m")], model_selection_strategy=ModelSelectionStrategy.ROUND_ROBIN
            ),
            endpoint=EndpointInfo(type=EndpointType("responses"), base_urls=[url], **members),
        )
        self.endpoint = ResponsesEndpoint(model_endpoint=self.model_endpoint)
        self.transport = ResponsesWebSocketTransport(model_endpoint=self.model_endpoint)

    def request(self, **members: Any) -> RequestInfo:
        fixed: dict[str, Any] = {
            "model_endpoint": self.model_endpoint,
            "turns": [Turn(role="user", raw_messages=[{"role": "user", "content": "one"}])],
            "credit_num": 0,
            "credit_phase": CreditPhase.PROFILING,
            "conversation_id": "c",
            "turn_index": 0,
            "x_request_id": "r",
            "x_correlation_id": "a",
        }
        request = RequestInfo(**{**fixed, **members})
        request.endpoint_headers = self.endpoint.get_endpoint_headers(request)
        request.endpoint_params = self.endpoint.get_endpoint_params(request)
        return request

    async def send(self, **members: Any) -> RequestRecord:
        request = self.request(**members)
        return await self.transport.send_request(request, orjson.dumps(self.endpoint.format_payload(request)))


@asynccontextmanager
async def worker(server: PlannedServer, **endpoint: Any) -> AsyncGenerator[Worker]:
    made = Worker(server.url.removesuffix("/v1/responses").replace("ws", "http", 1), **endpoint)
    await made.transport.initialize_and_start()
    try:
        yield made
    finally:
        await made.transport.stop()


async def test_a_streamed_answer_is_read_by_the_endpoint_of_responses(server: PlannedServer) -> None:
    async with worker(server, api_key="key", headers=[("X-Team", "t")], url_params={"version": "2"}) as made:
        record = await made.send()
        [first, *_] = made.endpoint.extract_response_data(record)
    assert (record.error, record.status) == (None, 200)
    assert first.data is not None
    assert first.data.get_text() == "Hi."
    assert record.start_perf_ns < first.perf_ns <= (record.end_perf_ns or 0)
    assert (server.headers[0]["authorization"], server.headers[0]["x-team"]) == ("Bearer key", "t")
    assert server.paths == ["/v1/responses?version=2"]
    assert "key" not in str(record.request_headers)


async def test_a_whole_answer_is_given_where_nothing_is_to_be_streamed(server: PlannedServer) -> None:
    async with worker(server, streaming=False) as made:
        [answer] = (await made.send()).responses
    assert orjson.loads(answer.get_raw() or b"")["status"] == "completed"


@pytest.mark.parametrize(
    ("word", "code", "kind"), [("model_not_found", 400, "model_not_found"), ("fail", 502, "server_error")]
)
async def test_an_error_of_the_server_is_in_the_record(server: PlannedServer, word: str, code: int, kind: str) -> None:
    server.plan = [word]
    async with worker(server) as made:
        record = await made.send()
    assert record.error is not None
    assert (record.error.code, record.error.type) == (code, kind)


async def test_a_request_is_cancelled_after_it_was_sent(server: PlannedServer) -> None:
    server.plan = ["hang"]
    async with worker(server) as made:
        record = await made.send(cancel_after_ns=50_000_000)
        again = await made.send(turn_index=1)
    assert record.error is not None
    assert (record.error.code, record.cancellation_perf_ns) == (499, record.end_perf_ns)
    assert again.error is None
    assert server.sockets == [1, 2]


async def test_a_request_times_out(server: PlannedServer) -> None:
    server.plan = ["hang"]
    async with worker(server, timeout=0.05) as made:
        record = await made.send()
    assert record.error is not None
    assert record.error.code == 408


@pytest.mark.parametrize("strategy", ["pooled", "never"])
async def test_sockets_are_kept_for_a_conversation_or_a_turn(server: PlannedServer, strategy: str) -> None:
    async with worker(server, connection_reuse_strategy=strategy) as made:
        await made.send(is_final_turn=False)
        await made.send(turn_index=1, is_final_turn=True)
        await made.send(x_correlation_id="b")
    assert server.sockets == ([1, 1, 2] if strategy == "pooled" else [1, 2, 3])


@pytest.mark.parametrize(
    ("given", "opened"),
    [
        ("http://host:8080", "ws://host:8080/v1/responses"),
        ("https://host/v1", "wss://host/v1/responses"),
        ("https://host/v1/responses", "wss://host/v1/responses"),
    ],
)
def test_the_socket_has_the_url_of_http(given: str, opened: str) -> None:
    made = Worker(given)
    assert made.transport.build_url(made.request()) == opened


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of `localhost`, signed by itself, with its key in `key.pem` beside it."""
    made_for = "-x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    made = tmp_path / "certificate.pem"
    subprocess.run(["openssl", "req", *made_for.split(), "-keyout", tmp_path / "key.pem", "-out", made], check=True)
    return made


async def test_certificates_are_checked(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    server = PlannedServer()
    async with serve(server.handle, "localhost", 0, ssl=context) as running:
        server.url = f"wss://localhost:{next(iter(running.sockets)).getsockname()[1]}/v1/responses"
        async with worker(server) as made:
            refused = await made.send()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with worker(server) as made:
            accepted = await made.send()
    assert refused.error is not None
    assert refused.error.type == "connection_failed"
    assert accepted.error is None
