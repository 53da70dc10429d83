"""Canonical items: rewriting by clients is invisible, a changed character is not."""

import json
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.wire.canonical import canonical, canonical_digest, escape_bytes, excess_bytes, is_spaced, item_digest
from landline.wire.items import Item, Reasoning, Signed, decode_item, encode_item
from support.conversations.client_spellings import CONVERSATION, SPELLINGS, JsonItem, played_back

PLAIN_REASONING = encode_item(
    {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Look at the clock."}]}
)


def item_of(value: JsonItem) -> Item:
    """The item, with its sealed reasoning opened where it does not say it itself, as a turn reads it."""
    item = decode_item(json.dumps(value).encode())
    is_sealed = item.type == "reasoning" and not value.get("content") and value.get("encrypted_content")
    return msgspec.structs.replace(item, opened=(PLAIN_REASONING,)) if is_sealed else item


@pytest.mark.parametrize("client", SPELLINGS)
def test_what_a_client_plays_back_means_what_it_was_given(client: str) -> None:
    given_ = [canonical(item_of(item)) for item in CONVERSATION]
    assert [canonical(item_of(item)) for item in played_back(client)] == given_


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"role": "user", "content": ""}, {"role": "user", "content": []}),
        ({"role": "user", "content": ""}, {"role": "user", "content": [{"type": "input_text", "text": ""}]}),
        (
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": []},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None},
        ),
        (
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
            {"type": "reasoning", "summary": [], "encrypted_content": "x"},
        ),
        (
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": " "},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{ }"},
        ),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": "data:a", "file_id": None}]},
            {"role": "user", "content": [{"image_url": "data:a", "type": "input_image"}]},
        ),
        (
            {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "ok"}]},
        ),
        (
            {"type": "future_thing", "id": "ft_1", "note": "n", "extra": None},
            {"note": "n", "type": "future_thing", "created_by": "somebody"},
        ),
    ],
)
def test_spelling_does_not_matter(left: JsonItem, right: JsonItem) -> None:
    assert canonical_digest(item_of(left)) == canonical_digest(item_of(right))
    assert item_digest(item_of(left)) == item_digest(item_of(right))


CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
REASONING = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "a"}]}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"role": "user", "content": "Hi"}, {"role": "user", "content": "hi"}),
        ({"role": "user", "content": "Hi"}, {"role": "developer", "content": "Hi"}),
        ({"role": "system", "content": "Hi"}, {"role": "developer", "content": "Hi"}),
        (
            {"role": "user", "content": "ab"},
            {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        ),
        (
            {"role": "assistant", "content": "no"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        ),
        ({"role": "assistant", "content": "a", "phase": "commentary"}, {"role": "assistant", "content": "a"}),
        (CALL, {**CALL, "call_id": "d"}),
        (CALL, {**CALL, "namespace": "n"}),
        ({**CALL, "arguments": '{"a": 1}'}, {**CALL, "arguments": '{"a": "1"}'}),
        ({**CALL, "arguments": '{"a": [1]}'}, {**CALL, "arguments": '{"a": {"members": [1]}}'}),
        ({**CALL, "arguments": '{"a":1,"b":2}'}, {**CALL, "arguments": '{"b":2,"a":1}'}),
        ({**CALL, "arguments": '{"a":1,"a":2}'}, {**CALL, "arguments": '{"a":2}'}),
        ({**CALL, "arguments": '{"a":12345678901234567890}'}, {**CALL, "arguments": '{"a":12345678901234567000}'}),
        ({**CALL, "arguments": '{"a":1e2}'}, {**CALL, "arguments": '{"a":100}'}),
        ({**CALL, "arguments": '{"a":1'}, {**CALL, "arguments": '{"a": 1'}),
        ({**CALL, "arguments": '{"a":NaN}'}, {**CALL, "arguments": '{"a": NaN}'}),
        ({**CALL, "arguments": '"a"'}, {**CALL, "arguments": "a"}),
        (
            {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": '{"a":1}'},
            {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": '{"a": 1}'},
        ),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": "data:a"}]},
            {"role": "user", "content": [{"type": "input_image", "image_url": "data:b"}]},
        ),
        ({"type": "reasoning", "summary": []}, REASONING),
        ({**REASONING, "encrypted_content": "x"}, REASONING),
        ({"type": "reasoning", "id": "rs_1", "summary": []}, {"type": "reasoning", "id": "rs_2", "summary": []}),
        (
            {"type": "additional_tools", "role": "developer", "tools": []},
            {"type": "additional_tools", "role": "developer"},
        ),
        ({"type": "item_reference", "id": "msg_1"}, {"type": "item_reference", "id": "msg_2"}),
        ({"type": "patch_output", "status": "failed"}, {"type": "patch_output", "status": "completed"}),
        ({"type": "future_thing", "notes": []}, {"type": "future_thing"}),
    ],
)
def test_other_meaning_is_another_item(left: JsonItem, right: JsonItem) -> None:
    assert canonical_digest(item_of(left)) != canonical_digest(item_of(right))


@given(st.data())
def test_a_changed_character_is_another_item(data: st.DataObject) -> None:
    item = data.draw(st.sampled_from(CONVERSATION))
    path = data.draw(st.sampled_from(list(_texts(item))))
    old = _at(item, path)
    place = data.draw(st.integers(0, len(old)))
    new = old[:place] + data.draw(st.text(max_size=2)) + old[place + data.draw(st.integers(0, 1)) :]
    changed = _with(item, path, new)
    is_same = new == old or (path == ("arguments",) and _says_the_same(old, new))
    if path == ("type",) and new in ("output_text", "input_text", "text"):
        return
    assert (canonical(_loose(changed)) == canonical(_loose(item))) == is_same


@given(st.data())
def test_order_counts(data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.text(min_size=1), min_size=2, max_size=4, unique=True))
    shuffled = data.draw(st.permutations(parts))
    items = [
        item_of({"role": "user", "content": [{"type": "input_text", "text": text} for text in each]})
        for each in (parts, shuffled)
    ]
    assert (canonical(items[0]) == canonical(items[1])) == (list(shuffled) == parts)


def test_a_signature_that_the_client_was_given_counts() -> None:
    bare = item_of({**REASONING, "encrypted_content": "x"})
    signed = [msgspec.structs.replace(bare, signed=Signed("anthropic", (block,))) for block in ("{}", '{"a":1}')]
    assert len({canonical(each) for each in (bare, *signed)}) == 3


def test_a_signature_that_stayed_here_is_known_by_the_id_of_its_reasoning() -> None:
    summary = [{"type": "summary_text", "text": "so"}]
    ours, other = (item_of({"type": "reasoning", "id": each, "summary": summary}) for each in ("rs_1", "rs_2"))
    signed = msgspec.structs.replace(ours, signed=Signed("anthropic", ("{}",)))
    assert canonical(signed) == canonical(ours)
    assert canonical(signed) != canonical(other)
    without_id = item_of({"type": "reasoning", "summary": summary})
    assert canonical(signed) != canonical(without_id)


def test_sealed_reasoning_means_what_it_opens_to_and_its_seal() -> None:
    said = encode_item(Reasoning([], [msgspec.Raw(b'{"type":"reasoning_text","text":"a"}')]))
    opened = msgspec.structs.replace(
        decode_item(b'{"type":"reasoning","summary":[],"encrypted_content":"x"}'), opened=(said,)
    )
    assert canonical(opened) == canonical(item_of({**REASONING, "encrypted_content": "x"}))
    assert canonical(opened) != canonical(item_of(REASONING))


def test_a_compaction_means_its_seal_whether_it_opens_here_or_not() -> None:
    closed = decode_item(b'{"type":"compaction","id":"cmp_1","encrypted_content":"x"}')
    opened = msgspec.structs.replace(closed, opened=(item_of({"role": "user", "content": "Summary"}),))
    assert canonical(opened) == canonical(closed)
    assert canonical(closed) != canonical(decode_item(b'{"type":"compaction","encrypted_content":"y"}'))


def test_what_is_nested_too_deeply_means_its_bytes() -> None:
    deep = b'{"type":"future_thing","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert canonical(Item(deep, "future_thing")) == deep
    call = {**CALL, "arguments": '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"}
    assert canonical(item_of(call)) == canonical(item_of({**call, "id": "fc_1"}))


def test_a_broken_item_of_an_upstream_has_a_canonical_form() -> None:
    for raw in (b'{"type":"function_call"}', b'{"type":"message","content":[1,"a",{}]}', b'{"type":"reasoning"}'):
        assert canonical(Item(raw, json.loads(raw)["type"]))


def _loose(value: JsonItem) -> Item:
    """The item whatever it says: a changed character may break its type."""
    raw = json.dumps(value).encode()
    return Item(raw, value["type"], value.get("id"), value.get("role"), value.get("call_id"))


def _texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of every string that means something."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict):
        for name, each in cast("JsonItem", value).items():
            if name not in ("id", "status", "type", "annotations", "logprobs"):
                yield from _texts(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(cast("list[Any]", value)):
            yield from _texts(each, (*path, index))


def _at(value: Any, path: tuple[Any, ...]) -> str:
    for step in path:
        value = value[step]
    return value


def _with(value: Any, path: tuple[Any, ...], text: str) -> Any:
    if not path:
        return text
    copy: Any = value.copy()
    copy[path[0]] = _with(value[path[0]], path[1:], text)
    return copy


def _says_the_same(left: str, right: str) -> bool:
    """Whether both are one JSON object, its members in the same order."""
    try:
        values = [json.loads(text if text.strip() else "{}", object_pairs_hook=list) for text in (left, right)]
        [json.dumps(value, ensure_ascii=False).encode() for value in values]
    except ValueError:
        return False
    return all(text.strip()[:1] in ("", "{") for text in (left, right)) and repr(values[0]) == repr(values[1])


CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x7f")
TEXTS = st.text(st.one_of(CHARACTERS, st.sampled_from('\\u"\n\x00é語😀')))


@given(TEXTS)
def test_escapes_are_what_utf8_does_without(text: str) -> None:
    escaped, plain = json.dumps(text).encode(), json.dumps(text, ensure_ascii=False).encode()
    assert len(escaped) - escape_bytes(escaped) == len(plain)
    assert escape_bytes(plain) == 0


@pytest.mark.parametrize("text", ["C:\\users\\u00e9", "\\\\u4e2d", "ends in \\", "\\"])
def test_an_escaped_backslash_begins_no_escape(text: str) -> None:
    assert escape_bytes(json.dumps(text).encode()) == 0


@given(
    st.recursive(
        TEXTS | st.integers(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
        max_leaves=12,
    )
)
def test_excess_is_what_compact_json_in_utf8_does_without(value: object) -> None:
    spelled = json.dumps(value).encode()
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    assert len(spelled) - excess_bytes(spelled) == len(compact)
    assert excess_bytes(compact) == 0


def test_spaces_are_told_from_the_first_member() -> None:
    for text, spaced in (('{"a": 1}', True), ('{"a":1, "b": 2}', False), ('"no member"', False), ("", False)):
        assert is_spaced(text) is is_spaced(text.encode()) is spaced
