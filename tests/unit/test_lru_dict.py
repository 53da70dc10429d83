"""The dictionary that forgets by use."""

from landline.lru_dict import LruDict


def test_one_entry_too_many_drops_the_least_recently_used() -> None:
    entries: LruDict[str, int] = LruDict(2)
    assert entries.put("a", 1) is None
    entries.put("b", 2)
    assert entries.get("a") == 1
    assert entries.put("c", 3) == ("b", 2)
    assert list(entries) == ["a", "c"]


def test_a_look_without_use_changes_no_order() -> None:
    entries: LruDict[str, int] = LruDict()
    entries.put("a", 1)
    entries.put("b", 2)
    assert entries.peek("a") == 1
    assert list(entries.items()) == [("a", 1), ("b", 2)]
    assert entries.pop_oldest() == ("a", 1)


def test_a_value_that_is_replaced_is_the_most_recently_used() -> None:
    entries: LruDict[str, int] = LruDict(2)
    entries.put("a", 1)
    entries.put("b", 2)
    entries.put("a", 3)
    assert list(entries) == ["b", "a"]
    assert "b" in entries
    assert len(entries) == 2


def test_what_was_removed_is_not_found() -> None:
    entries: LruDict[str, int] = LruDict()
    entries.put("a", 1)
    assert entries.pop("a") == 1
    assert entries.pop("a") is None
    assert entries.get("a") is None
    entries.put("b", 2)
    entries.clear()
    assert not entries
