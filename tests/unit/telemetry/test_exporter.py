"""Telemetry as a collector gets it, by OTLP over HTTP, and what becomes of turns when the collector does not take it."""

import importlib
import pkgutil
import re
import socket
import time
from pathlib import Path
from typing import Any

import opentelemetry.semconv._incubating.attributes as incubating_attributes
import opentelemetry.semconv._incubating.metrics as incubating_metrics
import opentelemetry.semconv.attributes as stable_attributes
import opentelemetry.semconv.metrics as stable_metrics
import pytest

from landline.ledger import Entry, Ledger
from landline.ledger.entry import RequestedSettings
from landline.metrics.counts import ModelLabels, TurnMetrics
from landline.telemetry.conventions import Provider, TelemetrySources
from landline.telemetry.exporter import Telemetry, open_telemetry
from landline.telemetry.settings import TelemetrySettings
from support.fakes.otlp_receiver import OtlpReceiver, otlp_receiver, read_attributes
from support.ledger.entries import ENTRY, changed

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "telemetry.md"
EVERYTHING = changed(
    outcome="failed",
    error_code="model_error",
    conversation_id="conv_1",
    asked=RequestedSettings("resp_0", "json", "low", 4_000, 0.5, 0.9),
)
CONVENTIONS = ("gen_ai.", "openai.", "server.", "error.", "service.")
_NAME = re.compile(r"`((?:gen_ai|landline|server|error|openai)\.[a-z0-9_.]+[a-z])`")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


def telling(settings: TelemetrySettings) -> tuple[Telemetry, Ledger]:
    labels = ModelLabels(["demo"])
    turns = TurnMetrics(labels)
    ledger = Ledger()
    ledger.watch(turns.add)
    providers = {"one": Provider("openai", "models.example", 8443)}
    telemetry = open_telemetry(settings, TelemetrySources(providers, labels, turns))
    ledger.watch(telemetry.add)
    return telemetry, ledger


async def tell(receiver: OtlpReceiver, *entries: Entry, **changes: object) -> None:
    fields: dict[str, Any] = {"enabled": True, "endpoint": receiver.url, **changes}
    telemetry, ledger = telling(TelemetrySettings(**fields))
    for entry in entries:
        ledger.add(entry, entry.created_at)
    await telemetry.close()


async def test_collector_gets_spans_and_metrics_of_every_turn_at_the_end() -> None:
    with otlp_receiver() as receiver:
        await tell(receiver, ENTRY, EVERYTHING)
    assert [span.name for span in receiver.spans].count("chat demo") == 2
    assert {metric.name for metric in receiver.metrics} >= {"gen_ai.server.request.duration", "landline.wire.io"}
    assert {resource["service.name"] for resource in receiver.resources} == {"landline"}


async def test_what_arrives_is_what_the_turn_was() -> None:
    with otlp_receiver() as receiver:
        await tell(receiver, changed(trace_parent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
    turn = next(span for span in receiver.spans if span.name == "chat demo")
    assert turn.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert turn.parent_span_id.hex() == "b7ad6b7169203331"
    assert turn.end_time_unix_nano - turn.start_time_unix_nano == 1_200_000_000
    told = read_attributes(turn.attributes)
    assert told["gen_ai.usage.input_tokens"] == 12_000
    assert told["landline.wire.in_bytes"] == 300
    wire = next(metric for metric in receiver.metrics if metric.name == "landline.wire.io")
    assert sum(point.as_int for point in wire.sum.data_points) == 1_200


async def test_either_half_can_be_left_out() -> None:
    with otlp_receiver() as receiver:
        await tell(receiver, ENTRY, traces=False)
        assert not receiver.spans
        assert receiver.metrics
        receiver.metrics.clear()
        await tell(receiver, ENTRY, metrics=False)
        assert receiver.spans
        assert not receiver.metrics


async def test_standard_variables_say_where_and_who(monkeypatch: pytest.MonkeyPatch) -> None:
    with otlp_receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=secret")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "agents")
        telemetry, ledger = telling(TelemetrySettings(enabled=True))
        ledger.add(ENTRY, ENTRY.created_at)
        await telemetry.close()
    assert {request.headers["x-collector-key"] for request in receiver.requests} == {"secret"}
    assert {request.headers["content-encoding"] for request in receiver.requests} == {"gzip"}
    for resource in receiver.resources:
        assert (resource["service.name"], resource["deployment.environment.name"]) == ("agents", "test")


async def test_own_name_counts_before_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "agents")
    with otlp_receiver() as receiver:
        await tell(receiver, ENTRY, service_name="gateway")
    assert {resource["service.name"] for resource in receiver.resources} == {"gateway"}


async def test_collector_that_refuses_breaks_no_turn() -> None:
    with otlp_receiver() as receiver:
        receiver.answers_with = 400
        await tell(receiver, ENTRY)
        assert receiver.requests
    assert not receiver.spans


async def test_collector_that_never_answers_is_given_up() -> None:
    with otlp_receiver() as receiver:
        receiver.is_silent = True
        began = time.monotonic()
        await tell(receiver, ENTRY, flush_s=0.2)
        assert time.monotonic() - began < 5.0


async def test_no_collector_at_all_is_given_up() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
        began = time.monotonic()
        telemetry, ledger = telling(TelemetrySettings(enabled=True, endpoint=nobody, flush_s=0.2))
        for _ in range(1_200):  # two spans each: more than the queue holds
            ledger.add(ENTRY, ENTRY.created_at)
        await telemetry.close()
        assert time.monotonic() - began < 10.0
    assert ledger.process.turns == 1_200


async def test_names_of_the_conventions_are_in_their_released_package() -> None:
    with otlp_receiver() as receiver:
        await tell(receiver, ENTRY, EVERYTHING)
    told = {name for name in told_names(receiver) if name.startswith(CONVENTIONS)}
    assert len(told) > 25
    assert told <= released_names()


def released_names() -> set[str]:
    """Every name of an attribute or a metric in the installed `opentelemetry-semantic-conventions`."""
    modules = [
        importlib.import_module(f"{package.__name__}.{module.name}")
        for package in (stable_attributes, stable_metrics, incubating_attributes, incubating_metrics)
        for module in pkgutil.iter_modules(package.__path__)
    ]
    return {value for module in modules for value in vars(module).values() if isinstance(value, str)}


async def test_everything_that_is_told_is_documented_and_nothing_else() -> None:
    with otlp_receiver() as receiver:
        await tell(receiver, ENTRY, EVERYTHING)
    names = told_names(receiver)
    assert len(names) > 40
    assert names == set(_NAME.findall(DOCUMENT.read_text(encoding="utf-8")))


def told_names(receiver: OtlpReceiver) -> set[str]:
    """Of metrics, events and attributes."""
    names = {key for span in receiver.spans for key in read_attributes(span.attributes)}
    names |= {event.name for span in receiver.spans for event in span.events}
    for metric in receiver.metrics:
        names.add(metric.name)
        points = (*metric.sum.data_points, *metric.histogram.data_points)
        names |= {key for point in points for key in read_attributes(point.attributes)}
    return names
