"""The openai package for Node, unmodified, against Landline: SSE, and tool calls over `ResponsesWS`."""

import pytest

from support.clients.node import run_node
from support.fakes.chat import Script
from support.scripts.chat import Answer, call
from support.servers.running import RunningServer

pytestmark = pytest.mark.client


def test_stream_over_sse(landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("Hello from afar."))
    events = run_node("openai_sse.mjs", base_url=landline.base_url, model=scenario.model)
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert "".join(deltas) == "Hello from afar."
    assert events[-1]["type"] == "response.completed"


def test_twenty_tool_calls_over_one_socket_then_an_error(landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(*(call("lookup", key=f"key {number}") for number in range(20)), Answer("All found."))
    events = run_node("openai_socket.mjs", base_url=landline.base_url, model=scenario.model)
    completed = [event["response"] for event in events if event["type"] == "response.completed"]
    assert [each["previous_response_id"] for each in completed[1:]] == [each["id"] for each in completed[:-1]]
    assert completed[-1]["output"][0]["content"][0]["text"] == "All found."
    assert events[-1]["error"]["code"] == "previous_response_not_found"
    assert len(scenario.received) == 21
    scenario.assert_conversation()
