"""Lists of stored items: the page that a client asks for, and what of them cannot be read.

An item whose JSON is damaged is left out of what a model sees, so that the other items still serve.
"""

from collections.abc import Iterable, Sequence

import structlog

from landline.stores.store import ItemPage, Page
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


def cut_page(items: Sequence[Item], page: Page) -> ItemPage:
    """The page of a whole list that is given oldest first.

    It starts behind the last item with the id `after`, should several have it: pages then never repeat.
    """
    ordered = list(items) if page.order == "asc" else list(reversed(items))
    if page.after is not None:
        places = [place for place, item in enumerate(ordered) if item.id == page.after]
        ordered = ordered[places[-1] + 1 :] if places else []
    shown = tuple(ordered[: page.limit])
    note_unreadable(shown)
    return ItemPage(shown, len(ordered) > page.limit)
