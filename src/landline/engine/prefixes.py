"""A turn's lineage as the slot book sees it: every prefix as a key, longest first. Pure."""

from collections.abc import Iterator
from hashlib import blake2b

import msgspec

from landline.session.lineage import Link
from landline.wire.items import (
    CustomToolCall,
    FunctionCall,
    Item,
    Message,
    Reasoning,
    text_of,
    typed_item,
)
from landline.wire.model_events import ModelEvent, ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta

_DIGEST_BYTES = 16


class Prefix(msgspec.Struct, frozen=True):
    """One prefix of a lineage."""

    key: bytes
    size_bytes: int
    """JSON bytes up to the end of the link that the prefix ends in: an estimate of its tokens."""
    follower: bytes | None
    """Digest of the item after it, if that is something a model wrote; None at the end or before a client's item."""


class Lineage(msgspec.Struct, frozen=True):
    """The history of a turn and what is rendered before it."""

    seed: bytes
    """Digest of what stands at the front of the prompt and is not history: instructions and tools."""
    seed_bytes: int
    history: Link | None

    def prefixes(self) -> Iterator[Prefix]:
        """Every prefix, longest first; the last one is the seed alone. Lazy: a warm turn reads only the newest."""
        follower: bytes | None = None
        link = self.history
        while link is not None:
            size_bytes = self.seed_bytes + link.size_bytes
            for digest, item in zip(reversed(link.digests), reversed(link.items), strict=True):
                yield Prefix(self.seed + digest, size_bytes, follower)
                follower = output_digest(written_text(item))
            link = link.parent
        yield Prefix(self.seed, self.seed_bytes, follower)


def seed_of(parts: list[bytes]) -> bytes:
    """The digest of instructions and tools."""
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()


def output_digest(text: str | None) -> bytes | None:
    """Names what a model wrote: the text of its first item."""
    return None if text is None else blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()


class OutputMemo:
    """Remembers what a turn writes, as far as `output_digest` needs it: the text of its first item."""

    def __init__(self) -> None:
        self._kind: type[ModelEvent] | None = None
        self._texts: list[str] = []

    def feed(self, events: list[ModelEvent]) -> None:
        """Takes more of the turn."""
        for event in events:
            match event:
                case TextDelta(text=text) | RefusalDelta(text=text) | ReasoningDelta(text=text):
                    self._take(type(event), text)
                case ToolCallDelta(index=0, text=text):
                    self._take(ToolCallDelta, text)
                case _:
                    pass

    def digest(self) -> bytes | None:
        """The digest of the first item; None if nothing was written."""
        return output_digest("".join(self._texts)) if self._texts else None

    def _take(self, kind: type[ModelEvent], text: str) -> None:
        if self._kind is None:
            self._kind = kind
        if kind is self._kind:
            self._texts.append(text)


def written_text(item: Item) -> str | None:
    """The text of an item that a model writes; None for items that come from a client."""
    match typed_item(item):
        case Message(role="assistant", content=content):
            return text_of(content)
        case FunctionCall(arguments=text) | CustomToolCall(input=text):
            return text
        case Reasoning(content=content):
            return text_of(content or [])
        case _:
            return None
