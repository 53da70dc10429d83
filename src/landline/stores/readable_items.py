"""Stored items whose JSON cannot be read: they are left out of what a model sees, so that the others go on."""

from collections.abc import Iterable, Sequence

import structlog

from landline.wire.items import Item
from landline.wire.readable import is_readable_object

_log = structlog.stdlib.get_logger(__name__)


def readable_items(items: Sequence[Item]) -> Sequence[Item]:
    """The items that can be read, without the other halves of calls and outputs that cannot."""
    lost = note_unreadable(items)
    if not lost:
        return items
    call_ids = {item.call_id for item in lost if item.call_id is not None}
    ids = {id(item) for item in lost}
    return [item for item in items if id(item) not in ids and item.call_id not in call_ids]


def note_unreadable(items: Iterable[Item]) -> list[Item]:
    """The items that cannot be read, each logged."""
    lost = [item for item in items if not is_readable_object(item.raw)]
    for item in lost:
        _log.error("stored_item_unreadable", item_id=item.id, item_type=item.type)
    return lost
