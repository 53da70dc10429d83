"""One client for every way of taking turns: it says what is new, and does with the history what the way demands."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import aiohttp
import msgspec

from peers.adapters import Way

TURN_TIMEOUT_S = 15.0
_TERMINAL = ("response.completed", "response.failed", "response.incomplete", "error")
Item = Mapping[str, Any]


class Reply(msgspec.Struct, frozen=True):
    """What came of one turn."""

    deltas: Sequence[str] = ()
    """Of text, as they came."""
    response: Mapping[str, Any] = {}
    """The response of the terminal event; empty when there was none."""
    error: str = ""
    """The server's error, on one line; empty when the turn completed."""

    @property
    def response_id(self) -> str:
        return self.response.get("id", "")

    @property
    def output(self) -> list[dict[str, Any]]:
        return self.response.get("output", [])


class Server(msgspec.Struct, frozen=True):
    """What a client has to know of a server."""

    base_url: str
    headers: Mapping[str, str]
    model: str


class Line(Protocol):
    """One conversation, turn after turn."""

    async def say(self, items: Sequence[Item], **fields: Any) -> Reply:
        """The reply to new input items, after everything said on this line before."""
        ...

    async def say_after(self, response_id: str, items: Sequence[Item]) -> Reply:
        """The reply to input items that continue a response of anybody's."""
        ...


@asynccontextmanager
async def open_line(http: aiohttp.ClientSession, server: Server, way: Way) -> AsyncGenerator[Line]:
    """A conversation of its own; over a socket, on a socket of its own. Raises aiohttp.ClientError."""
    url = f"{server.base_url}/responses"
    if way in (Way.HTTP_CHAINED, Way.HTTP_FULL):
        yield _HttpLine(http, server, is_full=way is Way.HTTP_FULL)
        return
    async with http.ws_connect(url, headers=server.headers, max_msg_size=0) as socket:
        yield _SocketLine(socket, server, is_stored=way is Way.SOCKET_STORED)


async def get_response(http: aiohttp.ClientSession, server: Server, response_id: str) -> tuple[int, str]:
    """Status and body of `GET /responses/{id}`."""
    async with http.get(f"{server.base_url}/responses/{response_id}", headers=server.headers) as reply:
        return reply.status, await reply.text()


def user(text: str) -> Item:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def collect(events: Sequence[Mapping[str, Any]]) -> Reply:
    """The reply that the events of one turn make, the last of which is terminal."""
    deltas = [event["delta"] for event in events if event.get("type") == "response.output_text.delta"]
    last: Mapping[str, Any] = events[-1] if events else {}
    response: Mapping[str, Any] = last.get("response", {})
    if last.get("type") == "response.completed":
        return Reply(deltas, response)
    error: object = last.get("error") or response.get("error") or last or "ended without a terminal event"
    return Reply(deltas, response, one_line(error if isinstance(error, str) else json.dumps(error)))


def one_line(text: str) -> str:
    """The text on one line, shortened."""
    line = " ".join(text.split())
    return line if len(line) <= 160 else f"{line[:160]} …"


class _SocketLine:
    """Turns over one socket, each with what is new and the id of the response before."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, server: Server, *, is_stored: bool) -> None:
        self._socket = socket
        self._fields = {"type": "response.create", "model": server.model, "store": is_stored}
        self._last_id = ""

    async def say(self, items: Sequence[Item], **fields: Any) -> Reply:
        return await self.say_after(self._last_id, items, **fields)

    async def say_after(self, response_id: str, items: Sequence[Item], **fields: Any) -> Reply:
        previous = {"previous_response_id": response_id} if response_id else {}
        await self._socket.send_json({**self._fields, **fields, **previous, "input": items})
        reply = await self._read()
        self._last_id = reply.response_id
        return reply

    async def _read(self) -> Reply:
        events: list[dict[str, Any]] = []
        while True:
            message = await self._socket.receive(TURN_TIMEOUT_S)
            if message.type is not aiohttp.WSMsgType.TEXT:
                return Reply(
                    error=f"the socket was closed with {self._socket.close_code} {message.extra or ''}".strip()
                )
            events.append(json.loads(message.data))
            if events[-1].get("type") in _TERMINAL:
                return collect(events)


class _HttpLine:
    """Turns over HTTP as streams: stored and chained by ids, or unstored with the full history in each."""

    def __init__(self, http: aiohttp.ClientSession, server: Server, *, is_full: bool) -> None:
        self._http = http
        self._server = server
        self._is_full = is_full
        self._history: list[Item] = []
        self._last_id = ""

    async def say(self, items: Sequence[Item], **fields: Any) -> Reply:
        if not self._is_full:
            reply = await self.say_after(self._last_id, items, **fields)
            self._last_id = reply.response_id
            return reply
        self._history.extend(items)
        reply = await self._post({**fields, "store": False, "input": self._history})
        self._history.extend(reply.output)
        return reply

    async def say_after(self, response_id: str, items: Sequence[Item], **fields: Any) -> Reply:
        previous = {"previous_response_id": response_id} if response_id else {}
        return await self._post({**fields, **previous, "store": not self._is_full, "input": items})

    async def _post(self, fields: Mapping[str, Any]) -> Reply:
        body = {"model": self._server.model, "stream": True, **fields}
        url = f"{self._server.base_url}/responses"
        timeout = aiohttp.ClientTimeout(TURN_TIMEOUT_S)
        async with self._http.post(url, json=body, headers=self._server.headers, timeout=timeout) as reply:
            if reply.status != 200:
                return Reply(error=one_line(f"{reply.status} {await reply.text()}"))
            lines = (await reply.text()).splitlines()
        data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
        return collect([json.loads(each) for each in data if each != "[DONE]"])


async def take_side_by_side(
    http: aiohttp.ClientSession, server: Server, way: Way, words: Sequence[Sequence[str]]
) -> list[list[Reply]]:
    """The replies of conversations that run at once, each of which says its words one after the other."""

    async def converse(texts: Sequence[str]) -> list[Reply]:
        async with open_line(http, server, way) as line:
            return [await line.say([user(text)]) for text in texts]

    return list(await asyncio.gather(*map(converse, words)))


def different_words(conversations: int, turns: int) -> list[list[str]]:
    """Words that nobody else says, for each conversation."""
    numbers = itertools.count(1)
    return [[f"word{next(numbers)}" for _ in range(turns)] for _ in range(conversations)]
