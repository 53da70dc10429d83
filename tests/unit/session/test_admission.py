"""Admission: which creates become turns, and what the others are told."""

import json

import pytest

from landline.session.admission import admit, resolve
from landline.session.lineage import Link
from landline.session.memory import Remembered
from landline.session.turn import Turn
from landline.wire.errors import ApiError
from landline.wire.items import decode_item
from landline.wire.requests import CreateRequest, decode_create

CALL = decode_item(b'{"type":"function_call","call_id":"call_1","name":"f","arguments":"{}"}')
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "x"}


def decide(*, parent: Link | None = None, **fields: object) -> Turn | ApiError:
    request = decode_create(json.dumps({"model": "m"} | fields))
    assert isinstance(request, CreateRequest)
    remembered = Remembered("resp_0", parent, None) if parent is not None else None
    return admit(request, response_id="resp_1", now=5.0, parent=remembered)


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
        ({"input": "hi", "tool_choice": "required"}, "invalid_value", "tool_choice"),
        ({"input": []}, "missing_required_parameter", "input"),
        ({}, "missing_required_parameter", "input"),
        ({"input": [OUTPUT]}, "tool_call_not_found", "input"),
        ({"input": [{"type": "compaction_trigger"}]}, "unsupported_parameter", "input[0]"),
    ],
)
def test_refusal_names_code_and_field(fields: dict[str, object], code: str, param: str) -> None:
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
def test_turn_whose_history_is_elsewhere_is_unresolved(fields: dict[str, object]) -> None:
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
