"""Whatever an upstream sends: the turn ends in its own error or well, and what was kept of it can be read."""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from landline.dialects.anthropic import Anthropic
from landline.dialects.chat_completions import ChatCompletions
from landline.dialects.dialect import Dialect
from landline.dialects.gemini import Gemini
from landline.dialects.responses import Responses
from landline.routing.choice import Route
from landline.routing.router import Router
from landline.server.ids import new_id
from landline.session.admission import CreateOrigin, admit
from landline.session.turn import Turn, TurnEnded, TurnRefused
from landline.stores.memory import MemoryStore
from landline.stores.store import Page
from landline.turns.parts import RunnerSettings
from landline.turns.runner import TurnRunner
from landline.upstream import HttpTarget
from landline.upstream.endpoint import TargetEndpoint
from landline.upstream.target import Target
from landline.upstream.websocket import ResponsesSocketTarget
from landline.wire.errors import ApiError
from landline.wire.requests import CreateRequest, decode_create
from support.turns.reply import updates_of

DEEP = b"[" * 100_000 + b"]" * 100_000
BROKEN = {
    "depth": DEEP,
    "some depth": b'{"a":' * 950 + b"1" + b"}" * 950,
    "float": b"1e400",
    "integer": b"6" * 5000,
    "bytes": b'"\xff\xfe"',
    "half a pair": b'"\\ud83d"',
}
broken_values = pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
DIALECTS = {"chat": ChatCompletions, "anthropic": Anthropic, "gemini": Gemini, "responses": Responses}

PLACES = {
    "chat": [
        b'{"choices":[{"index":0,"delta":{"content":"a","x":%s}}]}',
        b'{"choices":[{"index":0,"delta":{"content":%s}}]}',
        b'{"choices":[{"index":0,"delta":{"reasoning_details":[{"type":"reasoning.encrypted","data":"d","x":%s}]}}]}',
        b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":%s}}]}}]}',
        b'{"error":{"message":"no","metadata":{"raw":%s}}}',
        b'{"x":%s}',
    ],
    "anthropic": [
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":%s}}',
        b'{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"t","signature":"s","x":%s}}',
        b'{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":%s}}',
        b'{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c","name":"f","input":{"x":%s}}}',
        b'{"type":"error","error":{"type":"api_error","message":%s}}',
        b'{"type":"never_heard_of","x":%s}',
        b'{"type":"message","content":[{"type":"text","text":"a","x":%s}],"stop_reason":"end_turn"}',
    ],
    "gemini": [
        b'{"candidates":[{"content":{"parts":[{"text":"a","x":%s}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"x":%s}}}]},"finishReason":"STOP"}]}',
        b'{"candidates":[{"content":{"parts":[{"text":%s,"thoughtSignature":"s"}]}}]}',
        b'{"error":{"code":500,"message":"no","details":[%s]}}',
    ],
    "responses": [
        b'{"type":"response.created","response":{"id":"r","x":%s}}',
        b'{"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"m","role":"assistant","x":%s}}',
        b'{"type":"response.output_item.done","output_index":0,"item":{"type":"acme_note","id":"n","x":%s}}',
        b'{"type":"response.output_text.delta","output_index":0,"delta":%s}',
        b'{"type":"response.completed","response":{"id":"r","output":[{"type":"acme_note","x":%s}]}}',
        b'{"type":"response.failed","response":{"id":"r","error":{"code":"x","message":%s}}}',
        b'{"type":"error","error":{"code":"x","message":%s}}',
        b'{"object":"response","id":"r","status":"completed","output":[{"type":"acme_note","x":%s}]}',
    ],
}
ENDS = {
    "chat": b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
    "anthropic": b'{"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\ndata: {"type":"message_stop"}',
    "gemini": b'{"candidates":[{"finishReason":"STOP"}]}',
    "responses": b'{"type":"response.completed","response":{"id":"r","output":[]}}',
}
places = pytest.mark.parametrize(("kind", "place"), [(kind, place) for kind in PLACES for place in PLACES[kind]])


class Upstream:
    """A server that answers everything with the same bytes."""

    def __init__(self, body: bytes, *, status: int = 200, content_type: str = "text/event-stream") -> None:
        self.body = body
        self.status = status
        self.content_type = content_type
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await self._answer_frames(request)
        return web.Response(body=self.body, status=self.status, headers={"Content-Type": self.content_type})

    async def _answer_frames(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            for frame in self.body.split(b"\n\n"):
                await socket.send_bytes(frame.removeprefix(b"data: "))
        return socket


@asynccontextmanager
async def serving(upstream: Upstream) -> AsyncGenerator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", upstream.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("/v1"))


@asynccontextmanager
async def runner_of(dialect: Dialect, upstream: Upstream, store: MemoryStore) -> AsyncGenerator[TurnRunner]:
    async with serving(upstream) as url:
        target: Target = HttpTarget(TargetEndpoint("up", url, api_key="key"), dialect)
        if upstream.content_type == "frames":
            assert isinstance(dialect, Responses)
            target = ResponsesSocketTarget(TargetEndpoint("up", url, api_key="key"), dialect)
        await target.open()
        runner = TurnRunner(Router({"m": [Route(target, "m")]}), store, new_id=new_id, settings=RunnerSettings())
        try:
            yield runner
        finally:
            await runner.close()
            await target.close()


def turn(text: str, **fields: object) -> Turn:
    tools = [{"type": "function", "name": "f"}]
    request = decode_create(json.dumps({"model": "m", "input": text, "tools": tools, **fields}))
    assert isinstance(request, CreateRequest), request
    made = admit(
        request, response_id=new_id("resp"), now=time.time(), origin=CreateOrigin(body=msgspec.json.encode(request))
    )
    assert isinstance(made, Turn), made
    return made


async def end_of(runner: TurnRunner, asked: Turn) -> TurnEnded | ApiError:
    last = [update async for update in updates_of(runner, asked)][-1]
    assert not isinstance(last, TurnEnded) or last.events
    match last:
        case TurnRefused(error):
            return error
        case TurnEnded(error=None):
            return last
        case TurnEnded(error=error):
            assert error is not None
            return error
        case _:
            raise AssertionError(last)


async def check(kind: str, upstream: Upstream) -> None:
    """The turn ends in the upstream's error, or well; then all that was kept is readable and can be continued."""
    store = MemoryStore()
    dialect = DIALECTS[kind]()
    first = turn("first")
    async with runner_of(dialect, upstream, store) as runner:
        ended = await end_of(runner, first)
    if isinstance(ended, ApiError):
        assert ended.code in ("upstream_error", "server_is_overloaded"), ended
        return
    json.loads(ended.body)
    for item in ended.output:
        msgspec.json.decode(item.raw)
    kept = await store.list_input("", first.response_id, Page())
    assert kept is not None
    good = Upstream(b"data: " + ENDS[kind] + b"\n\n")
    outputs = [
        {"type": "function_call_output", "call_id": item.call_id, "output": "done"}
        for item in ended.output
        if item.type == "function_call"
    ]
    asked: Any = [*outputs, {"role": "user", "content": "more"}]
    async with runner_of(DIALECTS[kind](), good, store) as runner:
        again = await end_of(runner, turn(asked, previous_response_id=first.response_id))
    assert not isinstance(again, ApiError), again


@broken_values
@places
async def test_event_stream(kind: str, place: bytes, value: bytes) -> None:
    body = b"data: " + place % value + b"\n\ndata: " + ENDS[kind] + b"\n\n"
    await check(kind, Upstream(body))


@broken_values
@places
async def test_whole_body(kind: str, place: bytes, value: bytes) -> None:
    await check(kind, Upstream(place % value, content_type="application/json"))


@broken_values
@pytest.mark.parametrize("kind", DIALECTS)
@pytest.mark.parametrize("place", [b"%s", b'{"error":%s}', b'{"error":{"message":%s}}', b'[{"error":{"code":%s}}]'])
async def test_body_of_a_refusal(kind: str, place: bytes, value: bytes) -> None:
    await check(kind, Upstream(place % value, status=500, content_type="application/json"))


@broken_values
@pytest.mark.parametrize("place", PLACES["responses"])
async def test_frames_of_a_socket(place: bytes, value: bytes) -> None:
    body = b"data: " + place % value + b"\n\ndata: " + ENDS["responses"]
    await check("responses", Upstream(body, content_type="frames"))


@pytest.mark.parametrize("kind", ["chat", "anthropic"])
async def test_arguments_nested_without_end_are_no_fault_of_this_server(kind: str) -> None:
    text = json.dumps((b'{"x":' + DEEP + b"}").decode()).encode()
    call = {
        "chat": PLACES["chat"][3] % text,
        "anthropic": b'{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c","name":"f",'
        b'"input":{}}}\n\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta",'
        b'"partial_json":%s}}\n\ndata: {"type":"content_block_stop","index":0}' % text,
    }
    await check(kind, Upstream(b"data: " + call[kind] + b"\n\ndata: " + ENDS[kind] + b"\n\n"))


@broken_values
@pytest.mark.parametrize("kind", DIALECTS)
async def test_token_counts(kind: str, value: bytes) -> None:
    store = MemoryStore()
    async with runner_of(
        DIALECTS[kind](), Upstream(b'{"x":%s}' % value, content_type="application/json"), store
    ) as runner:
        counted = await runner.count_tokens(turn("first"))
    assert isinstance(counted, ApiError)
    assert counted.code in ("upstream_error", "unsupported_parameter")
