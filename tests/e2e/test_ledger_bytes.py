"""The ledger against a relay that counts every byte between unmodified clients and Landline, over HTTP and sockets.

Wire bytes must be the relay's to the byte. Stateless bytes must be, within 0.5 %, the bodies that the same client really sends
for the same task when it plays everything back over HTTP.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import agents
import pydantic_ai
import pytest
from openai import AsyncOpenAI
from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.providers.openai import OpenAIProvider

from support.clients.codex import run_codex
from support.clients.responses import ResponsesSocket
from support.fakes.chat import FakeChatServer, Script
from support.fakes.responses import OPENAI, FakeResponses
from support.fakes.scenario import Scenario
from support.ledger.lines import LoggedTurns, logged_turns
from support.scripts.chat import Answer, call
from support.servers.byte_relay import ByteRelay, client_messages, client_requests
from support.servers.running import RunningServer

CALLS = 20
STATELESS_TOLERANCE = 0.005
WORDS = ["item-key", "ключ-ёж"]
"""Python's clients escape the second ones on a socket, and not over HTTP."""
_DONE = Answer("All done.")


@dataclass(frozen=True)
class Run:
    """One client's run of a task."""

    ledger: LoggedTurns
    sent_bytes: int
    """Of the client, as the relay counted."""
    received_bytes: int
    bodies: list[bytes]
    """Of its creates, as JSON."""


def measure(landline: RunningServer, scenario: Scenario, turns: int, work: Callable[[ByteRelay], None]) -> Run:
    """The run, and what the ledger and the relay say of it when it is over."""
    with ByteRelay(landline.port) as relay:
        work(relay)
    ledger = logged_turns(landline, scenario.model, turns)
    assert len(ledger.turns) == turns
    assert {turn["outcome"] for turn in ledger.turns} == {"completed"}
    bodies: list[bytes] = []
    for connection in relay.connections:
        if connection.is_websocket:
            bodies += client_messages(connection)
        else:
            bodies += [body for _, body in client_requests(connection)]
    return Run(ledger, relay.sent_bytes, relay.received_bytes, bodies)


def assert_exact(run: Run) -> None:
    """What the ledger says was on the wire was on the wire."""
    assert run.ledger.wire_in == run.sent_bytes
    assert run.ledger.wire_out == run.received_bytes
    assert run.ledger.sum("payload_in") == sum(map(len, run.bodies))
    parts = ("tools", "instructions", "history", "new_items", "other")
    assert sum(run.ledger.sum(part) for part in parts) == sum(map(len, run.bodies))


def assert_stateless(run: Run, over_http: Run) -> None:
    """What the ledger says would have been sent is what the client sends without a session."""
    sent = sum(map(len, over_http.bodies))
    said = run.ledger.sum("stateless")
    print(f"stateless {said}, over HTTP {sent}: {said / sent - 1:+.2%}; wire {run.sent_bytes}")
    assert abs(said - sent) <= STATELESS_TOLERANCE * sent


@pytest.mark.client
def test_codex(landline: RunningServer, scripted: Script, tmp_path: Path) -> None:
    def run(name: str, turns: int, *, websockets: bool) -> Run:
        commands = (f"seq {number}000 {number}700" for number in range(1, CALLS + 1))
        scenario = scripted(*(call("exec_command", cmd=command) for command in commands), _DONE)
        (tmp_path / name).mkdir()

        def work(relay: ByteRelay) -> None:
            done = run_codex(
                "Do what is to be done.",
                base_url=relay.base_url,
                model=scenario.model,
                home=tmp_path / f"home-{name}",
                work_folder=tmp_path / name,
                websockets=websockets,
            )
            assert done.answer == "All done.", done.report

        return measure(landline, scenario, turns, work)

    over_socket = run("socket", CALLS + 2, websockets=True)
    over_http = run("http", CALLS + 1, websockets=False)
    for each in (over_socket, over_http):
        assert_exact(each)
        assert len({turn["session"] for turn in each.ledger.turns}) == 1
        assert_stateless(each, over_http)
    assert over_http.ledger.sum("stateless") == sum(map(len, over_http.bodies))
    assert over_socket.sent_bytes < 0.1 * over_socket.ledger.sum("stateless")


@pytest.mark.client
@pytest.mark.parametrize("words", WORDS)
def test_openai_agents(landline: RunningServer, scripted: Script, words: str) -> None:
    agents.set_tracing_disabled(True)

    def run(*, websockets: bool, chained: bool) -> Run:
        scenario = scripted(*(call("lookup", key=f"item-{number}") for number in range(CALLS)), _DONE)

        def work(relay: ByteRelay) -> None:
            asyncio.run(_run_agent(relay, scenario.model, words, websockets=websockets, chained=chained))

        return measure(landline, scenario, CALLS + 1, work)

    over_http = run(websockets=False, chained=False)
    for websockets, chained in ((False, False), (False, True), (True, False), (True, True)):
        each = run(websockets=websockets, chained=chained) if websockets or chained else over_http
        assert_exact(each)
        assert len({turn["session"] for turn in each.ledger.turns}) == 1
        assert_stateless(each, over_http)
        if chained:
            assert each.ledger.sum("history") < 0.01 * each.ledger.sum("payload_in")
        else:
            assert each.ledger.sum("history") > 0.7 * each.ledger.sum("payload_in")
    assert over_http.ledger.sum("stateless") == sum(map(len, over_http.bodies))


@pytest.mark.client
@pytest.mark.parametrize("words", WORDS)
def test_pydantic_ai(landline: RunningServer, scripted: Script, words: str) -> None:
    def run(**settings: Any) -> Run:
        scenario = scripted(*(call("lookup", key=f"item-{number}") for number in range(CALLS)), _DONE)

        def work(relay: ByteRelay) -> None:
            asyncio.run(_run_pydantic(relay, scenario.model, words, OpenAIResponsesModelSettings(**settings)))

        return measure(landline, scenario, CALLS + 1, work)

    over_http = run()
    runs = [over_http, run(openai_transport="websocket"), run(openai_previous_response_id="auto")]
    for each in runs:
        assert_exact(each)
        assert len({turn["session"] for turn in each.ledger.turns}) == 1
        assert_stateless(each, over_http)


async def _run_agent(relay: ByteRelay, model: str, words: str, *, websockets: bool, chained: bool) -> None:
    tools: list[Any] = [agents.function_tool(lookup_in(words))]
    agent = agents.Agent(name="Finder", instructions=f"Look up {words}.", tools=tools, model=model)
    if websockets:
        async with agents.responses_websocket_session(
            base_url=relay.base_url, api_key="test-key", openai_prefix_mode="model_id", unknown_prefix_mode="model_id"
        ) as session:
            result = await session.run(agent, "Find all.", max_turns=CALLS + 5, auto_previous_response_id=chained)
    else:
        async with AsyncOpenAI(base_url=relay.base_url, api_key="test-key") as client:
            agent.model = agents.OpenAIResponsesModel(model, client)
            result = await agents.Runner.run(agent, "Find all.", max_turns=CALLS + 5, auto_previous_response_id=chained)
    assert result.final_output == "All done."


async def _run_pydantic(relay: ByteRelay, model: str, words: str, settings: OpenAIResponsesModelSettings) -> None:
    async with AsyncOpenAI(base_url=relay.base_url, api_key="test-key") as client:
        responses = OpenAIResponsesModel(model, provider=OpenAIProvider(openai_client=client), settings=settings)
        agent = pydantic_ai.Agent(responses, instructions=f"Look up {words}.")
        agent.tool_plain(lookup_in(words))
        async with agent:
            result = await agent.run("Find all.")
    assert result.output == "All done."


def lookup_in(words: str) -> Callable[[str], str]:
    """A tool that answers in these words."""

    def lookup(key: str) -> str:
        """Looks a key up."""
        return f"the value of {key}: " + " ".join(f"{words}-{number:04d}" for number in range(300))

    return lookup


TURNS = 5
UPSTREAM = """
[targets.up]
dialect = "{dialect}"
base_url = "{base_url}"
{settings}
[models."*"]
targets = ["up"]
"""


async def test_upstream_over_http_is_counted_as_it_is_written(
    fake_chat: FakeChatServer, scripted: Script, tmp_path: Path
) -> None:
    scenario = scripted(*(Answer(f"Answer {number}.") for number in range(TURNS)))
    with ByteRelay(_port_of(fake_chat.base_url)) as relay:
        config = UPSTREAM.format(dialect="chat_completions", base_url=relay.base_url, settings="")
        with RunningServer(config, tmp_path) as landline:
            await _chain(landline, scenario.model)
            ledger = logged_turns(landline, scenario.model, TURNS)
    assert ledger.sum("requests") == TURNS
    assert ledger.sum("upstream_out") == relay.sent_bytes
    # What ends an answer's body may come behind the last event, which is when the turn is over.
    assert relay.received_bytes - TURNS * len("\n0\r\n\r\n") <= ledger.sum("upstream_in") <= relay.received_bytes


async def test_upstream_socket_is_counted_as_frames_are_compressed(tmp_path: Path) -> None:
    fake = FakeResponses(*(Answer(f"Answer {number}. " * 50) for number in range(TURNS)), manners=OPENAI)
    with fake.in_thread(), ByteRelay(_port_of(fake.base_url)) as relay:
        config = UPSTREAM.format(dialect="responses", base_url=relay.base_url, settings='transport = "websocket"')
        with RunningServer(config, tmp_path) as landline:
            await _chain(landline, "any")
            ledger = logged_turns(landline, "any", TURNS)
        [line] = relay.connections
        upgrade_out = line.sent.index(b"\r\n\r\n") + 4
        upgrade_in = line.received.index(b"\r\n\r\n") + 4
    close_bytes = 16
    assert ledger.sum("requests") == TURNS
    assert 0 <= relay.sent_bytes - upgrade_out - ledger.sum("upstream_out") <= close_bytes
    assert 0 <= relay.received_bytes - upgrade_in - ledger.sum("upstream_in") <= close_bytes


async def _chain(landline: RunningServer, model: str) -> None:
    """So many turns on one socket, each continuing the one before."""
    parent: str | None = None
    async with ResponsesSocket(landline.base_url) as socket:
        for number in range(TURNS):
            events = await socket.turn(model=model, input=f"Question {number}?", previous_response_id=parent)
            assert events[-1]["type"] == "response.completed", events[-1]
            parent = events[-1]["response"]["id"]


def _port_of(base_url: str) -> int:
    port = urlsplit(base_url).port
    assert port is not None
    return port
