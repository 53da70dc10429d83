"""The tests' own tools: a fake that lets everything pass, or a tap that reads nothing, would prove nothing."""

import json
from typing import Any

import aiohttp
import pytest

from support.clients.responses import ResponsesSocket
from support.fakes.chat import FakeChatServer, Script
from support.scripts.chat import Answer, call, custom_call
from support.servers.byte_relay import ByteRelay, client_messages
from support.servers.running import RunningServer
from support.strict.chat import BrokenRequestError, check_history, check_request

USER = {"role": "user", "content": "Go."}
TOOL = {"type": "function", "function": {"name": "ls", "parameters": {"type": "object", "properties": {}}}}
JOINED_TOOL = {
    "type": "function",
    "function": {"name": "ns__run", "parameters": {"type": "object", "properties": {"code": {"type": "string"}}}},
}


def _called(*ids: str) -> dict[str, Any]:
    function = {"name": "ls", "arguments": "{}"}
    calls = [{"id": each, "type": "function", "function": function} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _answered(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "x"}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([USER, _answered("a")], "without its call"),
        ([USER, _called("a")], "unanswered"),
        ([USER, _called("a"), USER], "not answered before"),
        ([USER, _called("a"), _answered("a"), USER, _answered("a")], "without its call"),
        ([USER, _called("a"), _answered("a"), _called("a"), _answered("a")], "used twice"),
        ([USER, _called("a", "b"), _answered("b"), USER], "not answered before"),
        ([{"role": "function", "content": "x"}], "unknown role"),
        ([{"role": "user", "content": [{"type": "input_text", "text": "x"}]}], "part"),
        ([{"role": "user", "content": None}], "null"),
        ([{"role": "assistant", "content": None}], "without content"),
        ([{"type": "message", **USER}], "unknown keys"),
    ],
)
def test_strict_server_refuses_broken_histories(messages: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(BrokenRequestError, match=reason):
        check_history(messages)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tools": [{"type": "web_search"}]}, "type 'web_search'"),
        ({"tools": [TOOL, TOOL]}, "twice"),
        ({"tools": [{"type": "function", "function": {"name": "a.b"}}]}, "named"),
        ({"tools": []}, "at least one"),
        ({"tool_choice": "auto"}, "without `tools`"),
        ({"input": "x"}, "unknown fields"),
        ({"stream_options": {"include_usage": True}}, "without `stream`"),
    ],
)
def test_strict_server_refuses_broken_settings(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(BrokenRequestError, match=reason):
        check_request({"model": "m", "messages": [USER], **fields})


def test_strict_server_takes_parallel_calls_answered_in_any_order() -> None:
    check_history([USER, _called("a", "b"), _answered("b"), _answered("a"), {"role": "assistant", "content": "ok"}])


async def test_calls_are_named_as_the_request_names_them(fake_chat: FakeChatServer, scripted: Script) -> None:
    scenario = scripted(custom_call("run", "1 + 1"))
    body = {"model": scenario.model, "messages": [USER], "tools": [TOOL, JOINED_TOOL]}
    message = (await _complete(fake_chat, body))["choices"][0]["message"]
    function = message["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("ns__run", {"code": "1 + 1"})


async def test_cached_tokens_are_those_of_the_common_prefix(fake_chat: FakeChatServer, scripted: Script) -> None:
    scenario = scripted(Answer("One."), Answer("Two."))
    first_message = {"role": "user", "content": "Something to remember " * 20}
    body: dict[str, Any] = {"model": scenario.model, "messages": [first_message], "tools": [TOOL]}
    first = (await _complete(fake_chat, body))["usage"]
    body["messages"] = [first_message, {"role": "assistant", "content": "One."}, USER]
    second = (await _complete(fake_chat, body))["usage"]
    assert second["prompt_tokens_details"]["cached_tokens"] == first["prompt_tokens"] < second["prompt_tokens"]


async def test_script_that_ran_out_refuses(fake_chat: FakeChatServer, scripted: Script) -> None:
    scenario = scripted(call("absent"))
    for reason in ("expected one tool named 'absent'", "the script has 1 steps"):
        reply = await _complete(fake_chat, {"model": scenario.model, "messages": [USER], "tools": [TOOL]})
        assert reason in reply["error"]["message"]
    with pytest.raises(AssertionError):
        scenario.assert_conversation()


async def test_relay_reads_compressed_frames(landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("Hello."))
    with ByteRelay(landline.port) as relay:
        async with ResponsesSocket(relay.base_url) as socket:
            await socket.turn(model=scenario.model, store=False, input="repeated words " * 500)
    (connection,) = relay.connections
    (message,) = client_messages(connection)
    assert json.loads(message)["input"] == "repeated words " * 500
    assert b"permessage-deflate" in connection.response_head.lower()
    assert len(connection.sent) < len(message) / 4


async def _complete(server: FakeChatServer, body: dict[str, Any]) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{server.base_url}/chat/completions", json=body) as reply,
    ):
        return await reply.json()
