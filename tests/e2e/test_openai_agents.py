"""The Agents SDK for Python, unmodified, over its WebSocket transport: a run of twenty tool calls on one socket."""

import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import agents
import pytest
import pytest_asyncio

from support.fakes.chat import Script
from support.scripts.chat import Answer, call
from support.servers.byte_relay import ByteRelay, client_messages
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

CALLS = 20


@pytest_asyncio.fixture
async def relay(landline: RunningServer) -> AsyncIterator[ByteRelay]:
    agents.set_tracing_disabled(True)
    with ByteRelay(landline.port) as made:
        yield made


@pytest.mark.parametrize("chained", [False, True])
async def test_twenty_tool_calls_on_one_socket(chained: bool, relay: ByteRelay, scripted: Script) -> None:
    scenario = scripted(*(call("lookup", key=f"item-{number}") for number in range(CALLS)), Answer("All found."))
    agent = agents.Agent(name="Finder", instructions="Look things up.", tools=[_lookup()], model=scenario.model)
    async with agents.responses_websocket_session(
        base_url=relay.base_url, api_key="test-key", openai_prefix_mode="model_id", unknown_prefix_mode="model_id"
    ) as session:
        result = await session.run(agent, "Find all.", max_turns=CALLS + 5, auto_previous_response_id=chained)
    assert result.final_output == "All found."
    scenario.assert_conversation()
    (connection,) = relay.connections
    frames = [json.loads(message) for message in client_messages(connection)]
    assert len(frames) == CALLS + 1
    inputs = [len(frame["input"]) for frame in frames]
    if chained:
        assert inputs == [1] * (CALLS + 1)
        assert all(frame["previous_response_id"] for frame in frames[1:])
    else:
        assert all(later > earlier for earlier, later in itertools.pairwise(inputs))


def _lookup() -> Any:
    @agents.function_tool
    def lookup(key: str) -> str:
        """Looks a key up."""
        return f"the value of {key}"

    return lookup
