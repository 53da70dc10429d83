"""Cuts a page out of a list of items."""

from collections.abc import Sequence

from landline.stores.readable_items import note_unreadable
from landline.stores.store import ItemPage, Page
from landline.wire.items import Item


def cut_page(items: Sequence[Item], page: Page) -> ItemPage:
    """The page of a whole list that is given oldest first.

    Behind the last bearer of `after`, should several items have one id: a page then never repeats.
    """
    ordered = list(items) if page.order == "asc" else list(reversed(items))
    if page.after is not None:
        places = [place for place, item in enumerate(ordered) if item.id == page.after]
        ordered = ordered[places[-1] + 1 :] if places else []
    shown = tuple(ordered[: page.limit])
    note_unreadable(shown)
    return ItemPage(shown, len(ordered) > page.limit)
