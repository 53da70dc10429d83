"""The conversation so far, and the requests made of it: with the full history, or with new items only."""

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

ToolChoiceWord = Literal["auto", "required", "none"]


class RequestSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every request repeats: it is no history, so a server never inherits it (Responses guide)."""

    model: str
    instructions: str | None = None
    tools: Raw = Raw(b"[]")
    max_output_tokens: int | None = None
    temperature: float | None = None


class ContinuationPoint(msgspec.Struct, frozen=True):
    """How far the other end of a socket knows the conversation."""

    response_id: str
    item_count: int
    """Items up to and with that response's output; those after it are new."""


class _RequestBody(msgspec.Struct, frozen=True, kw_only=True):
    type: str | UnsetType
    model: str
    instructions: str | UnsetType
    previous_response_id: str | UnsetType
    input: list[Raw]
    tools: Raw
    tool_choice: ToolChoiceWord
    max_output_tokens: int | UnsetType
    temperature: float | UnsetType
    store: bool
    stream: bool | UnsetType


class ConversationLog:
    """An append-only list of items with its size, so that the size of a full request costs nothing to know."""

    def __init__(self, settings: RequestSettings) -> None:
        self.settings = settings
        self._items: list[Raw] = []
        self._items_bytes = 0

    @property
    def item_count(self) -> int:
        return len(self._items)

    def append(self, items: Iterable[bytes]) -> None:
        """Takes items as JSON objects."""
        for item in items:
            self._items.append(Raw(item))
            self._items_bytes += len(item)

    def http_body(self, tool_choice: ToolChoiceWord) -> bytes:
        """The stateless request: all of the history."""
        return self._encode(self._items, tool_choice, is_frame=False)

    def stored_http_body(self, tool_choice: ToolChoiceWord, anchor: ContinuationPoint | None) -> bytes:
        """The request of a conversation that the server stores: items since the anchor, or without one the full history."""
        if anchor is None:
            return self._encode(self._items, tool_choice, is_frame=False, is_stored=True)
        new = self._items[anchor.item_count :]
        return self._encode(new, tool_choice, is_frame=False, after=anchor.response_id, is_stored=True)

    def frame(self, tool_choice: ToolChoiceWord, anchor: ContinuationPoint | None) -> bytes:
        """The socket's `response.create`: items since the anchor, or without one the full history."""
        if anchor is None:
            return self._encode(self._items, tool_choice, is_frame=True)
        return self._encode(self._items[anchor.item_count :], tool_choice, is_frame=True, after=anchor.response_id)

    def stateless_bytes(self, tool_choice: ToolChoiceWord) -> int:
        """`len(http_body(…))` without making it."""
        commas = max(0, len(self._items) - 1)
        return len(self._encode([], tool_choice, is_frame=False)) + self._items_bytes + commas

    def _encode(
        self,
        items: list[Raw],
        tool_choice: ToolChoiceWord,
        *,
        is_frame: bool,
        after: str | None = None,
        is_stored: bool = False,
    ) -> bytes:
        settings = self.settings
        body = _RequestBody(
            type="response.create" if is_frame else UNSET,
            model=settings.model,
            instructions=settings.instructions if settings.instructions is not None else UNSET,
            previous_response_id=after if after is not None else UNSET,
            input=items,
            tools=settings.tools,
            tool_choice=tool_choice,
            max_output_tokens=settings.max_output_tokens if settings.max_output_tokens is not None else UNSET,
            temperature=settings.temperature if settings.temperature is not None else UNSET,
            store=is_stored,
            stream=UNSET if is_frame else True,
        )
        return msgspec.json.encode(body)


def user_message(text: str) -> bytes:
    return msgspec.json.encode({"type": "message", "role": "user", "content": text})


def call_output(call_id: str, text: str) -> bytes:
    return msgspec.json.encode({"type": "function_call_output", "call_id": call_id, "output": text})
