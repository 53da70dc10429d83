"""Admission: which creates become turns, and what the others are told."""

import json
from typing import Any

import msgspec
import pytest

from landline.session.admission import admit, resolve
from landline.session.lineage import Link
from landline.session.memory import Remembered
from landline.session.turn import Turn
from landline.wire.errors import ApiError
from landline.wire.items import decode_item
from landline.wire.requests import CreateRequest, decode_create

CALL = decode_item(b'{"type":"function_call","call_id":"call_1","name":"f","arguments":"{}"}')
MESSAGE = {"type": "message", "role": "user", "content": "x"}
TRIGGER = {"type": "compaction_trigger"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "x"}


def decide(*, parent: Link | None = None, **fields: object) -> Turn | ApiError:
    request = decode_create(json.dumps({"model": "m"} | fields))
    assert isinstance(request, CreateRequest)
    remembered = Remembered("resp_0", parent, None) if parent is not None else None
    return admit(request, response_id="resp_1", now=5.0, parent=remembered)


FUNCTION: dict[str, object] = {"type": "function", "name": "f"}


def choice(**fields: object) -> dict[str, object]:
    return {"input": "hi", "tools": [FUNCTION], "tool_choice": fields}


def json_schema(**fields: object) -> dict[str, object]:
    return {"input": "hi", "text": {"format": {"type": "json_schema", **fields}}}


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input": "hi", "background": True, "store": False}, "invalid_value", "background"),
        ({"input": "hi", "conversation": 7}, "invalid_value", "conversation"),
        ({"input": "hi", "conversation": "c", "previous_response_id": "r"}, "invalid_value", "previous_response_id"),
        ({"input": "hi", "multi_agent": {"enabled": True}}, "unsupported_parameter", "multi_agent"),
        ({"input": "hi", "prompt": {"id": "p"}}, "unsupported_parameter", "prompt"),
        ({"input": "hi", "metadata": {str(i): "" for i in range(17)}}, "invalid_value", "metadata"),
        ({"input": "hi", "tools": [{"type": "function"}]}, "missing_required_parameter", "tools[0].name"),
        ({"input": "hi", "tools": [{"name": "f"}]}, "invalid_value", "tools[0]"),
        ({"input": "hi", "tools": ["f"]}, "invalid_value", "tools[0]"),
        ({"input": "hi", "tools": [FUNCTION | {"description": 5}]}, "invalid_value", "tools[0].description"),
        ({"input": "hi", "tools": [FUNCTION, FUNCTION | {"parameters": []}]}, "invalid_value", "tools[1].parameters"),
        (json_schema(schema={}), "missing_required_parameter", "text.format.name"),
        (json_schema(name="n"), "missing_required_parameter", "text.format.schema"),
        (json_schema(name="n", schema=[]), "invalid_value", "text.format.schema"),
        ({"input": "hi", "tool_choice": "required"}, "invalid_value", "tool_choice"),
        (choice(type="function", function={"name": "f"}), "missing_required_parameter", "tool_choice.name"),
        (choice(type="custom", custom={"name": "f"}), "missing_required_parameter", "tool_choice.name"),
        (
            choice(type="allowed_tools", allowed_tools={"mode": "auto", "tools": [FUNCTION]}),
            "missing_required_parameter",
            "tool_choice.tools",
        ),
        (
            choice(type="allowed_tools", tools=[FUNCTION, {"type": "function", "function": {"name": "f"}}]),
            "missing_required_parameter",
            "tool_choice.tools[1].name",
        ),
        ({"input": []}, "missing_required_parameter", "input"),
        ({}, "missing_required_parameter", "input"),
        ({"input": [OUTPUT]}, "tool_call_not_found", "input"),
        ({"input": [{"type": "compaction_trigger"}]}, "missing_required_parameter", "input"),
        ({"input": [TRIGGER, MESSAGE]}, "invalid_value", "input[0]"),
        ({"input": [MESSAGE, TRIGGER], "generate": False}, "invalid_value", "input[1]"),
        (
            {"input": "hi", "context_management": [{"type": "clear"}]},
            "unsupported_parameter",
            "context_management[0].type",
        ),
        (
            {"input": "hi", "context_management": [{"type": "compaction"}]},
            "missing_required_parameter",
            "context_management[0].compact_threshold",
        ),
    ],
)
def test_refusal_names_code_and_field(fields: dict[str, Any], code: str, param: str) -> None:
    error = decide(**fields)
    assert isinstance(error, ApiError)
    assert (error.code, error.param) == (code, param)


def test_tool_output_may_answer_a_call_far_back_in_the_history() -> None:
    link = Link(None, [CALL])
    for _ in range(3):
        link = Link(link, [decode_item(b'{"role":"user","content":"x"}')])
    assert isinstance(decide(parent=link, input=[OUTPUT]), Turn)


def test_tool_output_may_answer_a_call_of_the_same_input() -> None:
    assert isinstance(decide(input=[json.loads(CALL.raw), OUTPUT]), Turn)
    assert isinstance(decide(input=[OUTPUT, json.loads(CALL.raw)]), ApiError)


def test_empty_input_goes_on_from_a_parent_and_starts_a_warm_up() -> None:
    parent = Link(None, [decode_item(b'{"role":"user","content":"x"}')])
    turn = decide(parent=parent, input=[], previous_response_id="resp_0")
    assert isinstance(turn, Turn)
    assert turn.history is parent
    warm_up = decide(input=[], generate=False)
    assert isinstance(warm_up, Turn)
    assert warm_up.history is None


def test_required_tool_choice_counts_tools_added_in_the_history() -> None:
    tools = decode_item(b'{"type":"additional_tools","tools":[{"type":"custom","name":"exec"}]}')
    assert isinstance(decide(parent=Link(None, [tools]), input="go", tool_choice="required"), Turn)


def test_hosted_tools_are_not_refused() -> None:
    tools = [
        {"type": "web_search"},
        {"type": "tool_search", "execution": "client"},
        {"type": "namespace", "name": "n", "tools": []},
    ]
    assert isinstance(decide(input="hi", tools=tools), Turn)


@pytest.mark.parametrize(
    "fields",
    [
        {"input": "hi", "previous_response_id": "resp_unknown"},
        {"input": "hi", "conversation": {"id": "conv_1"}},
        {"input": [], "conversation": "conv_1"},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
    ],
)
def test_turn_whose_history_is_elsewhere_is_unresolved(fields: dict[str, Any]) -> None:
    turn = decide(**fields)
    assert isinstance(turn, Turn)
    assert not turn.is_resolved
    assert turn.history is None


def test_resolved_turn_has_its_parents_history() -> None:
    turn = decide(input=[OUTPUT], previous_response_id="resp_unknown")
    assert isinstance(turn, Turn)
    resolved = resolve(turn, Link(None, [CALL]), turn.items)
    assert isinstance(resolved, Turn)
    assert resolved.is_resolved
    assert resolved.history is not None
    assert resolved.history.item_count == 2
    assert isinstance(resolve(turn, None, turn.items), ApiError)


def test_trigger_at_the_end_makes_the_turn_a_compaction_and_is_no_part_of_the_history() -> None:
    turn = decide(input=[MESSAGE, TRIGGER])
    assert isinstance(turn, Turn)
    assert turn.is_compaction
    assert [item.type for item in turn.items] == ["message"]
    assert turn.history is not None
    assert turn.history.item_count == 1


def test_trigger_that_was_followed_is_history() -> None:
    turn = decide(input=[MESSAGE, TRIGGER, {"type": "compaction", "encrypted_content": "sealed"}, MESSAGE])
    assert isinstance(turn, Turn)
    resolved = resolve(turn, None, turn.items)
    assert isinstance(resolved, Turn)
    assert not resolved.is_compaction
    assert [item.type for item in resolved.items] == ["message", "compaction", "message"]


def test_compaction_of_a_parent_without_items_has_nothing_to_compact() -> None:
    turn = decide(input=[TRIGGER], previous_response_id="resp_unknown")
    assert isinstance(turn, Turn)
    refused = resolve(turn, None, turn.items)
    assert isinstance(refused, ApiError)
    assert refused.param == "input"


def test_output_may_answer_a_call_that_a_compaction_kept() -> None:
    compaction = decode_item(b'{"type":"compaction","encrypted_content":"sealed"}')
    opened = msgspec.structs.replace(compaction, opened=(CALL,))
    assert isinstance(decide(parent=Link(None, [opened]), input=[OUTPUT]), Turn)
    turn = decide(input=[json.loads(compaction.raw), OUTPUT])
    assert isinstance(turn, Turn)
    assert isinstance(resolve(turn, None, (opened, *turn.items[1:])), Turn)
    assert isinstance(resolve(turn, None, turn.items), ApiError)


def test_sealed_item_behind_a_remembered_parent_keeps_that_parent() -> None:
    parent = Link(None, [CALL])
    turn = decide(parent=parent, input=[{"type": "compaction", "encrypted_content": "sealed"}])
    assert isinstance(turn, Turn)
    assert (turn.is_resolved, turn.is_parent_found, turn.history) == (False, True, parent)


def test_reasoning_that_can_be_read_needs_nobody() -> None:
    readable = {"type": "reasoning", "summary": [], "encrypted_content": "sealed"}
    readable["content"] = [{"type": "reasoning_text", "text": "hm"}]
    turn = decide(input=[readable, MESSAGE])
    assert isinstance(turn, Turn)
    assert turn.is_resolved
