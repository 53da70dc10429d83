"""How items look in lists: OpenAI's clients find every key that their types require."""

import json
from typing import Any

import pytest

from landline.wire.items import Item, decode_item
from landline.wire.resources import list_items, show_item


def item(**fields: Any) -> Item:
    return decode_item(json.dumps(fields).encode())


def shown(**fields: Any) -> dict[str, Any]:
    return json.loads(bytes(show_item(item(id="item_1", **fields))))


@pytest.mark.parametrize(
    ("role", "part"),
    [
        ("user", {"type": "input_text", "text": "a"}),
        ("developer", {"type": "input_text", "text": "a"}),
        ("assistant", {"type": "output_text", "text": "a", "annotations": [], "logprobs": []}),
    ],
)
def test_text_stands_in_a_part(role: str, part: dict[str, Any]) -> None:
    expected = {"id": "item_1", "type": "message", "role": role, "content": [part], "status": "completed"}
    assert shown(role=role, content="a") == expected
    assert shown(type="message", role=role, content=[{"type": part["type"], "text": "a"}]) == expected


def test_what_an_item_says_of_itself_stays() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "status": "incomplete", "extra": 1}
    assert shown(**call) == call | {"id": "item_1"}
    image = {"type": "input_image", "image_url": "data:,", "detail": "high"}
    assert shown(role="user", content=[image])["content"] == [image]


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "function_call_output", "call_id": "c", "output": "a"},
        {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "a"},
        {"type": "web_search_call", "action": {}, "status": None},
    ],
)
def test_calls_and_outputs_have_a_status(fields: dict[str, Any]) -> None:
    assert shown(**fields)["status"] == "completed"


def test_items_that_have_no_status_get_none() -> None:
    reasoning = {"type": "reasoning", "summary": []}
    assert shown(**reasoning) == reasoning | {"id": "item_1"}


def test_image_has_a_detail() -> None:
    part = {"type": "input_image", "image_url": "data:,"}
    assert shown(role="user", content=[part])["content"] == [part | {"detail": "auto"}]


def test_list_names_its_ends() -> None:
    items = [item(id=name, role="user", content="a") for name in ("a", "b")]
    made = list_items(items, has_more=True)
    assert (made.object, made.first_id, made.last_id, made.has_more, len(made.data)) == ("list", "a", "b", True, 2)
