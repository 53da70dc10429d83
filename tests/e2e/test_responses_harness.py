"""The strict Responses server of the tests refuses what would hide a broken history, and acts as each vendor does."""

import json
from typing import Any

import pytest

from support.clients.responses import ResponsesSocket, post, stream
from support.fakes.responses import OPENAI, VERCEL, XAI, FakeResponses, Manners, Reply
from support.scripts.chat import Answer, Call
from support.strict.responses import (
    Issued,
    RefusedError,
    check_answered,
    check_conversation,
    check_create,
    check_played_back,
)

USER = {"type": "message", "role": "user", "content": "Go."}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
SAID = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]}


def _call(call_id: str, **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "ls", "arguments": "{}", **more}


def _output(call_id: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": "x"}


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([USER, _output("a")], "No tool call found"),
        ([USER, _call("a"), _output("a"), _output("a")], "No tool call found"),
        ([USER, _call("a"), _call("a")], "Duplicate call_id"),
        ([USER, _call("a"), USER], "No tool output found"),
        ([SAID, SAID], "Duplicate item"),
    ],
)
def test_broken_conversations_are_refused(items: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        check_conversation(items)


def test_model_does_not_speak_before_its_calls_are_answered() -> None:
    with pytest.raises(RefusedError, match="No tool output found"):
        check_answered([USER, _call("a"), _call("b"), _output("a")])
    check_answered([USER, _call("a"), _call("b", **{"async": True}), _output("a")])


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([{**THOUGHT, "encrypted_content": "other"}], "could not be verified"),
        ([{**THOUGHT, "summary": [{"type": "summary_text", "text": "x"}]}], "not the one that was sealed"),
        ([{"type": "reasoning", "id": "rs_1", "summary": []}], "not found"),
        ([THOUGHT], "without its required following item"),
        ([THOUGHT, USER], "without its required following item"),
        ([SAID], "without its required 'reasoning' item"),
        ([THOUGHT, {**SAID, "content": "Hello."}], "not what the model said"),
        ([THOUGHT, _call("b", id="fc_1")], "not what the model said"),
    ],
)
def test_what_the_model_said_comes_back_as_it_was(items: list[dict[str, Any]], reason: str) -> None:
    issued = Issued()
    issued.note([THOUGHT, SAID, _call("a", id="fc_1")], is_stored=False)
    check_played_back([THOUGHT, {**SAID, "content": "Hi."}], issued)
    with pytest.raises(RefusedError, match=reason):
        check_played_back(items, issued)


@pytest.mark.parametrize(
    ("body", "is_socket", "reason"),
    [
        ({"model": "m", "generate": False}, False, "'generate'"),
        ({"model": "m", "stream_id": "a"}, False, "'stream_id'"),
        ({"model": "m", "stream": True}, True, "'stream'"),
        ({"model": "m", "new_field": 1}, False, "'new_field'"),
        ({"model": "m", "stream_options": {}}, False, "'stream_options'"),
        ({"input": []}, False, "'model'"),
    ],
)
def test_members_that_have_no_place_are_refused(body: dict[str, Any], is_socket: bool, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        check_create(body, is_socket=is_socket)
    check_create({"model": "m", "vendor_x": 1}, is_socket=is_socket)


async def test_memory_of_a_socket_is_its_own_and_only_the_latest() -> None:
    async with FakeResponses(*[Reply("Yes.")] * 4).serving() as fake:
        async with ResponsesSocket(fake.base_url) as socket, ResponsesSocket(fake.base_url) as other:
            create: dict[str, Any] = {"model": "m", "store": False, "input": [USER]}
            first = (await socket.turn(**create))[-1]["response"]["id"]
            assert (await other.turn(**create, previous_response_id=first))[-1]["type"] == "error"
            second = (await socket.turn(**create, previous_response_id=first))[-1]["response"]["id"]
            missed = (await socket.turn(**create, previous_response_id=first))[-1]
            assert missed["error"]["code"] == "previous_response_not_found"
            await socket.turn(**create, previous_response_id=second)
        assert [len(each) for each in fake.conversations] == [1, 3, 5]
        status, _ = await post(fake.base_url, {**create, "previous_response_id": second})
        assert status == 400


async def test_failed_continuation_loses_its_parent() -> None:
    async with (
        FakeResponses(Reply("Yes."), Reply(fail_with={"code": "server_error", "message": "x"})).serving() as fake,
        ResponsesSocket(fake.base_url) as socket,
    ):
        create: dict[str, Any] = {"model": "m", "store": False, "input": [USER]}
        first = (await socket.turn(**create))[-1]["response"]["id"]
        assert (await socket.turn(**create, previous_response_id=first))[-1]["type"] == "response.failed"
        missed = (await socket.turn(**create, previous_response_id=first))[-1]
        assert missed["error"]["code"] == "previous_response_not_found"


async def test_lanes_run_beside_each_other_and_are_told_apart() -> None:
    async with (
        FakeResponses(Reply("First.", pause_after=2), Reply("Second.")).serving() as fake,
        ResponsesSocket(fake.base_url) as socket,
    ):
        await socket.create(model="m", stream_id="a", input=[USER])
        while (await socket.receive())["type"] != "response.in_progress":
            pass
        await socket.create(model="m", stream_id="b", input=[USER])
        ended = await socket.receive_until("response.completed")
        assert {event["stream_id"] for event in ended} == {"b"}
        fake.release()
        ended = await socket.receive_until("response.completed")
        assert {event["stream_id"] for event in ended} == {"a"}


@pytest.mark.parametrize(
    ("manners", "fields", "reason"),
    [
        (XAI, {"stream_id": "a"}, "stream_id"),
        (XAI, {"instructions": "Be kind.", "previous_response_id": "resp_1"}, "instructions"),
        (OPENAI, {"previous_response_id": "resp_0"}, "not found"),
    ],
    ids=["lanes", "instructions", "unknown parent"],
)
async def test_vendor_refuses_what_it_does_not_take(manners: Manners, fields: dict[str, Any], reason: str) -> None:
    async with (
        FakeResponses(Reply("Yes."), manners=manners).serving() as fake,
        ResponsesSocket(fake.base_url) as socket,
    ):
        await socket.turn(model="m", input=[USER])
        await socket.create(model="m", input=[USER], **fields)
        error = await socket.receive()
    assert reason in error["error"]["message"]
    assert ("type" in error) is not manners.has_bare_errors


async def test_frame_over_the_limit_closes_the_socket() -> None:
    async with FakeResponses(manners=VERCEL).serving() as fake, ResponsesSocket(fake.base_url) as socket:
        await socket.send_text(json.dumps({"type": "response.create", "input": "x" * VERCEL.max_frame_bytes}))
        assert await socket.receive_close() == 1009


async def test_expired_socket_says_so_and_closes() -> None:
    async with FakeResponses(Reply("Yes.")).serving() as fake, ResponsesSocket(fake.base_url) as socket:
        await socket.turn(model="m", input=[USER])
        fake.expire_sockets()
        limit = (await socket.turn(model="m", input=[USER]))[-1]
        assert limit["error"]["code"] == "websocket_connection_limit_reached"
        assert await socket.receive_close() == 1001


async def test_calls_are_named_as_the_request_offers_them() -> None:
    tools = [
        {"type": "custom", "name": "patch"},
        {"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "look", "parameters": {}}]},
    ]
    answer = Answer(calls=(Call("patch", input="x"), Call("look", {"a": 1})))
    async with FakeResponses(answer, answer).serving() as fake:
        events = await stream(fake.base_url, {"model": "m", "input": [USER], "tools": tools})
        custom, function = events[-1]["response"]["output"]
        assert (custom["type"], custom["input"]) == ("custom_tool_call", "x")
        assert (function["namespace"], function["arguments"]) == ("ns", '{"a": 1}')
        await stream(fake.base_url, {"model": "m", "input": [USER]})
        assert fake.received[1].refused is not None
        assert "expected a tool named" in fake.received[1].refused
