"""Items as the bytes of a column, written so that a whole lineage is decoded in one go.

MessagePack, because it holds an item's JSON as it is; the JSON is not parsed again, it was checked when it came in.
"""

import struct
from collections.abc import Sequence
from itertools import chain

import msgspec

from landline.wire.items import Item


class _SavedItem(msgspec.Struct, omit_defaults=True):
    """The fields of `Item` that are kept. What a sealed item says is not among them: sealed it came, so it stays."""

    raw: bytes
    type: str
    id: str | None = None
    role: str | None = None
    call_id: str | None = None


NO_ITEMS = b"\x90"
"""An empty array."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[list[list[Item]]] = msgspec.msgpack.Decoder(list[list[Item]])


def pack(items: Sequence[Item]) -> bytes:
    """One array of items."""
    return _ENCODER.encode([_SavedItem(item.raw, item.type, item.id, item.role, item.call_id) for item in items])


def unpack(arrays: Sequence[bytes]) -> list[Item]:
    """The items of several packed values, one behind another."""
    header = b"\xdd" + struct.pack(">I", len(arrays))  # MessagePack's array of that many elements
    return list(chain.from_iterable(_DECODER.decode(b"".join([header, *arrays]))))
