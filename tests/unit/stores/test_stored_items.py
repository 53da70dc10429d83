from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.stores.store import Page
from landline.stores.stored_items import cut_page
from landline.wire.items import Item


def _items(names: list[str]) -> list[Item]:
    return [Item(b"{}", "message", name) for name in names]


@pytest.mark.parametrize("order", ["asc", "desc"])
@given(st.integers(0, 30), st.integers(1, 10))
def test_pages_give_every_item_once_in_order(order: Literal["asc", "desc"], count: int, limit: int) -> None:
    items = _items([str(number) for number in range(count)])
    seen: list[Item] = []
    page = cut_page(items, Page(limit=limit, order=order))
    seen += page.items
    while page.has_more:
        page = cut_page(items, Page(limit=limit, order=order, after=page.items[-1].id))
        seen += page.items
    assert seen == (items if order == "asc" else items[::-1])


@given(st.lists(st.sampled_from("abc")), st.integers(1, 4))
def test_pages_end_even_where_items_share_an_id(names: list[str], limit: int) -> None:
    items = _items(names)
    pages = 1
    page = cut_page(items, Page(limit=limit, order="asc"))
    while page.has_more:
        page = cut_page(items, Page(limit=limit, order="asc", after=page.items[-1].id))
        pages += 1
    assert pages <= len(names) + 1
