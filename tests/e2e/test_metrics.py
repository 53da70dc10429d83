"""A real Landline, real clients over HTTP and a socket: `/metrics` and the collector say what the clients saw."""

import asyncio
import time
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import aiohttp
import openai
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client import parser
from prometheus_client.samples import Sample

from support.fakes.chat import FakeChatServer
from support.fakes.otlp_receiver import OtlpReceiver, otlp_receiver, read_attributes
from support.scripts.chat import Answer
from support.servers.byte_relay import ByteRelay
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

DEADLINE_S = 20.0
MADE_UP_NAMES = 500
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACE = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}


@pytest.fixture(scope="module")
def model() -> Iterator[FakeChatServer]:
    with FakeChatServer() as server:
        server.default = server.scenario(lambda _: Answer("It is as you say, and always was."))
        yield server


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as made:
        yield made


def config(model: FakeChatServer, more: str = "") -> str:
    return f"""
[targets.fake]
dialect = "chat_completions"
base_url = "{model.base_url}"
[models."*"]
targets = ["fake"]
[models."demo"]
targets = ["fake:demo-upstream"]
{more}
"""


class Scraper:
    """Reads `/metrics` through a relay of its own, so that its bytes are known."""

    def __init__(self, relay: ByteRelay) -> None:
        self._relay = relay
        self.samples: list[Sample] = []
        self.sent_before = self.received_before = 0
        """Bytes of the scrapes before the last one."""

    def scrape(self) -> None:
        self.sent_before, self.received_before = self._relay.sent_bytes, self._relay.received_bytes
        with urllib.request.urlopen(f"http://127.0.0.1:{self._relay.port}/metrics") as answer:
            text = answer.read().decode()
        self.samples = [sample for family in parser.text_string_to_metric_families(text) for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples with these labels."""
        return sum(
            sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        return {sample.labels[label] for sample in self.samples if sample.name == name}


async def over_http(relay: ByteRelay, turns: int, **settings: Any) -> list[Any]:
    """The final responses of a client that sends its whole history."""
    responses: list[Any] = []
    history: list[Any] = []
    async with openai.AsyncOpenAI(base_url=relay.base_url, api_key="k", max_retries=0, **settings) as client:
        for number in range(turns):
            history.append({"role": "user", "content": f"Question {number}, with some words around it."})
            async with client.responses.stream(model="demo", input=history, store=False) as stream:
                response = await stream.get_final_response()
            history += [item.model_dump(exclude_none=True) for item in response.output]
            responses.append(response)
    return responses


async def over_a_socket(relay: ByteRelay, turns: int, **settings: Any) -> list[Any]:
    """The final responses of a client that sends what is new."""
    responses: list[Any] = []
    async with (
        openai.AsyncOpenAI(base_url=relay.base_url, api_key="k", max_retries=0) as client,
        client.responses.connect(websocket_connection_options={"max_size": None}, **settings) as connection,
    ):
        previous: dict[str, Any] = {}
        for number in range(turns):
            await connection.response.create(
                model="demo", input=f"Question {number}, with some words.", store=False, **previous
            )
            async for event in connection:
                if event.type == "response.completed":
                    responses.append(event.response)
                    break
                assert event.type not in ("error", "response.failed"), event
            previous = {"previous_response_id": responses[-1].id}
    return responses


def settled(scraper: Scraper, turns: int) -> None:
    """Scrapes until the clients' sockets are accounted for."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        scraper.scrape()
        if scraper.value("landline_turns_total") == turns and not scraper.value("landline_open_lines"):
            return
    raise TimeoutError(f"{scraper.value('landline_turns_total')} of {turns} turns")


async def test_sums_are_what_the_clients_saw(
    model: FakeChatServer, receiver: OtlpReceiver, tmp_path_factory: pytest.TempPathFactory
) -> None:
    telemetry = f'[telemetry]\nenabled = true\nendpoint = "{receiver.url}"'
    with (
        RunningServer(config(model, telemetry), tmp_path_factory.mktemp("metrics")) as server,
        ByteRelay(server.port) as clients,
        ByteRelay(server.port) as scrapes,
    ):
        scraper = Scraper(scrapes)
        http = await over_http(clients, 4, default_headers=TRACE)
        lines = await over_a_socket(clients, 3, extra_headers=TRACE)
        await asyncio.to_thread(settled, scraper, 7)
        check_turns(scraper)
        check_usage(scraper, [*http, *lines])
        check_wire(scraper, clients)
        wire = {way: scraper.value("landline_wire_bytes_total", direction=way) for way in ("in", "out")}
    check_spans(receiver, [*http, *lines], wire)


def check_turns(scraper: Scraper) -> None:
    assert scraper.value("landline_turns_total", transport="http", outcome="completed") == 4
    assert scraper.value("landline_turns_total", transport="socket", outcome="completed") == 3
    assert scraper.labels("landline_turns_total", "model") == {"demo"}
    assert scraper.labels("landline_turns_total", "target") == {"fake"}
    assert scraper.value("landline_turn_duration_seconds_count") == 7
    assert scraper.value("landline_turn_first_event_seconds_count") == 7
    assert scraper.value("landline_turn_queue_seconds_count") == 7
    assert scraper.value("landline_routed_turns_total", reason="only") == 7
    assert scraper.value("landline_tries_total") == scraper.value("landline_upstream_requests_total") == 7
    assert scraper.value("landline_target_turns_in_flight") == scraper.value("landline_running_turns") == 0


def check_usage(scraper: Scraper, responses: Sequence[Any]) -> None:
    usages = [response.usage for response in responses]
    assert scraper.value("landline_input_tokens_total") == sum(usage.input_tokens for usage in usages)
    assert scraper.value("landline_output_tokens_total") == sum(usage.output_tokens for usage in usages)
    cached = sum(usage.input_tokens_details.cached_tokens for usage in usages)
    assert cached > 0
    assert scraper.value("landline_cached_input_tokens_total") == cached


def check_wire(scraper: Scraper, clients: ByteRelay) -> None:
    """To the byte: every byte on the line is a turn's, or overhead."""
    sent = clients.sent_bytes + scraper.sent_before
    received = clients.received_bytes + scraper.received_before
    for direction, relayed in (("in", sent), ("out", received)):
        counted = scraper.value("landline_wire_bytes_total", direction=direction)
        overhead = scraper.value("landline_overhead_bytes_total", direction=direction)
        assert counted > overhead > 0
        assert counted + overhead == relayed, direction
    assert scraper.value("landline_create_bytes_total") == scraper.value("landline_payload_bytes_total", direction="in")
    stateless, wire = (
        scraper.value("landline_stateless_bytes_total"),
        scraper.value("landline_wire_bytes_total", direction="in"),
    )
    assert stateless > 0
    assert scraper.value("landline_saved_bytes") == stateless - wire


def check_spans(receiver: OtlpReceiver, responses: Sequence[Any], wire: dict[str, float]) -> None:
    """The server has ended: the collector has everything, in the client's own trace."""
    turns = [span for span in receiver.spans if span.kind == Span.SPAN_KIND_SERVER]
    assert {span.name for span in turns} == {"chat demo"}
    told = [read_attributes(span.attributes) for span in turns]
    assert {each["gen_ai.response.id"] for each in told} == {response.id for response in responses}
    assert [each["gen_ai.response.finish_reasons"] for each in told] == [["stop"]] * len(responses)
    assert {span.trace_id.hex() for span in turns} == {TRACE_ID}
    for direction, counted in wire.items():
        assert sum(int(str(each[f"landline.wire.{direction}_bytes"])) for each in told) == counted
    questions = [span for span in receiver.spans if span.kind == Span.SPAN_KIND_CLIENT]
    assert {span.name for span in questions} == {"chat demo-upstream"}
    assert {span.parent_span_id for span in questions} == {span.span_id for span in turns}
    assert {metric.name for metric in receiver.metrics} >= {
        "gen_ai.server.request.duration",
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
        "landline.usage.input_tokens",
    }
    text = str(receiver.spans)
    assert "Question" not in text
    assert "as you say" not in text


async def test_made_up_model_names_are_few_labels(
    model: FakeChatServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        RunningServer(config(model), tmp_path_factory.mktemp("labels")) as server,
        ByteRelay(server.port) as relay,
    ):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=16)) as client:

            async def ask(name: str) -> None:
                body = {"model": name, "input": "Hi", "store": False}
                async with client.post(f"{server.base_url}/responses", json=body) as answer:
                    assert answer.status == 200
                    await answer.read()

            await asyncio.gather(*(ask(f"made-up-{number}") for number in range(MADE_UP_NAMES)))
            await ask("demo")
        scraper = Scraper(relay)
        await asyncio.to_thread(settled, scraper, MADE_UP_NAMES + 1)
        models = scraper.labels("landline_turns_total", "model")
        assert len(models) == 34
        assert {"demo", "other"} < models
        assert scraper.value("landline_turns_total", model="demo") == 1
        assert scraper.value("landline_turns_total", model="other") == MADE_UP_NAMES - 32
        assert len(scraper.samples) < 5_000
