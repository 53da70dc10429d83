"""Agent sessions of three kinds of clients against one server, each checking that the model was asked with all it said."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol

import aiohttp
import msgspec

from support.clients.responses import ResponsesSocket
from support.servers.replica import Report, name_of

TRIES = 6
AT_ONCE = 12
KINDS = 3
MODEL = "agent"


class Wire(Protocol):
    """How one kind of client sends a turn."""

    async def ask(self, said: Sequence[str], answered: Sequence[str], new: str) -> str | None:
        """The answer to the new message after those before it; None if the turn failed."""
        ...


class FullHistory:
    """HTTP; plays everything back each time."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str) -> None:
        self._http, self._url = http, f"{base_url}/responses"

    async def ask(self, said: Sequence[str], answered: Sequence[str], new: str) -> str | None:
        body = {"model": MODEL, "store": False, "input": _history(said, answered, new)}
        async with self._http.post(self._url, json=body) as reply:
            return _answer(await reply.json())


class Chained:
    """HTTP; names the response before, which is stored."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str) -> None:
        self._http, self._url = http, f"{base_url}/responses"
        self._response_id: str | None = None

    async def ask(self, said: Sequence[str], answered: Sequence[str], new: str) -> str | None:
        body = {"model": MODEL, "input": new, "previous_response_id": self._response_id}
        async with self._http.post(self._url, json=body) as reply:
            response = await reply.json()
        answer = _answer(response)
        if answer is not None:
            self._response_id = response["id"]
        return answer


class Deltas:
    """A socket of its own; sends the new message, and everything after a failure, which made the server forget."""

    def __init__(self, socket: ResponsesSocket) -> None:
        self._socket = socket
        self._response_id: str | None = None

    async def ask(self, said: Sequence[str], answered: Sequence[str], new: str) -> str | None:
        fields: dict[str, Any] = {"input": _history(said, answered, new)}
        if self._response_id is not None:
            fields = {"input": new, "previous_response_id": self._response_id}
        last = (await self._socket.turn(model=MODEL, store=False, **fields))[-1]
        answer = _answer(last.get("response", {}))
        self._response_id = last["response"]["id"] if answer is not None else None
        return answer


class Session:
    """One agent's conversation. `take_turn` fails the test when the model was asked with anything but all of it."""

    def __init__(self, name: str, kind: int, wire: Wire) -> None:
        self.name = name
        self.kind = kind
        self.reports: list[Report] = []
        """One an answered turn."""
        self.failed_turns = 0
        self._wire = wire
        self._said: list[str] = []
        self._answered: list[str] = []

    async def take_turn(self, *words: str) -> Report:
        new = " ".join((self.name, "says", str(len(self._said)), *words))
        for _ in range(TRIES):
            answer = await self._wire.ask(self._said, self._answered, new)
            if answer is not None:
                break
            self.failed_turns += 1
        else:
            raise AssertionError(f"{new!r} was not answered in {TRIES} tries")
        report = msgspec.json.decode(answer, type=Report)
        texts = [text for pair in zip(self._said, self._answered, strict=True) for text in pair]
        assert report.conversation == name_of([*texts, new]), f"{self.name}: the model was asked with something else"
        self._said.append(new)
        self._answered.append(answer)
        self.reports.append(report)
        return report


class Sessions:
    """Interleaved sessions of the three kinds in turn; an async context manager."""

    def __init__(self, base_url: str) -> None:
        self.all: list[Session] = []
        self._base_url = base_url
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Sessions":
        self._http = await self._stack.enter_async_context(aiohttp.ClientSession())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def open(self, count: int) -> list[Session]:
        """So many sessions more."""
        opened = [await self._open(len(self.all) + number) for number in range(count)]
        self.all += opened
        return opened

    async def take_round(self, without: Sequence[Session] = ()) -> None:
        """A turn of every session but those, some at a time."""
        free = asyncio.Semaphore(AT_ONCE)

        async def take(session: Session) -> None:
            async with free:
                await session.take_turn()

        await asyncio.gather(*(take(session) for session in self.all if session not in without))

    async def _open(self, number: int) -> Session:
        wire: Wire
        kind = number % KINDS
        match kind:
            case 0:
                wire = Deltas(await self._stack.enter_async_context(ResponsesSocket(self._base_url)))
            case 1:
                wire = FullHistory(self._http, self._base_url)
            case _:
                wire = Chained(self._http, self._base_url)
        return Session(f"session {number}", kind, wire)


def _history(said: Sequence[str], answered: Sequence[str], new: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for question, answer in zip(said, answered, strict=True):
        items.append({"role": "user", "content": question})
        items.append({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": answer}]})
    return [*items, {"role": "user", "content": new}]


def _answer(response: dict[str, Any]) -> str | None:
    if response.get("status") != "completed":
        return None
    return response["output"][0]["content"][0]["text"]
