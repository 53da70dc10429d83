"""What the fake Responses server knows: the creates that came, the vendor it acts as, what each connection remembers."""

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web

from support.scripts.responses import Object
from support.strict.responses import Issued, RefusedError

MAX_LANES = 32
"""Named lanes of one socket, in its life (OpenAI, 2026-08)."""


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
class Remembered:
    conversation: list[Object]
    instructions: str | None


@dataclass
class Line:
    """One connection: what it remembers, and what waits on each lane."""

    number: int
    socket: web.WebSocketResponse
    transport: asyncio.BaseTransport
    headers: dict[str, str]
    memory: dict[str | None, tuple[str, Remembered]] = field(default_factory=dict[str | None, tuple[str, Remembered]])
    """The latest response of each lane."""
    tails: dict[str | None, asyncio.Task[None]] = field(default_factory=dict[str | None, asyncio.Task[None]])
    is_expired: bool = False

    def evict(self, received: Received) -> None:
        """A continuation that failed loses its parent; a fork leaves it to the lane that it is from."""
        latest = self.memory.get(received.lane)
        if latest is not None and latest[0] == received.parent_id:
            del self.memory[received.lane]


def check_socket(received: Received, line: Line, manners: Manners) -> None:
    """Checks what the vendor takes on a socket. Raises RefusedError."""
    body = received.body
    if body.get("type") != "response.create":
        raise RefusedError(f"Unknown event {body.get('type')!r}.", code="invalid_event_type", param="type")
    if "stream_id" in body and not manners.has_lanes:
        raise RefusedError("Unknown parameter: 'stream_id'.", code="unknown_parameter", param="stream_id")
    if len({each for each in line.tails if each is not None}) > MAX_LANES:
        raise RefusedError("Too many stream ids.", code="websocket_stream_limit_reached", param="stream_id")
    refuses = manners.refuses_instructions_with_previous
    if refuses and body.get("instructions") and received.parent_id is not None:
        raise RefusedError("`instructions` cannot be used with `previous_response_id`.", param="instructions")


def find_parent(parent_id: str | None, line: Line | None, stored: dict[str, Remembered]) -> Remembered | None:
    """What the connection or the store knows of the parent. Raises RefusedError."""
    if parent_id is None:
        return None
    latest = dict(line.memory.values()) if line is not None else {}
    found = latest.get(parent_id) or stored.get(parent_id)
    if found is None:
        message = f"Previous response with id '{parent_id}' not found."
        raise RefusedError(message, code="previous_response_not_found", param="previous_response_id")
    return found


def input_items(body: Object, issued: Issued) -> list[Object]:
    """The new items, references resolved. Raises RefusedError."""
    given = body.get("input") or []
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    items: list[Object] = []
    for item in given:
        if item.get("type") == "item_reference":
            if item["id"] not in issued.stored_ids:
                raise RefusedError(f"Item with id '{item['id']}' not found.", code="", status=404)
            item = issued.items[item["id"]]
        items.append(item)
    return items
