"""A bare client of a Responses server for tests: sends what it is told, keeps everything that comes back."""

import asyncio
import json
from types import TracebackType
from typing import Any, Self

import aiohttp

from support.oracles.openresponses_schema import TERMINAL_EVENTS

ANSWER_TIMEOUT_S = 30.0


async def post(base_url: str, body: dict[str, Any] | bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    """POST /responses; the status and the JSON body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json", **headers}
    async with aiohttp.ClientSession() as http, http.post(f"{base_url}/responses", data=data, headers=headers) as reply:
        return reply.status, await reply.json()


async def stream(base_url: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """POST /responses with `stream: true`; the events. Checks the framing: `event` equals `type`, `[DONE]` ends it."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{base_url}/responses", json={**body, "stream": True}) as reply,
    ):
        assert reply.status == 200, await reply.text()
        assert reply.content_type == "text/event-stream"
        records = (await reply.text()).split("\n\n")
    assert records[-2:] == ["data: [DONE]", ""]
    return [_read_record(record) for record in records[:-2]]


def _read_record(record: str) -> dict[str, Any]:
    name, data = record.split("\n")
    event = json.loads(data.removeprefix("data: "))
    assert name == f"event: {event['type']}"
    return event


class ResponsesSocket:
    """One WebSocket of the Responses API; an async context manager."""

    def __init__(self, base_url: str) -> None:
        self._url = f"{base_url}/responses"

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(self._url, compress=15, max_msg_size=0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._socket.close()
        await self._http.close()

    async def send(self, event: dict[str, Any]) -> None:
        await self.send_text(json.dumps(event))

    async def send_text(self, frame: str) -> None:
        await self._socket.send_str(frame)

    async def create(self, **fields: Any) -> None:
        await self.send({"type": "response.create", **fields})

    async def send_bytes(self, frame: bytes) -> None:
        await self._socket.send_bytes(frame)

    async def receive(self) -> dict[str, Any]:
        """The next message; fails when the socket closes instead."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            message = await self._socket.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, f"got {message.type.name} {message.data!r}"
        return json.loads(message.data)

    async def receive_close(self) -> int | None:
        """Waits for the server to close; its code. Messages before it are passed over."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while (await self._socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        return self._socket.close_code

    async def receive_until(self, *types: str) -> list[dict[str, Any]]:
        """All messages up to the first of one of these types; fails when it does not come in time."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            events = [await self.receive()]
            while events[-1]["type"] not in types:
                events.append(await self.receive())
        return events

    async def turn(self, **fields: Any) -> list[dict[str, Any]]:
        """One `response.create` and everything up to its ending: a terminal event or an error frame."""
        await self.create(**fields)
        return await self.receive_until("error", *TERMINAL_EVENTS)
