from hypothesis import given
from hypothesis import strategies as st

from landline.stores.sql.content import NO_ITEMS, pack, unpack
from landline.wire.items import Item

TEXTS = st.none() | st.text(max_size=20)
ITEMS = st.lists(st.builds(Item, raw=st.binary(max_size=50), type=st.text(), id=TEXTS, role=TEXTS, call_id=TEXTS))


@given(st.lists(ITEMS))
def test_packed_lists_are_unpacked_one_behind_another(lists: list[list[Item]]) -> None:
    assert unpack([pack(items) for items in lists]) == [item for items in lists for item in items]


def test_no_items_are_packed_as_said() -> None:
    assert pack([]) == NO_ITEMS


def test_what_a_sealed_item_says_is_not_kept() -> None:
    sealed = Item(
        b'{"type":"compaction"}', "compaction", "id", opened=(Item(b"{}", "message"),), covers=frozenset((b"x",))
    )
    assert unpack([pack([sealed])]) == [Item(sealed.raw, "compaction", "id")]
