"""A strict, scripted Responses server: both transports, connection-local memory, and a record of everything it was sent.

It rebuilds the conversation that its model sees for every turn, refuses broken ones, and knows again what it sealed.
"""

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import ClientConnectionError, WSMsgType, web

from chat_script import UnknownToolError
from responses_script import (
    CutLine,
    Fail,
    Object,
    Reply,
    Silence,
    Step,
    as_responses_step,
    encode,
    item_events,
    output_items,
    strange_events,
)
from strict_responses import (
    Issued,
    RefusedError,
    check_answered,
    check_conversation,
    check_create,
    check_played_back,
)

__all__ = [
    "AZURE",
    "OPENAI",
    "VERCEL",
    "XAI",
    "CutLine",
    "Fail",
    "FakeResponses",
    "Manners",
    "Received",
    "Reply",
    "Silence",
    "Step",
]

WAIT_S = 20.0
"""How long a test waits for something that must happen."""
MAX_LANES = 32
Emit = Callable[[Object], Awaitable[None]]


@dataclass(frozen=True)
class Manners:
    """What one vendor's sockets do otherwise (November 2026)."""

    has_lanes: bool = True
    refuses_instructions_with_previous: bool = False
    max_frame_bytes: int = 16 * 1024 * 1024 - 1
    has_bare_errors: bool = False
    """Whether error frames have no `type` and no `status`."""
    closes_after_error: int | None = None
    """The close code that follows an error frame."""


OPENAI = Manners()
AZURE = Manners(has_lanes=False)
XAI = Manners(has_lanes=False, refuses_instructions_with_previous=True, has_bare_errors=True)
VERCEL = Manners(has_lanes=False, max_frame_bytes=4 * 1024 * 1024, closes_after_error=1008)


@dataclass
class Received:
    """One create and what became of it."""

    raw: bytes
    body: Object
    headers: dict[str, str]
    transport: Literal["http", "websocket"]
    socket: int | None = None
    """Which socket, counted from 0."""
    lane: str | None = None
    conversation: list[Object] = field(default_factory=list[Object])
    """All that the model saw."""
    instructions: str | None = None
    """Those in force: xAI's hold for a chain."""
    output: list[Object] = field(default_factory=list[Object])
    response_id: str | None = None
    refused: str | None = None
    """Why it was refused."""
    was_aborted: bool = False
    """The client went away before the answer was complete."""

    @property
    def is_warm_up(self) -> bool:
        return self.body.get("generate") is False

    @property
    def parent_id(self) -> str | None:
        return self.body.get("previous_response_id")


@dataclass
class _Remembered:
    conversation: list[Object]
    instructions: str | None


@dataclass
class _Line:
    """One connection: what it remembers, and what waits on each lane."""

    number: int
    socket: web.WebSocketResponse
    transport: asyncio.BaseTransport
    headers: dict[str, str]
    memory: dict[str | None, tuple[str, _Remembered]] = field(default_factory=dict[str | None, tuple[str, _Remembered]])
    """The latest response of each lane."""
    tails: dict[str | None, asyncio.Task[None]] = field(default_factory=dict[str | None, asyncio.Task[None]])
    is_expired: bool = False


class FakeResponses:
    """Plays one step a create. Run it by `serving()` in the test's loop or by `in_thread()`."""

    def __init__(
        self,
        *steps: Step,
        choose: Callable[[Received], Step] | None = None,
        upgrade_status: int | None = None,
        manners: Manners = OPENAI,
        key: str | None = None,
    ) -> None:
        self.steps = list(steps)
        self.choose = choose
        """Picks each answer by its request, in place of the steps, for turns that run at the same time."""
        self.upgrade_status = upgrade_status
        self.manners = manners
        self.key = key
        self.port = 0
        self.frames: list[bytes] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        """Of HTTP requests."""
        self.upgrades: list[dict[str, str]] = []
        self.received: list[Received] = []
        self.forgets = False
        """Set to lose all connection-local memory before the next request."""
        self.issued = Issued()
        self.events_sent: list[bytes] = []
        self._stored: dict[str, _Remembered] = {}
        self._lines: list[_Line] = []
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._releases = asyncio.Semaphore(0)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def conversations(self) -> list[list[Object]]:
        """What the model saw, a list of items per answered turn; warm-ups show it nothing."""
        return [each.conversation for each in self.answered]

    @property
    def answered(self) -> list[Received]:
        """The creates that the model answered."""
        return [each for each in self.received if each.response_id is not None and not each.is_warm_up]

    @property
    def sent_bytes(self) -> int:
        """Payload bytes of all creates."""
        return sum(len(each.raw) for each in self.received)

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator["FakeResponses"]:
        self._loop = asyncio.get_running_loop()
        app = web.Application(client_max_size=2**30)
        app.router.add_get("/v1/responses", self._upgrade)
        app.router.add_post("/v1/responses", self._post)
        app.router.add_post("/v1/responses/input_tokens", self._count_tokens)
        app.router.add_get("/v1/models", self._models)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    @contextmanager
    def in_thread(self) -> Iterator["FakeResponses"]:
        """The server in a thread with a loop of its own, for tests that block."""
        loop = asyncio.new_event_loop()
        started, stopped = threading.Event(), asyncio.Event()

        async def serve() -> None:
            async with self.serving():
                started.set()
                await stopped.wait()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
        thread.start()
        try:
            assert started.wait(WAIT_S)
            yield self
        finally:
            loop.call_soon_threadsafe(stopped.set)
            thread.join(WAIT_S)
            loop.close()

    def play(self, *steps: Step) -> None:
        """Another script, with nothing received yet; what was made before is still known."""
        self.steps[:] = steps
        for record in (self.received, self.frames, self.bodies, self.headers, self.upgrades, self.events_sent):
            record.clear()

    def release(self) -> None:
        """Lets one answer that paused (or will pause) go on."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._releases.release)

    def expire_sockets(self) -> None:
        """Lets all sockets reach their age limit: their next create is answered so, and they close."""
        for line in self._lines:
            line.is_expired = True

    def cut_sockets(self) -> None:
        """Breaks all sockets without a close frame."""
        assert self._loop is not None
        for line in self._lines:
            self._loop.call_soon_threadsafe(_abort, line.transport)

    def wait_for_creates(self, count: int) -> list[Received]:
        """Blocks until so many creates have come."""
        return self._wait(lambda: len(self.received) >= count, f"{count} creates")

    def wait_for_abort(self) -> Received:
        """Blocks until a client goes away in mid-answer; returns that create."""
        self._wait(lambda: any(each.was_aborted for each in self.received), "an aborted create")
        return next(each for each in self.received if each.was_aborted)

    def assert_conversation(self) -> None:
        """Nothing was refused, and each turn is the one before, its answer, and something new."""
        assert [each.refused for each in self.received if each.refused] == []
        for earlier, later in itertools.pairwise(self.answered):
            before = earlier.conversation + earlier.output
            played_back = later.conversation[: len(before)]
            assert [*map(_told, before, played_back)] == before, "the history of the turn before was changed"
            assert len(later.conversation) > len(before), "nothing new after the answer"

    def _wait(self, is_reached: Callable[[], bool], what: str) -> list[Received]:
        with self._changed:
            assert self._changed.wait_for(is_reached, WAIT_S), f"waited for {what}, got {len(self.received)} creates"
        return self.received

    def _change(self, change: Callable[[], object]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "fake-model"}, {"id": "other"}]})

    async def _count_tokens(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        allowed = {"model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text"}
        if set(body) - allowed - {"truncation"}:
            return web.json_response(_error("unknown_parameter", "Unknown parameter."), status=400)
        return web.json_response({"object": "response.input_tokens", "input_tokens": 10 * len(body["input"])})

    def _refuse_key(self, headers: dict[str, str]) -> web.Response | None:
        given = headers.get("Authorization", "").removeprefix("Bearer ")
        if self.key is None or given == self.key:
            return None
        message = f"Incorrect API key provided: {given}."
        return web.json_response(_error("invalid_api_key", message, kind="authentication_error"), status=401)

    async def _post(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        headers = dict(request.headers)
        self.bodies.append(raw)
        self.headers.append(headers)
        refused = self._refuse_key(headers)
        if refused is not None:
            return refused
        received = Received(raw, json.loads(raw), headers, "http")
        self._change(lambda: self.received.append(received))
        try:
            step = self._next_step(received, None)
        except RefusedError as error:
            return web.json_response(_error(error.code, str(error), param=error.param), status=error.status)
        if isinstance(step, Fail) and not step.is_late:
            return web.Response(
                body=encode(step.frame), content_type="application/json", status=step.status, headers=step.headers
            )
        if received.body.get("stream") is not True:
            return await self._post_whole(received, step)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)

        async def emit(event: Object) -> None:
            data = encode(event)
            self.events_sent.append(data)
            await response.write(f"event: {event['type']}\ndata: ".encode() + data + b"\n\n")

        assert request.transport is not None
        try:
            if not await self._play(received, step, emit, request.transport, None):
                raise ClientConnectionError
            await response.write(b"data: [DONE]\n\n")
        except (asyncio.CancelledError, ConnectionResetError):
            self._change(lambda: setattr(received, "was_aborted", True))
            raise
        return response

    async def _post_whole(self, received: Received, step: Reply | Fail | CutLine | Silence) -> web.Response:
        assert isinstance(step, Reply)
        last: list[Object] = []

        async def keep(event: Object) -> None:
            last[:] = [event]

        await self._play(received, step, keep, asyncio.BaseTransport(), None)
        return web.Response(body=encode(last[0]["response"]), content_type="application/json")

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        headers = dict(request.headers)
        self.upgrades.append(headers)
        if self.upgrade_status is not None:
            return web.Response(status=self.upgrade_status)
        refused = self._refuse_key(headers)
        if refused is not None:
            return refused
        socket = web.WebSocketResponse(max_msg_size=self.manners.max_frame_bytes)
        await socket.prepare(request)
        assert request.transport is not None
        line = _Line(len(self._lines), socket, request.transport, headers)
        self._lines.append(line)
        try:
            async for message in socket:
                assert message.type is WSMsgType.TEXT, message
                self._queue(line, message.data.encode())
        finally:
            for task in line.tails.values():
                task.cancel()
            await asyncio.gather(*line.tails.values(), return_exceptions=True)
        return socket

    def _queue(self, line: _Line, raw: bytes) -> None:
        """Runs the frame behind those of its lane; without lanes, behind all others."""
        self.frames.append(raw)
        body = json.loads(raw)
        lane = body.get("stream_id") if self.manners.has_lanes else None
        before = line.tails.get(lane)
        line.tails[lane] = asyncio.create_task(self._take_frame(line, raw, body, before))

    async def _take_frame(self, line: _Line, raw: bytes, body: Object, before: asyncio.Task[None] | None) -> None:
        received = Received(raw, body, line.headers, "websocket", line.number, body.get("stream_id"))
        try:
            if before is not None:
                await asyncio.wait({before})
            await self._answer_frame(line, received)
        except asyncio.CancelledError:
            if received in self.received:
                self._change(lambda: setattr(received, "was_aborted", True))
            raise

    async def _answer_frame(self, line: _Line, received: Received) -> None:
        async def emit(event: Object) -> None:
            stream_id = {"stream_id": received.lane} if received.lane is not None else {}
            data = encode({**event, **stream_id})
            self.events_sent.append(data)
            await line.socket.send_str(data.decode())

        self._change(lambda: self.received.append(received))
        if line.is_expired:
            message = "Responses websocket connection limit reached (60 minutes)."
            await line.socket.send_str(json.dumps(_frame("websocket_connection_limit_reached", message)))
            await line.socket.close(code=1001)
            return
        try:
            step = self._next_step(received, line)
        except RefusedError as error:
            await emit(self._error_frame(error))
            if self.manners.closes_after_error is not None:
                await line.socket.close(code=self.manners.closes_after_error)
            return
        if isinstance(step, Fail) and not step.is_late:
            _evict(line, received)
            await emit(step.frame)
        elif not await self._play(received, step, emit, line.transport, line):
            await line.socket.close()

    def _error_frame(self, error: RefusedError) -> Object:
        frame = _frame(error.code, str(error), status=error.status, param=error.param)
        if self.manners.has_bare_errors:
            return {"error": {"code": error.code, "message": str(error)}}
        return frame

    def _next_step(self, received: Received, line: _Line | None) -> Reply | Fail | CutLine | Silence:
        """The step that answers a create whose conversation is sound. Raises RefusedError."""
        body = received.body
        try:
            check_create(body, is_socket=line is not None)
            if line is not None:
                self._check_socket(received, line)
            if self.forgets:
                self.forgets = False
                for each in self._lines:
                    each.memory.clear()
            parent = self._find_parent(received.parent_id, line)
            new = self._input_of(body)
            check_played_back(new, self.issued)
            received.conversation = [*(parent.conversation if parent is not None else []), *new]
            received.instructions = body.get("instructions") or (parent.instructions if parent is not None else None)
            check_conversation(received.conversation)
            if received.is_warm_up:
                return Reply()
            check_answered(received.conversation)
            if not received.conversation:
                raise RefusedError("Expected input.", code="missing_required_parameter")
        except RefusedError as error:
            received.refused = str(error)
            if line is not None:
                _evict(line, received)
            raise
        if self.choose is not None:
            return as_responses_step(self.choose(received))
        if not self.steps:
            received.refused = "the script has no more steps"
            raise RefusedError(received.refused)
        return as_responses_step(self.steps.pop(0))

    def _check_socket(self, received: Received, line: _Line) -> None:
        body = received.body
        if body.get("type") != "response.create":
            raise RefusedError(f"Unknown event {body.get('type')!r}.", code="invalid_event_type", param="type")
        if "stream_id" in body and not self.manners.has_lanes:
            raise RefusedError("Unknown parameter: 'stream_id'.", code="unknown_parameter", param="stream_id")
        if len({each for each in line.tails if each is not None}) > MAX_LANES:
            raise RefusedError("Too many stream ids.", code="websocket_stream_limit_reached", param="stream_id")
        refuses = self.manners.refuses_instructions_with_previous
        if refuses and body.get("instructions") and received.parent_id is not None:
            raise RefusedError("`instructions` cannot be used with `previous_response_id`.", param="instructions")

    def _find_parent(self, parent_id: str | None, line: _Line | None) -> _Remembered | None:
        if parent_id is None:
            return None
        latest = dict(line.memory.values()) if line is not None else {}
        found = latest.get(parent_id) or self._stored.get(parent_id)
        if found is None:
            message = f"Previous response with id '{parent_id}' not found."
            raise RefusedError(message, code="previous_response_not_found", param="previous_response_id")
        return found

    def _input_of(self, body: Object) -> list[Object]:
        """The new items, references resolved."""
        given = body.get("input") or []
        if isinstance(given, str):
            return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
        items: list[Object] = []
        for item in given:
            if item.get("type") == "item_reference":
                if item["id"] not in self.issued.stored_ids:
                    raise RefusedError(f"Item with id '{item['id']}' not found.", code="", status=404)
                item = self.issued.items[item["id"]]
            items.append(item)
        return items

    async def _play(
        self,
        received: Received,
        step: Reply | Fail | CutLine | Silence,
        emit: Emit,
        transport: asyncio.BaseTransport,
        line: _Line | None,
    ) -> bool:
        """Plays the step; False if the connection is cut."""
        match step:
            case Reply():
                return await self._reply(received, step, emit, transport, line)
            case Fail():
                created = {"id": "resp_late", "object": "response", "status": "in_progress", "output": []}
                await emit({"type": "response.created", "response": created})
                await emit(step.frame)
                failed = {**created, "status": "failed", "error": step.frame["error"]}
                await emit({"type": "response.failed", "response": failed})
            case Silence():
                await asyncio.Event().wait()
            case CutLine(after_text):
                if after_text is not None:
                    await emit({"type": "response.output_text.delta", "delta": after_text})
                _abort(transport) if after_text is None else transport.close()
                return False
        return True

    async def _reply(
        self, received: Received, reply: Reply, emit: Emit, transport: asyncio.BaseTransport, line: _Line | None
    ) -> bool:
        number = next(self._numbers)
        try:
            output = self._make_output(received, reply, number)
        except UnknownToolError as error:
            received.refused = str(error)
            await emit(_frame("invalid_value", str(error)))
            return True
        response = _response(received.body, f"resp_{number}", f"{received.body['model']}-2026-11-01")
        status = "failed" if reply.fail_with else "incomplete" if reply.incomplete else "completed"
        events = list(_events(reply, received, response, output))
        for count, event in enumerate(events):
            if count == reply.pause_after:
                await self._releases.acquire()
            if count == reply.cut_after:
                _abort(transport)
                return False
            await emit({**event, "sequence_number": count})
        received.output = [json.loads(encode(item)) for item in output]
        if status != "failed":
            self._remember(received, response["id"], line)
        elif line is not None:
            _evict(line, received)
        told = [] if reply.omits_output else output
        ended = {**response, "status": status, "output": told, "usage": reply.usage or _usage(received)}
        if reply.omits_output:
            del ended["output"]
        ended["completed_at"] = 1_700_000_001 if status == "completed" else None
        ended["incomplete_details"] = {"reason": reply.incomplete} if reply.incomplete else None
        ended["error"] = reply.fail_with
        self._change(lambda: setattr(received, "response_id", response["id"]))
        await emit({"type": f"response.{status}", "response": ended, "sequence_number": len(events)})
        return True

    def _make_output(self, received: Received, reply: Reply, number: int) -> list[Object]:
        if received.is_warm_up:
            return []
        last = received.conversation[-1]
        if last.get("type") == "compaction_trigger":
            sealed = f"gAAAA-compaction-{number}"
            output = [{"type": "compaction", "id": f"cmp_{number}", "encrypted_content": sealed}]
        else:
            output = output_items(reply, number, _tools_of(received))
        told = [json.loads(encode(item)) for item in output]
        self.issued.note(told, is_stored=received.body.get("store") is not False)
        return output

    def _remember(self, received: Received, response_id: str, line: _Line | None) -> None:
        kept = [item for item in received.conversation if item.get("type") != "compaction_trigger"]
        remembered = _Remembered(kept + received.output, received.instructions)
        if line is not None:
            line.memory[received.lane] = (response_id, remembered)
        if received.body.get("store") is not False:
            self._stored[response_id] = remembered


def _events(reply: Reply, received: Received, response: Object, output: list[Object]) -> Iterator[Object]:
    """Everything before the terminal event."""
    if reply.is_strange:
        yield {"type": "vendor.early", "note": "@strange@"}
        response["vendor_extra"] = "@strange@"
    yield {"type": "response.created", "response": response}
    if received.is_warm_up:
        return
    yield {"type": "response.in_progress", "response": response}
    yield {"type": "keepalive"}
    if reply.is_strange:
        yield from strange_events()
    if not reply.is_terminal_only:
        yield from item_events(output)


def _told(before: Object, after: Object) -> Object:
    """The item as it was played back, without an id that it has got since."""
    return after if "id" in before else {name: value for name, value in after.items() if name != "id"}


def _tools_of(received: Received) -> list[Object]:
    added = [item["tools"] for item in received.conversation if item.get("type") == "additional_tools"]
    return [*(received.body.get("tools") or []), *itertools.chain.from_iterable(added)]


def _usage(received: Received) -> Object:
    read = 10 * len(received.conversation)
    written = 0 if received.is_warm_up else 5
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": max(read - 10, 0), "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }


def _response(body: Object, response_id: str, model: str) -> Object:
    """The response object in progress: the settings echoed."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": 1_700_000_000,
        "completed_at": None,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "model": model,
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": {"effort": None, "summary": None, **(body.get("reasoning") or {})},
        "service_tier": "default",
        "store": body.get("store") is not False,
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": body.get("truncation", "disabled"),
        "usage": None,
        "background": False,
        "metadata": body.get("metadata") or {},
    }


def _evict(line: _Line, received: Received) -> None:
    """A continuation that failed loses its parent; a fork leaves it to the lane that it is from."""
    latest = line.memory.get(received.lane)
    if latest is not None and latest[0] == received.parent_id:
        del line.memory[received.lane]


def _abort(transport: asyncio.BaseTransport) -> None:
    assert isinstance(transport, asyncio.Transport)
    transport.abort()


def _error(code: str, message: str, *, kind: str = "invalid_request_error", param: str | None = None) -> dict[str, Any]:
    return {"error": {"type": kind, "code": code or None, "message": message, "param": param}}


def _frame(code: str, message: str, *, status: int = 400, param: str | None = None) -> Object:
    return {"type": "error", "status": status, **_error(code, message, param=param)}
