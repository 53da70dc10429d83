"""A server in the test's event loop: real HTTP, real turns, a memory store, and a target that speaks when it is told to."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from starlette.types import Scope

from landline.dialects.dialect import Prompt
from landline.routing.choice import Route
from landline.routing.router import Router
from landline.server.asgi import create_asgi
from landline.server.drain import Drain, drain_background
from landline.server.edge import Edge
from landline.server.ids import new_id
from landline.server.lifecycle import LineServer, ServeSettings
from landline.session.limits import Limits
from landline.stores.events import EventLog
from landline.stores.memory import MemoryStore
from landline.stores.store import NewResponse, Store
from landline.turns.background import BackgroundSettings, BackgroundTurns
from landline.turns.parts import RunnerSettings
from landline.turns.runner import TurnMemory, TurnRunner
from landline.turns.saves import DEFAULT_WAIT_S, Saves
from landline.upstream.target import Target, Traffic
from landline.wire.errors import ApiError, api_error
from landline.wire.item_memo import ItemMemo
from landline.wire.items import Item
from landline.wire.model_events import (
    Accepted,
    Failed,
    Finished,
    ModelEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    UsageReported,
)
from landline.wire.responses import ResponseStatus
from landline.wire.sse import SseDecoder
from support.turns.reply import replying

DEADLINE_S = 10
_ENDINGS = {"limit": Finished("max_output_tokens"), "filter": Finished("content_filter")}


class WordTarget:
    """Answers every turn with three words. Turns whose `user` is `slow` wait for a permit before each word, those of `mute`
    before they are accepted too; `refuse` is refused and `break` fails after a word. `call` ends in a call, `limit` and
    `filter` at what their names say."""

    name = "words"

    def __init__(self) -> None:
        self.prompts: list[list[dict[str, Any]]] = []
        """The items that each turn showed the model."""
        self.started = asyncio.Semaphore(0)
        """Released when a turn reaches the model."""
        self.permits = asyncio.Semaphore(0)

    compacts = False

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def is_ready(self) -> bool:
        return True

    async def count_tokens(self, prompt: Prompt, traffic: Traffic) -> int | ApiError:
        return 3

    @replying
    async def ask(self, prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        items = prompt.history.all_items() if prompt.history is not None else []
        self.prompts.append([json.loads(item.raw) for item in items])
        self.started.release()
        behaviour = prompt.request.user
        if behaviour == "refuse":
            yield [Failed(api_error("server_is_overloaded", "busy"))]
            return
        if behaviour == "mute":
            await self.permits.acquire()
        yield [Accepted()]
        for word in ("one ", "two ", "three"):
            if behaviour in ("slow", "mute"):
                await self.permits.acquire()
            yield [TextDelta(word)]
            if behaviour == "break":
                yield [Failed(api_error("upstream_error", "It broke."))]
                return
        if behaviour == "call":
            yield [ToolCallStarted(0, "call_1", "look"), ToolCallDelta(0, "{}"), ToolCallEnded(0)]
        yield [UsageReported(input_tokens=5, output_tokens=3), _ENDINGS.get(behaviour or "", Finished())]

    def permit(self, words: int = 3) -> None:
        for _ in range(words):
            self.permits.release()


class WatchedStore(MemoryStore):
    """Tells when turns begin and end in it."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Semaphore(0)
        self.ended = asyncio.Semaphore(0)

    async def begin_response(self, new: NewResponse) -> None:
        await super().begin_response(new)
        self.begun.release()

    async def finish_response(
        self, tenant: str, response_id: str, *, status: ResponseStatus, body: bytes, output: Sequence[Item]
    ) -> None:
        await super().finish_response(tenant, response_id, status=status, body=body, output=output)
        self.ended.release()

    async def discard_response(self, tenant: str, response_id: str) -> None:
        await super().discard_response(tenant, response_id)
        self.ended.release()


class StateServer:
    """The server and a client of it."""

    def __init__(
        self, port: int, client: aiohttp.ClientSession, target: WordTarget, edge: Edge, line: LineServer
    ) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.client = client
        self.target = target
        self.edge = edge
        self.line = line

    async def ask(self, method: str, path: str, body: object = None, *, tenant: str = "") -> tuple[int, dict[str, Any]]:
        """Status and JSON of one request."""
        request = self.client.request(method, self.url + path, json=body, headers={"x-tenant": tenant})
        async with request as answer:
            return answer.status, await answer.json()

    async def create(self, text: object = "hi", *, tenant: str = "", **fields: object) -> dict[str, Any]:
        """A response object; the create must succeed."""
        status, response = await self.ask("POST", "/responses", {"model": "m", "input": text, **fields}, tenant=tenant)
        assert status == 200, response
        return response

    async def error(self, method: str, path: str, body: object = None, *, tenant: str = "") -> tuple[int, str, str]:
        """Status, code and parameter of a request that must fail."""
        status, answer = await self.ask(method, path, body, tenant=tenant)
        return status, answer["error"]["code"], answer["error"]["param"]

    @asynccontextmanager
    async def stream(self, method: str, path: str, body: object = None) -> AsyncGenerator["Events"]:
        async with self.client.request(method, self.url + path, json=body) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield Events(answer)

    async def events(self, path: str) -> list[dict[str, Any]]:
        """Everything that a stream says, to its `[DONE]`."""
        async with self.stream("GET", path) as events:
            return await events.rest()


class Events:
    """The events of one stream, one at a time."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self._decoder = SseDecoder()
        self._read: list[bytes] = []

    async def next(self) -> dict[str, Any] | None:
        """The next event; None for `[DONE]`."""
        while not self._read:
            chunk = await asyncio.wait_for(self._answer.content.readany(), DEADLINE_S)
            assert chunk, "the stream ended without [DONE]"
            self._read += self._decoder.feed(chunk)
        data = self._read.pop(0)
        return None if data == b"[DONE]" else json.loads(data)

    async def until(self, kind: str) -> dict[str, Any]:
        """Reads up to and with the next event of this type."""
        while True:
            event = await self.next()
            assert event is not None, f"no {kind}"
            if event["type"] == kind:
                return event

    async def rest(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events


def tenant_of(scope: Scope) -> str:
    return next((value.decode() for name, value in scope["headers"] if name == b"x-tenant"), "")


@asynccontextmanager
async def state_server(
    store: Store | None = None,
    *,
    background: BackgroundSettings | None = None,
    log: EventLog | None = None,
    drain_grace_s: float = 0.0,
    sse_silence_s: float = 25.0,
    save_wait_s: float = DEFAULT_WAIT_S,
) -> AsyncGenerator[StateServer]:
    """Serves on a free loopback port."""
    store = store or MemoryStore()
    words = WordTarget()
    target: Target = words
    runner = TurnRunner(
        Router({"m": [Route(target, "m")]}),
        store,
        new_id=new_id,
        settings=RunnerSettings(announce_after_s=DEADLINE_S),
        memory=TurnMemory(saves=Saves(save_wait_s)),
    )
    turns = BackgroundTurns(log or EventLog(), background or BackgroundSettings())
    drain = Drain()
    drain.expired.subscribe(runner.hurry)
    drain_background(drain, turns)
    edge = Edge(
        runner=runner,
        background=turns,
        store=store,
        list_models=list,
        list_troubles=list,
        item_memo=ItemMemo(2**20),
        limits=Limits(),
        drain=drain,
        new_id=new_id,
        clock=time.time,
        tenant_of=tenant_of,
        sse_silence_s=sse_silence_s,
    )
    bound: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
    line = LineServer(
        create_asgi(edge),
        drain,
        ServeSettings(port=0, drain_grace_s=drain_grace_s),
        on_started=lambda *address: bound.set_result(address),
    )
    serving = asyncio.create_task(line.run())
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_S)) as client:
            yield StateServer((await bound)[1], client, words, edge, line)
    finally:
        line.stop()
        await serving
        await turns.close()
        await runner.close()
