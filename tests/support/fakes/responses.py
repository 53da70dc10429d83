"""A strict, scripted Responses server: both transports, connection-local memory, and a record of everything it was sent.

It rebuilds the conversation that its model sees for every turn, refuses broken ones, and knows again what it sealed.
"""

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import ClientConnectionError, WSMsgType, web

from support.fakes.responses_memory import (
    AZURE,
    OPENAI,
    VERCEL,
    XAI,
    Line,
    Manners,
    Received,
    Remembered,
    check_socket,
    find_parent,
    input_items,
)
from support.fakes.responses_wire import ended_response, error_body, error_frame, events_of, response_object, usage_of
from support.scripts.chat import UnknownToolError
from support.scripts.responses import (
    CutLine,
    Fail,
    Object,
    Reply,
    Silence,
    Step,
    as_responses_step,
    encode,
    output_items,
)
from support.strict.responses import (
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
Emit = Callable[[Object], Awaitable[None]]


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
        self._stored: dict[str, Remembered] = {}
        self._lines: list[Line] = []
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
    def in_thread(self) -> Generator["FakeResponses"]:
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
            return web.json_response(error_body("unknown_parameter", "Unknown parameter."), status=400)
        return web.json_response({"object": "response.input_tokens", "input_tokens": 10 * len(body["input"])})

    def _refuse_key(self, headers: dict[str, str]) -> web.Response | None:
        given = headers.get("Authorization", "").removeprefix("Bearer ")
        if self.key is None or given == self.key:
            return None
        message = f"Incorrect API key provided: {given}."
        return web.json_response(error_body("invalid_api_key", message, kind="authentication_error"), status=401)

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
            return web.json_response(error_body(error.code, str(error), param=error.param), status=error.status)
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
        line = Line(len(self._lines), socket, request.transport, headers)
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

    def _queue(self, line: Line, raw: bytes) -> None:
        """Runs the frame behind those of its lane; without lanes, behind all others."""
        self.frames.append(raw)
        body = json.loads(raw)
        lane = body.get("stream_id") if self.manners.has_lanes else None
        before = line.tails.get(lane)
        line.tails[lane] = asyncio.create_task(self._take_frame(line, raw, body, before))

    async def _take_frame(self, line: Line, raw: bytes, body: Object, before: asyncio.Task[None] | None) -> None:
        received = Received(raw, body, line.headers, "websocket", line.number, body.get("stream_id"))
        try:
            if before is not None:
                await asyncio.wait({before})
            await self._answer_frame(line, received)
        except asyncio.CancelledError:
            if received in self.received:
                self._change(lambda: setattr(received, "was_aborted", True))
            raise

    async def _answer_frame(self, line: Line, received: Received) -> None:
        async def emit(event: Object) -> None:
            stream_id = {"stream_id": received.lane} if received.lane is not None else {}
            data = encode({**event, **stream_id})
            self.events_sent.append(data)
            await line.socket.send_str(data.decode())

        self._change(lambda: self.received.append(received))
        if line.is_expired:
            message = "Responses websocket connection limit reached (60 minutes)."
            await line.socket.send_str(json.dumps(error_frame("websocket_connection_limit_reached", message)))
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
            line.evict(received)
            await emit(step.frame)
        elif not await self._play(received, step, emit, line.transport, line):
            await line.socket.close()

    def _error_frame(self, error: RefusedError) -> Object:
        frame = error_frame(error.code, str(error), status=error.status, param=error.param)
        if self.manners.has_bare_errors:
            return {"error": {"code": error.code, "message": str(error)}}
        return frame

    def _next_step(self, received: Received, line: Line | None) -> Reply | Fail | CutLine | Silence:
        """The step that answers a create whose conversation is sound. Raises RefusedError."""
        body = received.body
        try:
            check_create(body, is_socket=line is not None)
            if line is not None:
                check_socket(received, line, self.manners)
            if self.forgets:
                self.forgets = False
                for each in self._lines:
                    each.memory.clear()
            parent = find_parent(received.parent_id, line, self._stored)
            new = input_items(body, self.issued)
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
                line.evict(received)
            raise
        if self.choose is not None:
            return as_responses_step(self.choose(received))
        if not self.steps:
            received.refused = "the script has no more steps"
            raise RefusedError(received.refused)
        return as_responses_step(self.steps.pop(0))

    async def _play(
        self,
        received: Received,
        step: Reply | Fail | CutLine | Silence,
        emit: Emit,
        transport: asyncio.BaseTransport,
        line: Line | None,
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
        self, received: Received, reply: Reply, emit: Emit, transport: asyncio.BaseTransport, line: Line | None
    ) -> bool:
        number = next(self._numbers)
        try:
            output = self._make_output(received, reply, number)
        except UnknownToolError as error:
            received.refused = str(error)
            await emit(error_frame("invalid_value", str(error)))
            return True
        response = response_object(received.body, f"resp_{number}", f"{received.body['model']}-2026-11-01")
        events = list(events_of(reply, response, output, is_warm_up=received.is_warm_up))
        for count, event in enumerate(events):
            if count == reply.pause_after:
                await self._releases.acquire()
            if count == reply.cut_after:
                _abort(transport)
                return False
            await emit({**event, "sequence_number": count})
        received.output = [json.loads(encode(item)) for item in output]
        if reply.fail_with is None:
            self._remember(received, response["id"], line)
        elif line is not None:
            line.evict(received)
        ended = ended_response(response, reply, output, usage_of(received.conversation, is_warm_up=received.is_warm_up))
        self._change(lambda: setattr(received, "response_id", response["id"]))
        await emit({"type": f"response.{ended['status']}", "response": ended, "sequence_number": len(events)})
        return True

    def _make_output(self, received: Received, reply: Reply, number: int) -> list[Object]:
        if received.is_warm_up:
            return []
        last = received.conversation[-1]
        if last.get("type") == "compaction_trigger":
            sealed = f"gAAAA-compaction-{number}"
            output = [{"type": "compaction", "id": f"cmp_{number}", "encrypted_content": sealed}]
        else:
            is_sealed = "reasoning.encrypted_content" in (received.body.get("include") or ())
            output = output_items(reply, number, _tools_of(received), is_sealed=is_sealed)
        told = [json.loads(encode(item)) for item in output]
        self.issued.note(told, is_stored=received.body.get("store") is not False)
        return output

    def _remember(self, received: Received, response_id: str, line: Line | None) -> None:
        kept = [item for item in received.conversation if item.get("type") != "compaction_trigger"]
        remembered = Remembered(kept + received.output, received.instructions)
        if line is not None:
            line.memory[received.lane] = (response_id, remembered)
        if received.body.get("store") is not False:
            self._stored[response_id] = remembered


def _told(before: Object, after: Object) -> Object:
    """The item as it was played back, without an id that it has got since."""
    return after if "id" in before else {name: value for name, value in after.items() if name != "id"}


def _tools_of(received: Received) -> list[Object]:
    added = [item["tools"] for item in received.conversation if item.get("type") == "additional_tools"]
    return [*(received.body.get("tools") or []), *itertools.chain.from_iterable(added)]


def _abort(transport: asyncio.BaseTransport) -> None:
    assert isinstance(transport, asyncio.Transport)
    transport.abort()
