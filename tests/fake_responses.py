"""A scripted Responses server: both transports, connection-local memory, and a record of every byte it was sent."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientConnectionError, WSMsgType, web

Object = dict[str, Any]
Emit = Callable[[Object], Awaitable[None]]


class Reply:
    """Answers with items; `text` and `calls` are the usual ones."""

    def __init__(
        self,
        text: str | None = None,
        *,
        calls: list[tuple[str, str]] | None = None,
        items: list[Object] | None = None,
        incomplete: str | None = None,
        is_terminal_only: bool = False,
    ) -> None:
        self.items = list(items or ())
        self.text = text
        self.calls = calls or []
        self.incomplete = incomplete
        self.is_terminal_only = is_terminal_only
        """Whether `output` comes only in the terminal response."""


class Fail:
    """Answers with an error: as a frame on the socket, as a status over HTTP."""

    def __init__(
        self, frame: Object, *, status: int = 400, headers: dict[str, str] | None = None, is_late: bool = False
    ) -> None:
        self.frame = frame
        self.is_late = is_late
        """Whether a response was created before, and its `response.failed` follows."""
        self.status = status
        self.headers = headers or {}


class CutLine:
    """Breaks the connection, after the first events if asked."""

    def __init__(self, *, after_text: str | None = None) -> None:
        self.after_text = after_text


class Silence:
    """Never answers."""


Step = Reply | Fail | CutLine | Silence


class FakeResponses:
    """Plays one step a request. A delta whose parent this socket does not know is `previous_response_not_found`."""

    def __init__(self, *steps: Step, upgrade_status: int | None = None) -> None:
        self.steps = list(steps)
        self.upgrade_status = upgrade_status
        self.port = 0
        self.frames: list[bytes] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.upgrades: list[dict[str, str]] = []
        self.conversations: list[list[Object]] = []
        """What the model would have read, a list of items per answered request."""
        self.forgets = False
        """Set to lose all connection-local memory before the next request."""
        self._count = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator["FakeResponses"]:
        app = web.Application(client_max_size=2**30)
        app.router.add_get("/v1/responses", self._upgrade)
        app.router.add_post("/v1/responses", self._post)
        app.router.add_get("/v1/models", self._models)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "fake-model"}, {"id": "other"}]})

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        self.upgrades.append(dict(request.headers))
        if self.upgrade_status is not None:
            return web.Response(status=self.upgrade_status)
        socket = web.WebSocketResponse(max_msg_size=2**30)
        await socket.prepare(request)
        memory: dict[str, list[Object]] = {}
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            self.frames.append(message.data.encode())
            body = json.loads(message.data)
            assert body.pop("type") == "response.create"
            if self.forgets:
                self.forgets = False
                memory.clear()
            parent = body.get("previous_response_id")
            if parent is not None and parent not in memory:
                await socket.send_json(not_found(parent))
                continue
            history = memory.pop(parent, []) + body["input"]
            if not await self._play_on_socket(socket, request, history, memory):
                break
        return socket

    async def _play_on_socket(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        history: list[Object],
        memory: dict[str, list[Object]],
    ) -> bool:
        match self.steps.pop(0):
            case Reply() as reply:
                response_id, output = await self._answer(reply, history, socket.send_json)
                memory[response_id] = history + output
            case Fail(is_late=True) as fail:
                await socket.send_json({"type": "response.created", "response": {"id": "resp_late"}})
                await socket.send_json(fail.frame)
                await socket.send_json(
                    {"type": "response.failed", "response": {"id": "resp_late", "error": fail.frame["error"]}}
                )
            case Fail() as fail:
                await socket.send_json(fail.frame)
            case Silence():
                pass
            case CutLine() as cut:
                if cut.after_text is not None:
                    await socket.send_json({"type": "response.output_text.delta", "delta": cut.after_text})
                assert request.transport is not None
                request.transport.close() if cut.after_text is not None else request.transport.abort()
                return False
        return True

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        step = self.steps.pop(0)
        if isinstance(step, Fail):
            return web.json_response(step.frame, status=step.status, headers=step.headers)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)

        async def emit(event: Object) -> None:
            await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

        if isinstance(step, Silence):
            await asyncio.Event().wait()
        if isinstance(step, CutLine):
            await emit({"type": "response.output_text.delta", "delta": step.after_text or ""})
            assert request.transport is not None
            request.transport.close()
            raise ClientConnectionError
        assert isinstance(step, Reply)
        await self._answer(step, json.loads(body)["input"], emit)
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _answer(self, reply: Reply, history: list[Object], emit: Emit) -> tuple[str, list[Object]]:
        self.conversations.append(history)
        self._count += 1
        response_id = f"resp_{self._count}"
        output = [*reply.items, *self._items(reply)]
        await emit({"type": "response.created", "response": {"id": response_id, "status": "in_progress"}})
        await emit({"type": "keepalive"})
        for index, item in enumerate(() if reply.is_terminal_only else output):
            if item["type"] == "message":
                for word in item["content"][0]["text"].split(" "):
                    await emit({"type": "response.output_text.delta", "delta": word, "output_index": index})
            await emit({"type": "response.output_item.done", "output_index": index, "item": item})
        status = "incomplete" if reply.incomplete else "completed"
        response = {
            "id": response_id,
            "status": status,
            "output": output,
            "incomplete_details": {"reason": reply.incomplete} if reply.incomplete else None,
            "usage": {
                "input_tokens": 10 * len(history),
                "input_tokens_details": {"cached_tokens": 10 * (len(history) - 1)},
                "output_tokens": 5,
            },
        }
        await emit({"type": f"response.{status}", "response": response})
        return response_id, output

    def _items(self, reply: Reply) -> list[Object]:
        items: list[Object] = []
        if reply.text is not None:
            part = {"type": "output_text", "text": reply.text, "annotations": []}
            items.append(
                {
                    "type": "message",
                    "id": f"msg_{self._count}",
                    "role": "assistant",
                    "status": "completed",
                    "content": [part],
                }
            )
        for number, (name, arguments) in enumerate(reply.calls):
            call_id = f"call_{self._count}_{number}"
            items.append(
                {
                    "type": "function_call",
                    "id": f"fc_{self._count}_{number}",
                    "call_id": call_id,
                    "name": name,
                    "arguments": arguments,
                    "status": "completed",
                }
            )
        return items


def not_found(response_id: str) -> Object:
    error = {
        "type": "invalid_request_error",
        "code": "previous_response_not_found",
        "message": f"Previous response with id '{response_id}' not found.",
        "param": "previous_response_id",
    }
    return {"type": "error", "status": 400, "error": error}
