"""Landline's own agent against a real Landline: tools over a folder, on both transports and with the real model."""

import json
from pathlib import Path
from typing import Any

import pytest

from landline.agent import AgentSettings, Endpoint, RunResult, run_agent
from landline.agent.folder_tools import folder_tools
from support.fakes.chat import Script
from support.scripts.chat import Answer, call
from support.servers.byte_relay import ByteRelay, client_messages
from support.servers.running import RunningServer

CLOSE_FRAME_BYTES = 16
STEPS = (call("ls", path="."), call("read_file", path="note.txt"), call("grep", text="blue"), Answer("A blue note."))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "note.txt").write_text("the sky is blue\n")
    return tmp_path


async def ask(base_url: str, model: str | None, folder: Path, transport: Any = "ws", **settings: Any) -> RunResult:
    return await run_agent(
        "What does this folder contain?",
        endpoint=Endpoint(base_url=base_url, transport=transport),
        tools=folder_tools(folder),
        settings=AgentSettings(model=model, **settings),
    )


async def test_deltas_on_one_socket_cost_what_the_agent_says(
    landline: RunningServer, scripted: Script, folder: Path
) -> None:
    scenario = scripted(*STEPS)
    with ByteRelay(landline.port) as relay:
        result = await ask(relay.base_url, scenario.model, folder)
    assert (result.outcome, result.answer) == ("answered", "A blue note.")
    scenario.assert_conversation()
    (connection,) = relay.connections
    messages = client_messages(connection)
    assert [turn.payload_bytes for turn in result.turns] == [len(message) for message in messages]
    assert [len(json.loads(message)["input"]) for message in messages] == [1] * len(STEPS)
    assert result.wire_sent_bytes is not None
    assert 0 <= relay.sent_bytes - result.wire_sent_bytes <= CLOSE_FRAME_BYTES


async def test_http_reads_the_same_conversation(landline: RunningServer, scripted: Script, folder: Path) -> None:
    over_socket, over_http = scripted(*STEPS), scripted(*STEPS)
    await ask(landline.base_url, over_socket.model, folder)
    result = await ask(landline.base_url, over_http.model, folder, "http")
    assert result.outcome == "answered"
    over_http.assert_conversation()
    assert [_roles(each) for each in over_http.received] == [_roles(each) for each in over_socket.received]


async def test_server_without_sockets_is_spoken_to_over_http(
    landline_without_sockets: RunningServer, scripted: Script, folder: Path
) -> None:
    scenario = scripted(*STEPS)
    result = await ask(landline_without_sockets.base_url, scenario.model, folder)
    assert result.outcome == "answered"
    assert {turn.transport for turn in result.turns} == {"http"}
    assert "426" in result.turns[0].notes[0]


@pytest.mark.model
async def test_embedded_model_calls_a_tool_and_its_later_turns_are_warm(
    embedded_landline: RunningServer, folder: Path
) -> None:
    """Greedy, and with room for strings as long as the grammar lets them be: a sampled path now and then is that long."""
    result = await ask(embedded_landline.base_url, None, folder, max_turns=3, max_output_tokens=1024, temperature=0)
    assert result.outcome in ("answered", "gave_up"), result.message
    first, second = result.turns[:2]
    assert first.calls
    assert first.calls[0].name in ("ls", "read_file", "grep")
    assert json.loads(first.calls[0].arguments) is not None
    assert second.is_delta
    assert second.tokens is not None
    assert second.tokens.cached


def _roles(received: Any) -> list[str]:
    return [message["role"] for message in received.messages]
