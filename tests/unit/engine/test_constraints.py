"""Schemas that the embedded model cannot be held to are found, and bounds that it cannot count to are narrowed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects.tools import UpstreamTool
from landline.engine.constraints import answer_members, call_grammar, call_schema, capped, object_grammar, schema_fault
from landline.wire.requests import CreateRequest, TextSettings, decode_create


def tool(name: str, parameters: dict[str, Any]) -> UpstreamTool:
    return UpstreamTool("function", None, name, name, json.dumps(parameters).encode(), b"{}")


def text_settings(**answer_format: Any) -> TextSettings | None:
    request = decode_create(json.dumps({"text": {"format": answer_format}}))
    assert isinstance(request, CreateRequest)
    return request.text


LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": ["string", "null"]},
        {"type": "string", "enum": ["a", "b"]},
        {"type": "string", "maxLength": 7},
        {"type": "integer"},
        {"type": "boolean"},
        {"const": 1},
        {},
    ]
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(lambda each: {"anyOf": each}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(
            lambda each: {"type": "object", "properties": each},
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        ),
        st.builds(lambda each: {"type": "object", "additionalProperties": each}, inner),
    ),
    max_leaves=8,
)


def unlimited(schema: object) -> list[object]:
    """Every subschema that allows values without end."""
    if not isinstance(schema, dict):
        return [each for value in schema for each in unlimited(value)] if isinstance(schema, list) else []
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    endless = ("string" in kinds and not schema.keys() & {"maxLength", "enum"}) or (
        "array" in kinds and "maxItems" not in schema
    )
    endless = endless or ("object" in kinds and schema.get("additionalProperties", True) is True)
    found: list[object] = [schema] if endless else []
    for key, value in schema.items():
        inner = list(value.values()) if key == "properties" else value
        found += unlimited(inner)
    return found


@given(schema=SCHEMAS, string_chars=st.integers(64, 10_000))
def test_a_capped_schema_has_no_value_without_end(schema: dict[str, Any], string_chars: int) -> None:
    assert unlimited(capped(schema, string_chars)) == []


@given(schema=SCHEMAS)
def test_capping_twice_changes_nothing_and_the_author_is_respected(schema: dict[str, Any]) -> None:
    before = json.dumps(schema)
    once = capped(schema, 100)
    assert json.dumps(schema) == before
    assert capped(once, 100) == once


@pytest.mark.parametrize(
    "limited",
    [
        {"type": "string", "maxLength": 5000},
        {"type": "string", "pattern": "^a$"},
        {"type": "string", "format": "date"},
        {"type": "integer", "minimum": 1, "maximum": 3},
        {"type": "object", "properties": {"a": {"const": 1}}, "additionalProperties": False},
    ],
)
def test_limits_of_the_author_stay(limited: dict[str, Any]) -> None:
    assert capped(limited, 100) == limited


def test_strings_in_a_list_share_the_room() -> None:
    made = capped({"type": "array", "items": {"type": "string"}}, 3200)
    assert (made["maxItems"], made["items"]["maxLength"]) == (50, 64)
    least = capped({"type": "array", "items": {"type": "string"}, "minItems": 60}, 3200)
    assert least["maxItems"] == 60


def test_definitions_are_capped_too() -> None:
    schema = {"$ref": "#/$defs/name", "$defs": {"name": {"type": "string"}}}
    assert capped(schema, 100)["$defs"] == {"name": {"type": "string", "maxLength": 100}}


def test_a_grammar_has_one_frame_a_tool() -> None:
    grammar = call_grammar([tool("look", {"type": "object"}), tool("say", {"type": "object"})], 100)
    lines = grammar.splitlines()
    assert lines[:2] == ["%llguidance {}", "start: call_0 | call_1"]
    assert lines[2] == 'call_0: "{\\"name\\": \\"look\\", \\"arguments\\": " arguments_0 "}"'
    assert json.loads(lines[3].removeprefix("arguments_0: %json "))["x-guidance"]["whitespace_flexible"] is False
    assert lines[4].startswith('call_1: "{\\"name\\": \\"say\\"')


def test_a_function_without_parameters_takes_an_object() -> None:
    assert call_schema([tool("look", {})], 100)["properties"]["arguments"]["type"] == "object"


def test_a_schema_of_calls_has_one_branch_a_tool() -> None:
    tools = [tool("look", {"type": "object", "properties": {}}), tool("say", {"type": "object", "properties": {}})]
    names = [branch["properties"]["name"] for branch in call_schema(tools, 100)["anyOf"]]
    assert names == [{"const": "look"}, {"const": "say"}]


def test_plain_text_is_not_constrained() -> None:
    assert answer_members(None, 100, may_use_grammar=True) == {}
    assert answer_members(text_settings(type="text"), 100, may_use_grammar=True) == {}


def test_a_json_schema_answer_is_held_by_its_capped_schema() -> None:
    made: Any = answer_members(
        text_settings(type="json_schema", name="x", schema={"type": "string"}), 100, may_use_grammar=True
    )
    assert made["response_format"]["json_schema"] == {
        "name": "x",
        "schema": {"type": "string", "maxLength": 100},
        "strict": True,
    }


def test_a_json_object_answer_is_held_by_a_grammar_unless_tools_forbid_it() -> None:
    wanted = text_settings(type="json_object")
    assert answer_members(wanted, 100, may_use_grammar=True) == {"grammar": object_grammar(100)}
    assert answer_members(wanted, 100, may_use_grammar=False) == {}


HUGE = 10**19
VAST = 10**400


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("minimum", HUGE),
        ("exclusiveMinimum", 2**63),
        ("maximum", -HUGE),
        ("multipleOf", HUGE),
        ("minLength", 2**31),
        ("minItems", HUGE),
        ("minProperties", HUGE),
        ("enum", [1, -HUGE]),
        ("const", {"deep": [HUGE]}),
        ("maximum", VAST),
        ("default", VAST),
        ("maxLength", VAST),
    ],
)
def test_a_number_that_no_answer_could_be_held_to_is_named(keyword: str, value: object) -> None:
    fault = schema_fault(json.dumps({"type": "object", "properties": {"a": {"anyOf": [{keyword: value}]}}}).encode())
    assert fault is not None
    assert f"`{keyword}`" in fault
    assert len(fault) < 200


@pytest.mark.parametrize(
    "schema",
    [
        {"maximum": HUGE, "minimum": -HUGE, "maxLength": HUGE, "maxItems": HUGE},
        {"enum": [2**63 - 1, -(2**63) + 1, 1.5e30, str(VAST)], "default": HUGE},
        {"type": "number", "maximum": 1e300, "multipleOf": 0.01},
        {"properties": {"maximum": {"type": "integer", "description": "at most 99999999999999999999"}}},
    ],
)
def test_what_can_be_enforced_or_narrowed_is_no_fault(schema: object) -> None:
    assert schema_fault(json.dumps(schema).encode()) is None


def test_bounds_beyond_the_models_integers_are_narrowed() -> None:
    schema: dict[str, Any] = {"type": "integer", "minimum": -HUGE, "exclusiveMaximum": HUGE}
    assert capped(schema, 100) == {"type": "integer", "minimum": -(2**63) + 1, "exclusiveMaximum": 2**63 - 1}
    assert capped({"type": "integer", "maximum": 1e300}, 100)["maximum"] == 2**63 - 1
    assert capped({"type": "number", "maximum": 1e300}, 100) == {"type": "number", "maximum": 1e300}


def test_lengths_beyond_any_answer_get_the_usual_limit() -> None:
    assert capped({"type": "string", "maxLength": HUGE}, 100) == {"type": "string", "maxLength": 100}
    assert capped({"type": "array", "maxItems": HUGE, "items": {"type": "boolean"}}, 100)["maxItems"] == 16
