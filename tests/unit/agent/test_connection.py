"""The connection of the agent against a scripted server that records every byte."""

import asyncio
import json
from typing import Any

import pytest

from landline.agent import AgentSettings, Endpoint, LocalTool, RunResult, SilentReporter, run_agent
from support.fakes.responses import CutLine, Fail, FakeResponses, Reply, Silence
from support.servers.byte_relay import ByteRelay

ECHO = LocalTool("echo", "Says it again.", {"type": "object"}, lambda arguments: f"heard {arguments} " + "x" * 500)
TOOLS = {"echo": ECHO}

CLOSE_FRAME_BYTES = 16
"""Nothing else may cross the wire after the last turn."""


def call(number: int) -> Reply:
    return Reply(calls=[("echo", json.dumps({"n": number}))])


async def run(fake: FakeResponses, *, base_url: str | None = None, transport: Any = "ws", **settings: Any) -> RunResult:
    endpoint = Endpoint(base_url=base_url or fake.base_url, transport=transport)
    return await run_agent("why?", endpoint=endpoint, tools=TOOLS, settings=AgentSettings(**settings), sleep=no_sleep)


async def no_sleep(seconds: float) -> None:
    await asyncio.sleep(0)


def kinds(items: list[dict[str, Any]]) -> list[str]:
    return [item["type"] for item in items]


async def test_socket_sends_only_new_items_after_the_first_turn() -> None:
    async with FakeResponses(call(1), call(2), Reply("done")).serving() as fake:
        result = await run(fake)
    assert (result.outcome, result.answer) == ("answered", "done")
    frames = [json.loads(frame) for frame in fake.frames]
    assert [kinds(frame["input"]) for frame in frames] == [
        ["message"],
        ["function_call_output"],
        ["function_call_output"],
    ]
    assert [frame.get("previous_response_id") for frame in frames] == [None, "resp_1", "resp_2"]
    assert all(frame["store"] is False and "stream" not in frame for frame in frames)
    assert [turn.is_delta for turn in result.turns] == [False, True, True]
    assert len(fake.upgrades) == 1


async def test_first_turn_must_call_a_tool_and_the_next_ones_may() -> None:
    async with FakeResponses(call(1), Reply("done")).serving() as fake:
        await run(fake)
    assert [json.loads(frame)["tool_choice"] for frame in fake.frames] == ["required", "auto"]


async def test_model_is_the_servers_first_when_none_is_named() -> None:
    async with FakeResponses(Reply("done")).serving() as fake:
        await run(fake)
    assert json.loads(fake.frames[0])["model"] == "fake-model"


async def test_payload_numbers_are_the_bytes_the_server_read() -> None:
    async with FakeResponses(call(1), call(2), Reply("done")).serving() as fake:
        result = await run(fake)
    assert [turn.payload_bytes for turn in result.turns] == [len(frame) for frame in fake.frames]


async def test_stateless_numbers_are_the_bodies_that_http_sends() -> None:
    script = (call(1), Reply("thinking", calls=[("echo", "{}"), ("echo", "[]")]), Reply("done é"))
    async with FakeResponses(*script).serving() as fake:
        over_socket = await run(fake)
    async with FakeResponses(*script).serving() as fake:
        over_http = await run(fake, transport="http")
    sizes = [len(body) for body in fake.bodies]
    assert [turn.stateless_bytes for turn in over_socket.turns] == sizes
    assert [turn.stateless_bytes for turn in over_http.turns] == sizes
    assert [turn.payload_bytes for turn in over_http.turns] == sizes


@pytest.mark.parametrize("transport", ["ws", "http"])
async def test_wire_numbers_are_what_a_relay_in_between_counts(transport: str) -> None:
    async with FakeResponses(call(1), call(2), Reply("done")).serving() as fake:
        with ByteRelay(fake.port) as relay:
            result = await run(fake, base_url=relay.base_url, transport=transport, model="named")
    sent, received = result.wire_sent_bytes, sum(turn.wire_received_bytes or 0 for turn in result.turns)
    assert sent is not None
    assert 0 <= relay.sent_bytes - sent <= CLOSE_FRAME_BYTES
    assert 0 <= relay.received_bytes - received <= CLOSE_FRAME_BYTES


async def test_http_turns_share_one_connection() -> None:
    async with FakeResponses(call(1), call(2), Reply("done")).serving() as fake:
        with ByteRelay(fake.port) as relay:
            await run(fake, base_url=relay.base_url, transport="http")
    assert len(relay.connections) == 1


async def test_socket_frames_are_deflated_with_context_takeover() -> None:
    async with FakeResponses(*(call(n) for n in range(6)), Reply("done")).serving() as fake:
        result = await run(fake)
    assert "permessage-deflate" in fake.upgrades[0]["Sec-WebSocket-Extensions"]
    later = result.turns[2]
    assert later.wire_sent_bytes is not None
    assert later.wire_sent_bytes < later.payload_bytes / 4


@pytest.mark.parametrize("transport", ["ws", "http"])
async def test_model_reads_the_same_conversation_on_both_transports(transport: str) -> None:
    async with FakeResponses(call(1), call(2), Reply("done")).serving() as fake:
        await run(fake, transport=transport)
    assert [kinds(items) for items in fake.conversations] == [
        ["message"],
        ["message", "function_call", "function_call_output"],
        ["message", "function_call", "function_call_output", "function_call", "function_call_output"],
    ]


async def test_forgotten_parent_is_answered_by_one_full_request_on_the_same_socket() -> None:
    async with FakeResponses(call(1), call(2), Reply("done")).serving() as fake:
        result = await forget_after_first_turn(fake)
    assert result.outcome == "answered"
    assert [json.loads(frame).get("previous_response_id") for frame in fake.frames] == [None, "resp_1", None, "resp_2"]
    assert kinds(fake.conversations[1]) == ["message", "function_call", "function_call_output"]
    assert len(fake.upgrades) == 1
    assert result.turns[1].payload_bytes == len(fake.frames[1]) + len(fake.frames[2])
    assert len(result.turns[1].notes) == 1


async def forget_after_first_turn(fake: FakeResponses) -> RunResult:
    class Forgetful(SilentReporter):
        def turn_ended(self, turn: object) -> None:
            fake.forgets = len(fake.frames) == 1

    return await run_agent(
        "why?", endpoint=Endpoint(base_url=fake.base_url), tools=TOOLS, reporter=Forgetful(), sleep=no_sleep
    )


async def test_age_limit_is_answered_by_a_full_request_on_a_new_socket() -> None:
    limit = {
        "type": "error",
        "status": 400,
        "error": {"code": "websocket_connection_limit_reached", "message": "60 min"},
    }
    async with FakeResponses(call(1), Fail(limit), Reply("done")).serving() as fake:
        result = await run(fake)
    assert result.outcome == "answered"
    assert len(fake.upgrades) == 2
    assert "previous_response_id" not in json.loads(fake.frames[2])
    assert kinds(fake.conversations[-1]) == ["message", "function_call", "function_call_output"]


@pytest.mark.parametrize("cut", [CutLine(), CutLine(after_text="half an")])
async def test_cut_is_answered_by_a_full_request_on_a_new_socket(cut: CutLine) -> None:
    async with FakeResponses(call(1), cut, call(2), Reply("done")).serving() as fake:
        result = await run(fake)
    assert result.outcome == "answered"
    assert result.answer == "done"
    assert len(fake.upgrades) == 2
    parents = [json.loads(frame).get("previous_response_id") for frame in fake.frames]
    assert parents == [None, "resp_1", None, "resp_2"], "deltas again after the recovery"
    assert kinds(fake.conversations[1]) == ["message", "function_call", "function_call_output"]


@pytest.mark.parametrize("transport", ["ws", "http"])
async def test_second_cut_in_one_turn_ends_the_run(transport: str) -> None:
    async with FakeResponses(CutLine(after_text="a"), CutLine(after_text="b"), Reply("never")).serving() as fake:
        result = await run(fake, transport=transport)
    assert result.outcome == "failed"
    assert "the connection was lost" in result.message
    assert len(fake.steps) == 1


async def test_cut_stream_over_http_is_asked_again_once() -> None:
    async with FakeResponses(CutLine(after_text="half"), Reply("done")).serving() as fake:
        result = await run(fake, transport="http")
    assert result.answer == "done"
    assert fake.bodies[0] == fake.bodies[1]


@pytest.mark.parametrize("status", [426, 404, 403])
async def test_refused_upgrade_falls_back_to_http_for_the_rest(status: int) -> None:
    async with FakeResponses(call(1), Reply("done"), upgrade_status=status).serving() as fake:
        result = await run(fake)
    assert result.outcome == "answered"
    assert len(fake.upgrades) == 1
    assert [turn.transport for turn in result.turns] == ["http", "http"]
    assert [json.loads(body)["stream"] for body in fake.bodies] == [True, True]


async def test_bad_key_at_the_upgrade_fails_without_another_try() -> None:
    async with FakeResponses(upgrade_status=401).serving() as fake:
        result = await run(fake)
    assert result.outcome == "failed"
    assert "invalid_api_key" in result.message
    assert (len(fake.upgrades), fake.bodies) == (1, [])


async def test_key_is_sent_on_both_transports() -> None:
    async with FakeResponses(Reply("done"), Reply("done")).serving() as fake:
        for transport in ("ws", "http"):
            endpoint = Endpoint(base_url=fake.base_url, transport=transport, api_key="sesame")
            await run_agent("why?", endpoint=endpoint, tools=TOOLS)
    assert fake.upgrades[0]["Authorization"] == fake.headers[0]["Authorization"] == "Bearer sesame"


RATE_ERROR = {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "slow"}


@pytest.mark.parametrize(
    ("transport", "fail"),
    [
        ("ws", Fail({"type": "error", "status": 429, "headers": {"retry-after": "2.5"}, "error": RATE_ERROR})),
        ("ws", Fail({"type": "error", "status": 429, "error": {**RATE_ERROR, "headers": {"Retry-After": "2.5"}}})),
        ("http", Fail({"error": RATE_ERROR}, status=429, headers={"retry-after-ms": "2500"})),
    ],
)
async def test_429_waits_as_long_as_it_says_and_asks_again(transport: Any, fail: Fail) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with FakeResponses(fail, Reply("done")).serving() as fake:
        endpoint = Endpoint(base_url=fake.base_url, transport=transport)
        result = await run_agent("why?", endpoint=endpoint, tools=TOOLS, sleep=sleep)
    assert (result.outcome, waits) == ("answered", [2.5])


async def test_error_in_mid_response_leaves_nothing_for_the_next_turn_to_read() -> None:
    error = {"type": "server_error", "code": "server_error", "message": "broke", "headers": {"retry-after": "0"}}
    late = Fail({"type": "error", "status": 500, "error": error}, is_late=True)
    async with FakeResponses(call(1), late, call(2), Reply("done")).serving() as fake:
        result = await run(fake)
    assert result.outcome == "answered"
    assert len(fake.upgrades) == 2
    assert len(result.turns) == 3


@pytest.mark.parametrize("transport", ["ws", "http"])
async def test_silent_server_is_given_up_after_the_idle_time(transport: Any) -> None:
    async with FakeResponses(Silence(), Silence()).serving() as fake:
        endpoint = Endpoint(base_url=fake.base_url, transport=transport, idle_timeout_s=0.05)
        result = await run_agent("why?", endpoint=endpoint, tools=TOOLS)
    assert result.outcome == "failed"
    assert "0.05 s" in result.message
    assert fake.steps == []


async def test_429_of_a_delta_is_followed_by_full_history() -> None:
    fail = Fail({"type": "error", "status": 429, "headers": {"retry-after": "0"}, "error": RATE_ERROR})
    async with FakeResponses(call(1), fail, Reply("done")).serving() as fake:
        result = await run(fake)
    assert result.outcome == "answered"
    assert [json.loads(frame).get("previous_response_id") for frame in fake.frames] == [None, "resp_1", None]


@pytest.mark.parametrize(
    "error",
    [
        {"code": "insufficient_quota", "message": "no credit"},
        {"code": "rate_limit_exceeded", "message": "tomorrow", "headers": {"retry-after": "86400"}},
    ],
)
async def test_429_that_waiting_cannot_cure_fails_at_once(error: dict[str, Any]) -> None:
    async with FakeResponses(Fail({"type": "error", "status": 429, "error": error}), Reply("never")).serving() as fake:
        result = await run(fake)
    assert result.outcome == "failed"
    assert error["message"] in result.message
    assert len(fake.steps) == 1


async def test_server_that_never_continues_is_asked_in_full_from_the_third_turn_on() -> None:
    refusal = Fail({"error": {"message": "chaining is not for stored=false"}, "status": 400})
    script = (call(1), refusal, call(2), refusal, call(3), call(4), Reply("done"))
    async with FakeResponses(*script).serving() as fake:
        result = await run(fake)
    assert result.outcome == "answered"
    assert [turn.is_delta for turn in result.turns] == [False] * 5
    assert len(fake.frames) == 7


async def test_output_that_only_the_terminal_response_holds_is_read() -> None:
    script = (Reply(calls=[("echo", "{}")], is_terminal_only=True), Reply("done", is_terminal_only=True))
    async with FakeResponses(*script).serving() as fake:
        result = await run(fake)
    assert (result.outcome, result.answer) == ("answered", "done")


async def test_replayed_items_carry_no_ids_and_hidden_reasoning_is_left_out() -> None:
    hidden = {"type": "reasoning", "id": "rs_1", "summary": []}
    sealed = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAA"}
    script = (Reply(items=[hidden, sealed], text="so", calls=[("echo", "{}")]), Reply("done"))
    async with FakeResponses(*script).serving() as fake:
        await run(fake, transport="http")
    _, reasoning, message, function_call, _ = json.loads(fake.bodies[1])["input"]
    assert reasoning == sealed
    assert "id" not in message
    assert set(function_call) == {"type", "call_id", "name", "arguments"}


async def test_nobody_listening_fails_with_the_address() -> None:
    async with FakeResponses().serving() as fake:
        url = fake.base_url
    for transport in ("ws", "http"):
        endpoint = Endpoint(base_url=url, transport=transport)
        result = await run_agent("why?", endpoint=endpoint, tools=TOOLS, settings=AgentSettings(model="m"))
        assert result.outcome == "failed"
        assert url.removeprefix("http") in result.message
