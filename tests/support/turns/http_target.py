"""A chat-completions target over HTTP, in front of a small server on loopback that a test writes."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from landline.dialects.chat_completions import ChatCompletions, ChatCompletionsFlags
from landline.dialects.dialect import Prompt
from landline.upstream import HttpDeadlines, HttpTarget
from landline.upstream.endpoint import TargetEndpoint
from landline.wire.errors import ApiError
from landline.wire.model_events import Failed, ModelEvent
from support.conversations.chat import create, lineage, message
from support.turns.reply import stream_of

KEY = "sk-secret-0123456789"
TEXT = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
STOP = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
WAIT_S = 10

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serve(handler: Handler) -> AsyncGenerator[str]:
    """The base URL of a server whose chat completions are answered by the handler."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/chat/completions", handler)
    async with TestServer(app, host="127.0.0.1", handler_cancellation=True) as server:
        yield str(server.make_url("/v1"))


@asynccontextmanager
async def target_at(
    base_url: str, flags: ChatCompletionsFlags | None = None, deadlines: HttpDeadlines | None = None
) -> AsyncGenerator[HttpTarget]:
    target = HttpTarget(
        TargetEndpoint("fake", base_url, api_key=KEY, headers={"X-Extra": "1"}, deadlines=deadlines or HttpDeadlines()),
        ChatCompletions(flags),
    )
    await target.open()
    try:
        yield target
    finally:
        await target.close()


def prompt(text: str = "hi", **fields: object) -> Prompt:
    return Prompt(history=lineage([[message("user", text)]]), request=create(**fields), model="m", response_id="resp_1")


async def collect(target: HttpTarget, asked: Prompt | None = None) -> list[ModelEvent]:
    async with aclosing(stream_of(target, asked or prompt())) as batches:
        return [event async for batch in batches for event in batch]


async def ask(handler: Handler, **options: Any) -> list[ModelEvent]:
    async with serve(handler) as base_url, target_at(base_url) as target:
        return await collect(target, prompt(**options) if options else None)


def answering(*chunks: bytes, headers: dict[str, str] | None = None) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **(headers or {})})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        return response

    return answer


def refusing(status: int, body: object, headers: dict[str, str] | None = None) -> Handler:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=json.dumps(body).encode(), headers=headers)

    return refuse


def error_in(events: list[ModelEvent]) -> ApiError:
    assert isinstance(events[-1], Failed), events
    return events[-1].error
