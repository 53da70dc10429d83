"""Items as two byte strings that can be joined by the database: their heads, and their JSON back to back.

The heads say where each item's JSON ends, so that a whole lineage is cut up again without parsing it: items were
checked when they came in.
"""

from collections.abc import Sequence

import msgspec

from landline.wire.items import Item

_Head = tuple[int, str, str | None, str | None, str | None]
"""Size of the JSON in bytes, type, id, role, call_id."""

_HEADS_DECODER: msgspec.json.Decoder[list[_Head]] = msgspec.json.Decoder(list[_Head])


def pack(items: Sequence[Item]) -> tuple[bytes, bytes]:
    """Heads and raws. Packed values are joined by joining the heads and joining the raws."""
    heads = [msgspec.json.encode((len(item.raw), item.type, item.id, item.role, item.call_id)) for item in items]
    return b"".join(head + b"," for head in heads), b"".join(item.raw for item in items)


def unpack(heads: bytes | None, raws: bytes | None) -> list[Item]:
    """The items; None, which SQL gives for no rows, is no items."""
    if not heads or raws is None:
        return []
    items: list[Item] = []
    start = 0
    for size, kind, item_id, role, call_id in _HEADS_DECODER.decode(b"[" + heads[:-1] + b"]"):
        end = start + size
        items.append(Item(raws[start:end], kind, item_id, role, call_id))
        start = end
    return items
