"""A small server of the socket whose endings are planned, for what a sound server does not do on demand."""

import json
from collections.abc import Iterator
from typing import Any

from websockets.asyncio.server import ServerConnection


class PlannedServer:
    """Answers each `response.create` by the next word of `plan`, then with a response of one message."""

    def __init__(self) -> None:
        self.url = ""
        self.plan: list[str] = []
        self.frames: list[dict[str, Any]] = []
        self.sockets: list[int] = []
        """The number of the socket on which each frame came."""
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        """Of each handshake, names in lower case."""
        self._responses: Iterator[int] = iter(range(1, 1_000))

    async def handle(self, connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        self.paths.append(request.path)
        self.headers.append({name.lower(): value for name, value in request.headers.raw_items()})
        number = len(self.headers)
        async for data in connection:
            frame = json.loads(data)
            self.frames.append(frame)
            self.sockets.append(number)
            await self._answer(connection, frame, self.plan.pop(0) if self.plan else "answer")

    async def _answer(self, connection: ServerConnection, frame: dict[str, Any], word: str) -> None:
        lane = {"stream_id": frame["stream_id"]} if "stream_id" in frame else {}
        response: dict[str, Any] = {
            "id": f"resp_{next(self._responses)}",
            "status": "completed",
            "output": [],
            "usage": None,
        }

        async def send(kind: str, **members: Any) -> None:
            await connection.send(json.dumps({"type": kind, **members, **lane}))

        match word:
            case "hang":
                return
            case "close":
                await connection.close(1011)
                return
            case "previous_response_not_found" | "websocket_connection_limit_reached" | "model_not_found":
                await send("error", status=400, error={"code": word, "message": word})
                return
            case _:
                pass
        await send("response.created", response=response | {"status": "in_progress"})
        match word:
            case "begin_and_close":
                await connection.close(1011)
            case "fail":
                error = {"code": "server_error", "message": "It broke."}
                await send("response.failed", response=response | {"status": "failed", "error": error})
            case _:
                item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]}
                if frame.get("generate") is not False:
                    await send("response.output_text.delta", delta="Hi.")
                    await send("response.output_item.done", item=item)
                await send("response.completed", response=response)
