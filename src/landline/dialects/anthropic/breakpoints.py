"""Places the breakpoints of the prompt cache; called by `dialect` and, for those that clients set, by `transcript`.

At a breakpoint the API stores the prompt so far, and reads what it stored for an earlier breakpoint at most 20 blocks
before it. A request may have four (Messages API, prompt caching, November 2026). An agent's turn may add more than 20
blocks, so the last request's breakpoint is set again at the same place: each turn reads what the previous one wrote.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.wire.items import CustomToolCallOutput, FunctionCallOutput, Item, Message, typed_item
from landline.wire.requests import CreateRequest

CacheMode = Literal["auto", "explicit", "off"]
MAX_BREAKPOINTS = 4
_MARK = b'"prompt_cache_breakpoint"'


class _MarkedPart(msgspec.Struct):
    prompt_cache_breakpoint: Raw | UnsetType = UNSET


_PART: msgspec.json.Decoder[_MarkedPart] = msgspec.json.Decoder(_MarkedPart)


class Span(Protocol):
    """A part of the messages at whose end a breakpoint can stand."""

    @property
    def begins_answer(self) -> bool: ...

    @property
    def is_marked(self) -> bool: ...


class Breakpoints(msgspec.Struct, frozen=True):
    """The breakpoints of one request."""

    has_tools: bool = False
    """One at the end of the tools."""
    has_system: bool = False
    """One at the end of the system prompt."""
    spans: frozenset[int] = frozenset()
    """Indexes of the spans of messages that end with one."""


def place_breakpoints(
    spans: Sequence[Span], mode: CacheMode, *, has_tools: bool, has_system: bool, is_system_marked: bool = False
) -> Breakpoints:
    """The most useful four: the end, the end of the previous request, the client's own, system prompt, tools.

    `is_system_marked`: the client wants one in the system prompt; it stands at its end.
    """
    if mode == "off":
        return Breakpoints()
    ends: list[int] = []
    if mode == "auto":
        ends = _request_ends(spans)
    marked = [index for index, each in enumerate(spans) if each.is_marked]
    chosen = list(dict.fromkeys((*ends, *reversed(marked))))[:MAX_BREAKPOINTS]
    left = MAX_BREAKPOINTS - len(chosen)
    takes_system = has_system and left > 0 and (mode == "auto" or is_system_marked)
    takes_tools = mode == "auto" and has_tools and left > takes_system
    return Breakpoints(takes_tools, takes_system, frozenset(chosen))


def cache_mode(request: CreateRequest, mode: CacheMode) -> CacheMode:
    """The cache mode of a request: the target's, or `explicit` if the client asks for it."""
    options = request.prompt_cache_options
    return "explicit" if mode == "auto" and options is not None and options.mode == "explicit" else mode


def mark_member(request: CreateRequest, ttl: Literal["5m", "1h"]) -> bytes:
    """The `cache_control` member of a marked block. Of the API's two lifetimes, a client's `ttl` (30 minutes or more) is the longer."""
    options = request.prompt_cache_options
    is_long = ttl == "1h" or (options is not None and options.ttl is not None)
    return b',"cache_control":{"type":"ephemeral","ttl":"1h"}' if is_long else b',"cache_control":{"type":"ephemeral"}'


def marked_parts(item: Item) -> frozenset[int]:
    """Indexes of the content parts with a `prompt_cache_breakpoint`."""
    if _MARK not in item.raw:
        return frozenset()
    match typed_item(item):
        case Message(content=list() as parts):
            pass
        case FunctionCallOutput(output=list() as parts) | CustomToolCallOutput(output=list() as parts):
            pass
        case _:
            return frozenset()
    return frozenset(index for index, part in enumerate(parts) if _is_marked(part))


def _is_marked(part: Raw) -> bool:
    mark = _PART.decode(part).prompt_cache_breakpoint
    return not isinstance(mark, UnsetType) and bytes(mark) != b"null"


def _request_ends(spans: Sequence[Span]) -> list[int]:
    """The end of this request, and the end of the request whose answer is the newest."""
    if not spans:
        return []
    answer = next((index for index in range(len(spans) - 1, 0, -1) if spans[index].begins_answer), None)
    return [len(spans) - 1] if answer is None else [len(spans) - 1, answer - 1]
