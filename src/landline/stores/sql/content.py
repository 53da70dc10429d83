"""Items as bytes that can be joined, so that a whole lineage is decoded in one go.

MessagePack, because it holds an item's JSON as it is; the JSON is not parsed again, it was checked when it came in.
"""

import struct
from collections.abc import Iterable, Sequence

import msgspec
import structlog

from landline.wire.items import Item, Signed
from landline.wire.readable import UNREADABLE

_log = structlog.stdlib.get_logger(__name__)


class _SavedItem(msgspec.Struct, omit_defaults=True):
    """The fields of `Item` that are kept. What a sealed item says is not among them: sealed it came, so it stays."""

    raw: bytes
    type: str
    id: str | None = None
    role: str | None = None
    call_id: str | None = None
    signed: Signed | None = None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[list[Item]] = msgspec.msgpack.Decoder(list[Item])


def pack(items: Sequence[Item]) -> bytes:
    """The items, one behind another."""
    saved = (_SavedItem(item.raw, item.type, item.id, item.role, item.call_id, item.signed) for item in items)
    return b"".join([_ENCODER.encode(each) for each in saved])


def unpack(links: Sequence[tuple[int, bytes]]) -> list[Item]:
    """The items of links, each given as their number and how they lie packed. A link that cannot be read has none."""
    try:
        return _unpack(sum([count for count, _ in links]), [content for _, content in links])
    except UNREADABLE as error:
        if len(links) == 1:
            _log.error("stored_link_unreadable", error=str(error), items=links[0][0])
            return []
        return [item for link in links for item in unpack([link])]


def _unpack(count: int, pieces: Iterable[bytes]) -> list[Item]:
    header = b"\xdd" + struct.pack(">I", count)  # MessagePack's array of that many elements
    return _DECODER.decode(b"".join([header, *pieces]))
