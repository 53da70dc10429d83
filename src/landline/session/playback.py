"""How a client without a session plays a conversation back: what of it, in how many bytes. Lengths only."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec
from msgspec import Raw

from landline.wire.canonical import excess_bytes, is_spaced
from landline.wire.items import Item

_STATUS = b'"status":"completed",'
_LAST_STATUS = b',"status":"completed"}'
_MODELS_OWN = frozenset(("compaction", "reasoning"))
"""Kinds of items without a role that a model writes, besides its calls."""
_PLAIN = b'{"role":"assistant","content":}'
_PART = b'[{"type":"output_text","text":}]'
_MADE_ID = re.compile(r"[a-z]+_[0-9a-f]{48}")


class Playback(msgspec.Struct, frozen=True):
    """What a client without a session does."""

    has_id: bool = True
    """Whether it sends the ids of the calls that a model wrote."""
    has_status: bool = True
    """Likewise their status."""
    message: Literal["announced", "part", "plain"] = "announced"
    """How it sends a message that a model wrote: as it was announced; as a role and a part of nothing but text; as a role and
    a text."""
    is_compact: bool = False
    """Whether it writes JSON without spaces, in UTF-8, although it spells in Python's default way on a socket: with spaces,
    and with escapes for characters beyond ASCII."""


_CLIENTS = (
    ("OpenAI/Python", Playback(is_compact=True)),
    ("AsyncOpenAI/Python", Playback(is_compact=True)),
    ("Agents/Python", Playback(is_compact=True)),
    ("pydantic-ai/", Playback(has_id=False, has_status=False, message="plain", is_compact=True)),
    ("opencode/", Playback(has_id=False, has_status=False, message="part")),
    ("ai/", Playback(has_id=False, has_status=False, message="part")),
    ("pi (", Playback(has_status=False)),
)
"""By the beginning of their `User-Agent`; all others play back what they were sent as they spell. As of openai 3.54 for
Python, openai-agents 0.24, pydantic-ai 2.66, opencode 1.18, Vercel's AI SDK 7.0 and pi (2026-11-23)."""


@lru_cache(maxsize=256)
def playback_of(user_agent: str) -> Playback:
    """As the client with this `User-Agent` does it."""
    return next((playback for name, playback in _CLIENTS if user_agent.startswith(name)), Playback())


class Replay(NamedTuple):
    """The bytes of a lineage as clients may play it back."""

    size_bytes: int
    """JSON of the items: those of the model as they were announced, those of the client as it sent them."""
    id_bytes: int
    """Of these: ids of the model's calls."""
    status_bytes: int
    """Of these: their status."""
    notes_bytes: int
    """Of these: what the model's messages have besides a role and a text."""
    messages: int
    """Of the items: those messages."""
    excess_bytes: int
    """Of the bytes: what compact JSON in UTF-8 does without, where the client writes Python's default spelling."""
    items: int

    def played_bytes(self, playback: Playback, *, is_compact: bool) -> int:
        """JSON of the items without what stands between them. `is_compact`: in UTF-8 without spaces, however they came."""
        size_bytes = self.size_bytes
        if not playback.has_id:
            size_bytes -= self.id_bytes
        if not playback.has_status:
            size_bytes -= self.status_bytes
        if playback.message != "announced":
            size_bytes -= self.notes_bytes
        if playback.message == "part":
            size_bytes += self.messages * len(_PART)
        return size_bytes - self.excess_bytes if is_compact else size_bytes


NOTHING = Replay(0, 0, 0, 0, 0, 0, 0)


def extend_replay(before: Replay, items: Sequence[Item], *, is_first: bool) -> Replay:
    """The replay of a lineage with more items. A compaction among them starts it over, because a client may leave out what
    it was given a compaction for; but in the first items, which the client sent itself."""
    size_bytes, id_bytes, status_bytes, notes_bytes, messages, excess, count = before
    for item in items:
        raw = item.raw
        if item.type == "compaction" and not is_first:
            size_bytes = id_bytes = status_bytes = notes_bytes = messages = excess = count = 0
        size_bytes += len(raw)
        count += 1
        if item.role == "assistant":
            plain_bytes = _plain_bytes(raw)
            if plain_bytes is not None:
                notes_bytes += len(raw) - plain_bytes
                messages += 1
        elif item.type.endswith("_call"):
            if item.id is not None:
                id_bytes += _id_bytes(item.id)
            if _STATUS in raw or _LAST_STATUS in raw:
                status_bytes += len(_STATUS)
        elif item.id is not None and item.type not in _MODELS_OWN and _MADE_ID.fullmatch(item.id):
            size_bytes -= _id_bytes(item.id)  # the client sent none: only this server makes such
        if is_spaced(raw):
            excess += excess_bytes(raw)
    return Replay(size_bytes, id_bytes, status_bytes, notes_bytes, messages, excess, count)


class _Part(msgspec.Struct):
    text: Raw = Raw()


class _Message(msgspec.Struct):
    content: list[_Part]


_MESSAGE: msgspec.json.Decoder[_Message] = msgspec.json.Decoder(_Message)


def _plain_bytes(message: bytes) -> int | None:
    """Of the message as a role and a text; None if it is that already."""
    try:
        parts = _MESSAGE.decode(message).content
    except msgspec.ValidationError:
        return None
    quotes = 2
    return len(_PLAIN) + quotes + sum(max(len(part.text) - quotes, 0) for part in parts)


def _id_bytes(item_id: str) -> int:
    return len(item_id) + len('"id":"",')
