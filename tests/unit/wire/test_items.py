"""Items: kept as bytes, read leniently where clients are lenient."""

import json
import re
from typing import Any

import msgspec
import pytest

from landline.wire.items import (
    AdditionalTools,
    Message,
    OpaqueItem,
    OpaquePart,
    check_tool,
    decode_item,
    decode_part,
    text_of,
    typed_item,
)


def test_message_without_type_is_a_message() -> None:
    item = decode_item(b'{"role":"user","content":"Hi"}')
    assert (item.type, item.role) == ("message", "user")
    assert isinstance(typed_item(item), Message)


def test_bytes_and_unknown_fields_survive_untouched() -> None:
    raw = b'{"type":"message","role":"user","content":[],"internal_chat_message_metadata_passthrough":{"a":[1, 2]}}'
    assert decode_item(raw).raw == raw


def test_unknown_item_is_opaque() -> None:
    item = decode_item(b'{"type":"vendor:thing","id":"x","call_id":"c","payload":{"deep":[1]}}')
    assert typed_item(item) == OpaqueItem("vendor:thing", item.raw)
    assert (item.id, item.call_id) == ("x", "c")


def test_unknown_part_is_opaque() -> None:
    part = decode_part(b'{"type":"input_video","video_url":"v"}')
    assert part == OpaquePart("input_video", b'{"type":"input_video","video_url":"v"}')


def test_additional_tools_keep_their_tools() -> None:
    value = typed_item(
        decode_item(b'{"type":"additional_tools","role":"developer","tools":[{"type":"custom","name":"x"}]}')
    )
    assert isinstance(value, AdditionalTools)
    assert bytes(value.tools[0]) == b'{"type":"custom","name":"x"}'


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b'{"type":"function_call","call_id":1,"name":"f","arguments":"{}"}', "$.call_id"),
        (b'{"type":"function_call_output","call_id":"","output":""}', "$.call_id"),
        (b'{"role":"user","content":7}', "$.content"),
        (b'{"type":7}', "$.type"),
        (b'{"id":"x"}', "type"),
        (
            b'{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_text","text":7}]}',
            "$.content[1].text",
        ),
        (b'{"role":"user","content":[7]}', "$.content[0]"),
        (b'{"type":"function_call_output","call_id":"c","output":[{}]}', "$.output[0]"),
        (b'{"type":"custom_tool_call_output","call_id":"c","output":[{"type":7}]}', "$.output[0].type"),
        (b'{"type":"reasoning","summary":[{"type":"summary_text"}]}', "$.summary[0]"),
        (b'{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text"}]}', "$.content[0]"),
        (b'{"type":"additional_tools","tools":[{"name":"x"}]}', "$.tools[0]"),
        (b'{"type":"additional_tools","tools":[{"type":"function","name":3}]}', "$.tools[0].name"),
    ],
)
def test_malformed_item_is_refused_with_its_path(raw: bytes, path: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=re.escape(path)):
        decode_item(raw)


def test_text_of_joins_text_and_leaves_other_parts_out() -> None:
    message = typed_item(
        decode_item(
            b'{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"x"},'
            b'{"type":"output_text","text":"b"},{"type":"x"}]}'
        )
    )
    assert isinstance(message, Message)
    assert text_of(message.content) == "ab"


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "name": "f"},
        {"type": "function", "name": "f", "description": None, "parameters": None, "strict": None, "defer_loading": 1},
        {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True},
        {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}, {"type": "other"}]},
        {"type": "namespace", "name": "n"},
        {"type": "web_search", "filters": 7},
    ],
)
def test_what_clients_send_is_accepted(tool: dict[str, Any]) -> None:
    check_tool(json.dumps(tool).encode())


@pytest.mark.parametrize(
    ("tool", "path"),
    [
        ({"name": "f"}, "`type`"),
        ({"type": "function"}, "`name`"),
        ({"type": "function", "name": ""}, "$.name"),
        ({"type": "function", "name": "f", "description": 5}, "$.description"),
        ({"type": "function", "name": "f", "parameters": []}, "$.parameters"),
        ({"type": "function", "name": "f", "strict": "yes"}, "$.strict"),
        ({"type": "custom", "name": "c", "format": {"type": 1}}, "$.format.type"),
        ({"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}, {"name": 1}]}, "$.tools[1]"),
        ({"type": "namespace", "name": "n", "tools": [{"type": "custom", "name": 1}]}, "$.tools[0].name"),
    ],
)
def test_a_broken_tool_is_refused_with_its_path(tool: dict[str, Any], path: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=re.escape(path)):
        check_tool(json.dumps(tool).encode())
