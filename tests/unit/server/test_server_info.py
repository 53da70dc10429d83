"""`GET /metrics` of a configured server."""

import subprocess
import sys

import msgspec
import pytest
from prometheus_client import parser
from starlette.types import Message

from landline.app import build_app
from landline.config import Config
from landline.config.settings import MetricsSettings, StoreSettings


async def ask(config: Config, method: str = "GET", accept: str = "*/*") -> tuple[int, dict[bytes, bytes], bytes]:
    """The answer of a server that is not even open: what it counts is there from the beginning."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(dict(message))

    headers = [(b"host", b"localhost"), (b"accept", accept.encode())]
    scope = {"type": "http", "method": method, "path": "/metrics", "headers": headers, "query_string": b""}
    await build_app(config).asgi(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent)


@pytest.fixture
def config(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("LANDLINE_DATA_DIR", str(tmp_path))
    return Config()


async def test_metrics_are_there_by_default(config: Config) -> None:
    status, headers, body = await ask(config)
    assert status == 200
    assert headers[b"content-type"] == b"text/plain; version=0.0.4; charset=utf-8"
    assert int(headers[b"content-length"]) == len(body)
    metrics = {metric.name: metric for metric in parser.text_string_to_metric_families(body.decode())}
    uses = {sample.labels["use"] for sample in metrics["landline_memory_bytes"].samples}
    assert uses == {"sessions", "prefixes", "compression"}


async def test_memory_of_a_store_in_memory_is_measured(config: Config) -> None:
    _, _, body = await ask(msgspec.structs.replace(config, store=StoreSettings(url="memory", memory_bytes=5_000_000)))
    metrics = {metric.name: metric for metric in parser.text_string_to_metric_families(body.decode())}
    limits = {sample.labels["use"]: sample.value for sample in metrics["landline_memory_limit_bytes"].samples}
    assert limits["store"] == 5_000_000
    assert "store" in {sample.labels["use"] for sample in metrics["landline_memory_bytes"].samples}


async def test_openmetrics_is_for_who_asks(config: Config) -> None:
    status, headers, body = await ask(config, accept="application/openmetrics-text; version=1.0.0")
    assert status == 200
    assert headers[b"content-type"].startswith(b"application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")


async def test_an_accept_that_is_none_is_answered_like_none(config: Config) -> None:
    status, headers, _ = await ask(config, accept="application/openmetrics-text; version=banana")
    assert (status, headers[b"content-type"][:10]) == (200, b"text/plain")


async def test_head_has_no_body(config: Config) -> None:
    status, headers, body = await ask(config, "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers[b"content-length"]) > 0


async def test_other_methods_are_refused(config: Config) -> None:
    status, headers, _ = await ask(config, "POST")
    assert (status, headers[b"allow"]) == (405, b"GET")


async def test_metrics_can_be_switched_off(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDLINE_DATA_DIR", str(tmp_path))
    status, _, _ = await ask(Config(metrics=MetricsSettings(enabled=False)))
    assert status == 404


def test_telemetry_is_not_even_imported_unless_it_is_on() -> None:
    """Importing the SDK takes 0.1 s of the start."""
    code = "import sys, landline.app, landline.cli.serve; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
