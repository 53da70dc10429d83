"""Any conversation at all is one that strict servers take, wherever it is cut into links."""

import itertools

from hypothesis import assume, given
from hypothesis import strategies as st

from landline.dialects.chat_completions import ChatCompletionsFlags
from support.conversations.chat import (
    Item,
    custom_call,
    function_call,
    message,
    messages,
    output,
    reasoning,
)
from support.strict.chat import check_history, check_role_order

IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "original"}
STRICT = ChatCompletionsFlags(role_order="strict", system_position="start")

_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_CALL_ID = st.sampled_from(["a", "b", "c", "d"])


@st.composite
def _conversations(draw: st.DrawFn) -> list[Item]:
    """Items in any order, every text with a number that no other has; call ids may come again."""
    items: list[Item] = []
    for number in range(draw(st.integers(0, 14))):
        text = f"<{number}>{draw(_TEXT)}"
        kind = draw(
            st.sampled_from(["user", "developer", "assistant", "reasoning", "call", "custom", "output", "image"])
        )
        match kind:
            case "reasoning":
                items.append(reasoning(text))
            case "call":
                items.append(function_call(draw(_CALL_ID), arguments=draw(st.sampled_from(["{}", "", text]))))
            case "custom":
                items.append(custom_call(draw(_CALL_ID), text=text))
            case "output" | "image":
                earlier = [item["call_id"] for item in items if "call_id" in item]
                call_id = draw(st.sampled_from([*earlier, "unknown"]))
                parts = [{"type": "input_text", "text": text}, *([IMAGE] if kind == "image" else [])]
                items.append(output(call_id, parts))
            case _:
                items.append(message(kind, text))
    return items


def _split(items: list[Item], cuts: list[int]) -> list[list[Item]]:
    edges = [0, *sorted(cut for cut in cuts if cut <= len(items)), len(items)]
    return [items[start:end] for start, end in itertools.pairwise(edges)]


@given(items=_conversations())
def test_any_conversation_is_valid_for_a_strict_server(items: list[Item]) -> None:
    check_history(messages(items))


@given(items=_conversations())
def test_any_conversation_is_in_the_order_of_roles_that_a_server_insists_on(items: list[Item]) -> None:
    """Of the first message nothing is said here: clients begin with the user."""
    made = messages([message("user", "first"), *items], flags=STRICT)
    check_history(made)
    check_role_order(made)


@given(items=_conversations(), cuts=st.lists(st.integers(0, 14), max_size=5))
def test_the_cut_into_links_changes_nothing(items: list[Item], cuts: list[int]) -> None:
    assert messages(*_split(items, cuts)) == messages(items)


@given(items=_conversations())
def test_no_text_is_lost_or_doubled(items: list[Item]) -> None:
    rendered = str(messages(items))
    for number, item in enumerate(items):
        is_empty_call = item["type"] == "function_call" and item["arguments"] in ("{}", "")
        assert rendered.count(f"<{number}>") == (0 if is_empty_call else 1)


@given(items=_conversations(), data=st.data())
def test_a_longer_conversation_repeats_the_closed_messages_of_the_shorter_one(
    items: list[Item], data: st.DataObject
) -> None:
    """A conversation that only the developer has spoken in may still grow its one system message."""
    shorter = messages(items[: data.draw(st.integers(0, len(items)))])
    assume(any(each["role"] != "system" for each in shorter))
    closed = shorter[: max((i for i, each in enumerate(shorter) if each["role"] == "assistant"), default=len(shorter))]
    assert messages(items)[: len(closed)] == closed
