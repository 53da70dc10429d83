"""What truncation leaves out, and what it never does."""

from hypothesis import given
from hypothesis import strategies as st

from landline.session.lineage import Link, extend
from landline.session.truncation import drop_oldest
from landline.wire.items import Item, encode_item


def message(role: str, text: str) -> Item:
    return encode_item({"type": "message", "role": role, "content": text})


def called(call_id: str) -> Item:
    return encode_item({"type": "function_call", "call_id": call_id, "name": "look", "arguments": "{}"})


def answered(call_id: str) -> Item:
    return encode_item({"type": "function_call_output", "call_id": call_id, "output": "seen"})


def history_of(items: list[Item]) -> Link:
    history = extend(None, items)
    assert history is not None
    return history


def test_oldest_goes_first_and_a_call_takes_its_output_along() -> None:
    items = [message("developer", "rules"), called("a"), answered("a"), *(message("user", f"u{n}") for n in range(9))]
    shorter = drop_oldest(history_of([*items, message("assistant", "well"), message("user", "new")]))
    assert shorter is not None
    assert [item.call_id for item in shorter.items if item.call_id] == []
    assert shorter.items[0].role == "developer"
    assert len(shorter.items) == len(items)


def test_call_that_the_newest_output_answers_stays() -> None:
    history = history_of([message("user", "u"), called("a"), message("assistant", "wait"), answered("a")])
    shorter: Link | None = history
    while shorter is not None:
        history, shorter = shorter, drop_oldest(shorter)
    assert [item.type for item in history.items] == ["function_call", "function_call_output"]


def test_what_may_not_go_ends_the_truncation() -> None:
    assert drop_oldest(history_of([message("developer", "rules"), message("user", "new")])) is None


_KINDS = st.sampled_from(["user", "developer", "assistant", "call", "output"])


@given(kinds=st.lists(_KINDS, max_size=40))
def test_dropping_ends_with_rules_newest_words_and_whole_calls(kinds: list[str]) -> None:
    items: list[Item] = []
    open_calls: list[str] = []
    for number, kind in enumerate(kinds):
        if kind == "call":
            open_calls.append(f"c{number}")
            items.append(called(f"c{number}"))
        elif kind == "output":
            items += [answered(open_calls.pop())] if open_calls else []
        else:
            items.append(message(kind, f"{kind} {number}"))
    items.append(message("user", "new"))
    before = history_of(items)
    while (after := drop_oldest(before)) is not None:
        assert after.item_count < before.item_count
        left = [item for item in items if item in after.items]
        assert left == list(after.items)
        open_before = {item.call_id for item in items if item.call_id in open_calls}
        assert open_before <= {item.call_id for item in after.items}
        calls = {item.call_id for item in after.items if item.type == "function_call"}
        assert {item.call_id for item in after.items if item.type == "function_call_output"} <= calls
        assert [item for item in after.items if item.role == "developer"] == [
            item for item in items if item.role == "developer"
        ]
        assert after.items[-1] == items[-1]
        before = after
