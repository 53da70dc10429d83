from hypothesis import given
from hypothesis import strategies as st

from landline.stores.sql.lineages import pack, unpack
from landline.wire.items import Item

TEXTS = st.none() | st.text(max_size=20)
ITEMS = st.lists(st.builds(Item, raw=st.binary(max_size=50), type=st.text(), id=TEXTS, role=TEXTS, call_id=TEXTS))


@given(st.lists(ITEMS))
def test_packed_lists_are_unpacked_one_behind_another(lists: list[list[Item]]) -> None:
    items = [item for each in lists for item in each]
    assert unpack([(len(each), pack(each)) for each in lists]) == items


def test_what_a_sealed_item_says_is_not_kept() -> None:
    sealed = Item(
        b'{"type":"compaction"}', "compaction", "id", opened=(Item(b"{}", "message"),), covers=frozenset((b"x",))
    )
    assert unpack([(1, pack([sealed]))]) == [Item(sealed.raw, "compaction", "id")]
