"""Cache breakpoints: at most four, and each turn puts one where the turn before had its last."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects.anthropic import AnthropicFlags
from landline.dialects.anthropic.breakpoints import MAX_BREAKPOINTS, place_breakpoints
from landline.dialects.anthropic.transcript import MessageSpan
from support.conversations.anthropic import build
from support.conversations.chat import Item, function_call, message, output
from support.strict.anthropic import all_blocks, without_marks

HI = message("user", "hi")
TOOL: Item = {"type": "function", "name": "f"}
FRONT: Item = {"tools": [TOOL, {**TOOL, "name": "g"}], "instructions": "i"}


def marked_texts(body: dict[str, Any]) -> list[str]:
    """The marked blocks, each by its name, text or result."""
    blocks = (block for block in all_blocks(body) if "cache_control" in block)
    return [str(block.get("name") or block.get("text") or block["content"]) for block in blocks]


def marked_part(text: str, mark: Any = None) -> Item:
    return {"type": "input_text", "text": text, "prompt_cache_breakpoint": mark or {"mode": "explicit"}}


def told(*parts: Item) -> Item:
    return {"type": "message", "role": "user", "content": list(parts)}


def test_tools_system_and_the_end_are_marked() -> None:
    assert marked_texts(build([message("user", "a", "b")], **FRONT)) == ["g", "i", "b"]
    assert marked_texts(build([HI])) == ["hi"]


def test_each_turn_marks_where_the_turn_before_ended() -> None:
    links: list[list[Item]] = [[HI, message("user", "there")]]
    ends = ["there"]
    for number in range(30):
        body = build(*links, **FRONT)
        assert marked_texts(body) == ["g", "i", *ends[-2:]]
        calls = [f"{number}-{each}" for each in range(12)]
        links += [[function_call(call_id) for call_id in calls], [output(call_id, call_id) for call_id in calls]]
        ends.append(calls[-1])


def test_a_history_that_comes_whole_has_the_same_marks() -> None:
    items = [HI, function_call("a"), output("a", "one"), message("assistant", "ok"), message("user", "more")]
    assert marked_texts(build(items, **FRONT)) == ["g", "i", "one", "more"]


def test_outputs_that_come_in_two_links_are_one_request_end() -> None:
    """The first of them was never sent alone."""
    calls = [function_call("a"), function_call("b")]
    links = [HI], calls, [output("a", "one")], [output("b", "two")]
    assert marked_texts(build(*links, **FRONT))[2:] == ["hi", "two"]


def test_a_note_for_a_missing_result_is_the_end() -> None:
    assert marked_texts(build([HI], [function_call("a")], **FRONT))[2:] == ["hi", "(no output yet)"]


def test_a_mark_says_its_lifetime() -> None:
    (short,) = [block["cache_control"] for block in all_blocks(build([HI]))]
    (long,) = [block["cache_control"] for block in all_blocks(build([HI], flags=AnthropicFlags(cache_ttl="1h")))]
    (named,) = [block["cache_control"] for block in all_blocks(build([HI], prompt_cache_options={"ttl": "30m"}))]
    assert named == long
    assert (short, long) == ({"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"})


def test_no_cache_no_marks() -> None:
    assert marked_texts(build([HI], flags=AnthropicFlags(cache="off"), **FRONT)) == []


def test_marks_change_nothing_else() -> None:
    links = [HI], [function_call("a")], [output("a")]
    plain = build(*links, flags=AnthropicFlags(cache="off"), **FRONT)
    assert without_marks(build(*links, **FRONT)) == plain


@pytest.mark.parametrize("explicit", [{"flags": AnthropicFlags(cache="explicit")}, {"prompt_cache_options": {"mode": "explicit"}}])  # fmt: skip
def test_only_the_clients_own_marks_if_it_wants_that(explicit: Item) -> None:
    items = told(marked_part("a"), {"type": "input_text", "text": "b"}), told(marked_part("c"))
    assert marked_texts(build(items, **FRONT, **explicit)) == ["a", "c"]
    assert marked_texts(build([HI], **FRONT, **explicit)) == []


@pytest.mark.parametrize("explicit", [{"flags": AnthropicFlags(cache="explicit")}, {"prompt_cache_options": {"mode": "explicit"}}])  # fmt: skip
def test_the_clients_mark_on_a_leading_developer_message_is_one_of_the_system_prompt(explicit: Item) -> None:
    rules = {"type": "message", "role": "developer", "content": [marked_part("rules")]}
    assert marked_texts(build([rules], [HI], **FRONT, **explicit)) == ["rules"]
    assert marked_texts(build([rules], [HI], **FRONT)) == ["g", "rules", "hi"]


def test_the_clients_marks_come_before_system_and_tools() -> None:
    first = told(marked_part("a"), {"type": "input_text", "text": "b"})
    assert marked_texts(build([first], **FRONT)) == ["g", "i", "a", "b"]
    links = [first], [message("assistant", "ok")], [HI]
    assert marked_texts(build(*links, **FRONT)) == ["i", "a", "b", "hi"]
    many = told(*(marked_part(str(number)) for number in range(9)), {"type": "input_text", "text": "z"})
    assert marked_texts(build([many], **FRONT)) == ["6", "7", "8", "z"]


def test_marks_on_outputs_and_on_what_waits_for_them_are_kept() -> None:
    marked_output = {"type": "function_call_output", "call_id": "a", "output": [marked_part("one")]}
    links = (
        [HI],
        [function_call("a"), function_call("b")],
        [told(marked_part("wait")), marked_output, output("b", "two")],
        [HI],
    )
    assert marked_texts(build(*links)) == ["hi", "one", "wait", "hi"]


@pytest.mark.parametrize("part", [{"type": "input_text", "text": 'say "prompt_cache_breakpoint"'}, {"type": "input_text", "text": "a", "prompt_cache_breakpoint": None}])  # fmt: skip
def test_what_only_looks_like_a_mark_is_none(part: Item) -> None:
    items = [told(part, {"type": "input_text", "text": "z"})]
    assert marked_texts(build(items)) == ["z"]


def test_a_mark_on_an_item_of_an_unknown_kind_is_none() -> None:
    strange = {"type": "vendor:thing", "prompt_cache_breakpoint": {"mode": "explicit"}}
    assert marked_texts(build([strange, message("user", "z")])) == ["z"]


_PIECES = st.lists(st.builds(MessageSpan, st.just(b""), st.booleans(), st.booleans()), max_size=12)


@given(pieces=_PIECES, mode=st.sampled_from(["auto", "explicit", "off"]), tools=st.booleans(), system=st.booleans())
def test_there_are_never_more_than_four(pieces: list[MessageSpan], mode: Any, tools: bool, system: bool) -> None:
    places = place_breakpoints(pieces, mode, has_tools=tools, has_system=system)
    assert len(places.spans) + places.has_tools + places.has_system <= MAX_BREAKPOINTS
    assert all(0 <= index < len(pieces) for index in places.spans)
    assert not places.has_tools or tools
    assert not places.has_system or system
    if mode == "auto" and pieces:
        assert len(pieces) - 1 in places.spans
