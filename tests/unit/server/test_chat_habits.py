"""What belongs to the chat-completions API is refused on every way in, with what to use instead; what says nothing is not."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from support.servers.state import DEADLINE_S, state_server

USER = {"role": "user", "content": "hi"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
WRONG_ITEMS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"role": "tool", "content": "42"}, "role", "invalid_value", "function_call_output"),
    ({"role": "tool", "tool_call_id": "c", "content": "42"}, "role", "invalid_value", "function_call_output"),
    ({"role": "function", "name": "f", "content": "42"}, "role", "invalid_value", "function_call_output"),
    ({"type": "message", "role": "narrator", "content": "x"}, "role", "invalid_value", "`developer`"),
    ({"type": "message", "role": "User", "content": "x"}, "role", "invalid_value", "`user`"),
    ({"type": "message", "role": "", "content": "x"}, "role", "invalid_value", "`system`"),
    (
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        "tool_calls",
        "unsupported_parameter",
        "`function_call`",
    ),
    (
        {"role": "assistant", "content": "x", "function_call": {"name": "f"}},
        "function_call",
        "unsupported_parameter",
        "item",
    ),
    (
        {"role": "user", "content": "x", "tool_call_id": "c"},
        "tool_call_id",
        "unsupported_parameter",
        "function_call_output",
    ),
]
wrong_items = pytest.mark.parametrize(("item", "member", "code", "says"), WRONG_ITEMS)
MEMBERS: list[tuple[str, object, str]] = [
    ("response_format", {"type": "json_object"}, "`text.format`"),
    ("messages", [USER], "`input`"),
    ("functions", [{"name": "f"}], "`tools`"),
    ("function_call", "auto", "`tool_choice`"),
    ("max_tokens", 100, "`max_output_tokens`"),
    ("max_completion_tokens", 100, "`max_output_tokens`"),
    ("n", 2, "request"),
    ("stop", ["END"], "stop"),
]


@wrong_items
@pytest.mark.parametrize("path", ["/responses", "/responses/compact", "/responses/input_tokens"])
async def test_message_of_another_api_is_refused(
    path: str, item: dict[str, Any], member: str, code: str, says: str
) -> None:
    async with state_server() as server:
        status, answer = await server.ask("POST", path, {"model": "m", "input": [USER, item]})
        assert (status, answer["error"]["code"], answer["error"]["param"]) == (400, code, f"input[1].{member}")
        assert says in answer["error"]["message"]
        assert server.target.prompts == []


@wrong_items
async def test_conversation_takes_no_message_of_another_api(
    item: dict[str, Any], member: str, code: str, says: str
) -> None:
    async with state_server() as server:
        assert (await server.error("POST", "/conversations", {"items": [item]})) == (400, code, f"items[0].{member}")
        _, made = await server.ask("POST", "/conversations", {})
        path = f"/conversations/{made['id']}/items"
        assert (await server.error("POST", path, {"items": [USER, item]})) == (400, code, f"items[1].{member}")


@wrong_items
async def test_frames_are_refused_alike(item: dict[str, Any], member: str, code: str, says: str) -> None:
    async with state_server() as server, connect(server.url.replace("http", "ws") + "/responses") as line:
        await line.send(json.dumps({"type": "response.create", "model": "m", "input": [item]}))
        error = json.loads(await asyncio.wait_for(line.recv(), DEADLINE_S))
        assert (error["error"]["code"], error["error"]["param"]) == (code, f"input[0].{member}")
        await line.send(json.dumps({"type": "response.steer", "previous_response_id": "r", "input": [item]}))
        assert json.loads(await asyncio.wait_for(line.recv(), DEADLINE_S))["type"] == "response.steer.failed"


@pytest.mark.parametrize(("name", "value", "says"), MEMBERS)
async def test_member_of_another_api_is_refused(name: str, value: object, says: str) -> None:
    async with state_server() as server:
        for path in ("/responses", "/responses/compact", "/responses/input_tokens"):
            status, answer = await server.ask("POST", path, {"model": "m", "input": "hi", name: value})
            assert (status, answer["error"]["code"], answer["error"]["param"]) == (400, "unsupported_parameter", name)
            assert says in answer["error"]["message"]
        status, answer = await server.ask("POST", "/responses", {"model": "m", name: value})
        assert answer["error"]["param"] == name


@pytest.mark.parametrize("role", ["user", "assistant", "system", "developer"])
async def test_what_says_nothing_passes(role: str) -> None:
    empty: dict[str, Any] = dict.fromkeys(("tool_calls", "function_call", "tool_call_id"))
    messages: list[dict[str, Any]] = [
        {"role": role, "content": "x", "name": "n", **empty},
        {"role": "assistant", "content": "y", "tool_calls": []},
        {"role": "user", "content": 'Why is "tool_calls" in {"function_call": 1} no member?'},
    ]
    nothing: dict[str, Any] = dict.fromkeys(name for name, _, _ in MEMBERS)
    async with state_server() as server:
        assert (await server.create(messages, **nothing))["status"] == "completed"
        assert (await server.create("x", n=1, stop=[], client_metadata={"a": 1}, seed=7))["status"] == "completed"
