"""Schemas in the subset that Anthropic enforces."""

import json
from typing import Any

import jsonschema
import pytest
from anthropic import transform_schema
from hypothesis import assume, given
from hypothesis import strategies as st

from landline.dialects.anthropic.schemas import OPTIONAL_MAX, UNIONS_MAX, enforceable_schema
from support.oracles.schema_values import Schemas
from support.strict.anthropic import check_schema

TEXT = {"type": "string"}


def made(schema: Any) -> Any:
    form = enforceable_schema(json.dumps(schema).encode())
    return None if form is None else json.loads(form.schema)


def closed(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


@pytest.mark.parametrize(
    "schema",
    [
        closed("a", a=TEXT),
        closed("a", a={"type": ["string", "null"], "description": "Maybe."}),
        closed("a", a={"type": "array", "items": {"type": "integer"}, "minItems": 1}),
        closed("a", a={"anyOf": [{"type": "null"}, closed("b", b={"enum": ["x", 1, None]})]}),
        closed("a", a={"type": "string", "format": "date-time"}, b={"const": "fixed"}),
        closed("a", a={"type": "string", "pattern": "^[a-z]+-[0-9]{2,4}$"}),
        {"$defs": {"P": closed("n", n=TEXT)}, **closed("p", p={"$ref": "#/$defs/P"})},
    ],
)
def test_a_schema_within_the_subset_stays_as_it_is(schema: dict[str, Any]) -> None:
    assert made(schema) == schema
    form = enforceable_schema(json.dumps(schema).encode())
    assert form is not None
    assert not form.is_told


@pytest.mark.parametrize(
    ("given_schema", "wanted"),
    [
        ({"type": "integer", "minimum": 1}, {"type": "integer", "description": "Limits: minimum 1."}),
        ({"type": "string", "minLength": 2, "title": "T"}, {"type": "string", "title": "T", "description": "Limits: minLength 2."}),
        ({"type": "string", "format": "int32"}, {"type": "string", "description": 'Limits: format "int32".'}),
        ({"type": "string", "pattern": "(?=x)y"}, {"type": "string", "description": 'Limits: pattern "(?=x)y".'}),
        (
            {"type": "array", "items": TEXT, "minItems": 3, "maxItems": 9, "uniqueItems": True},
            {"type": "array", "items": TEXT, "minItems": 1, "description": "Limits: minItems 3, maxItems 9, uniqueItems true."},
        ),
        ({"type": "string", "enum": ["a", "b"]}, {"enum": ["a", "b"]}),
        ({"oneOf": [TEXT, {"type": "null"}]}, {"anyOf": [TEXT, {"type": "null"}]}),
        ({"allOf": [TEXT], "description": "Only one."}, {"type": "string", "description": "Only one."}),
        ({"type": "object", "properties": {"a": TEXT}}, closed(a=TEXT)),
    ],
)  # fmt: skip
def test_what_is_not_enforced_is_told(given_schema: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert made(given_schema) == wanted


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"type": "object"},
        {"type": "object", "additionalProperties": TEXT},
        {"type": "object", "properties": {"a": TEXT}, "additionalProperties": True},
        {"type": "array"},
        {"type": "array", "prefixItems": [TEXT], "items": TEXT},
        {"type": "object", "properties": {"a": TEXT}, "patternProperties": {"^x": TEXT}},
        {"enum": [{"a": 1}]},
        {"type": "tuple"},
        {"$ref": "https://example.org/schema"},
        {"$ref": "#"},
        {"$defs": {"T": closed(next={"$ref": "#/$defs/T"})}, "$ref": "#/$defs/T"},
        {"$defs": {"A": closed(b={"$ref": "#/$defs/B"}), "B": closed(a={"$ref": "#/$defs/A"})}, "$ref": "#/$defs/A"},
        {"allOf": [closed(a=TEXT), closed(b=TEXT)]},
        {"type": "object", "properties": {"a": TEXT}, "anyOf": [{"required": ["a"]}]},
        {"type": "object", "properties": {"a": TEXT}, "required": "a"},
        closed(**{f"p{number}": TEXT for number in range(OPTIONAL_MAX + 1)}),
        closed(*map(str, range(UNIONS_MAX + 1)), **{str(each): {"type": ["null", "string"]} for each in range(UNIONS_MAX + 1)}),
    ],
)  # fmt: skip
def test_what_cannot_be_enforced_is_not(schema: Any) -> None:
    assert made(schema) is None


def test_a_schema_without_end_is_not_enforced() -> None:
    assert enforceable_schema(b'{"type":"array","items":' * 5_000 + b'{"type":"null"}' + b"}" * 5_000) is None
    assert enforceable_schema(b'{"type":"array","items":' * 80 + b'{"type":"null"}' + b"}" * 80) is None
    assert enforceable_schema(b"not JSON") is None


_LEAVES = st.one_of(
    st.builds(lambda low, high: {"type": "integer", "minimum": low, "maximum": low + high}, st.integers(-9, 9), st.integers(0, 9)),
    st.builds(lambda most: {"type": "string", "maxLength": most}, st.integers(0, 9)),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": "number", "minimum": 0}, {"enum": ["a", 2]}, {"const": 1}]),
)  # fmt: skip


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    return st.builds(lambda named: closed(*list(named)[:2], **named), properties)


SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: (
        _objects(inner)
        | st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least, "maxItems": 9}, inner, st.integers(0, 1))
        | st.builds(lambda *each: {"anyOf": list(each)}, inner, inner)
    ),
    max_leaves=6,
)  # fmt: skip


@given(SCHEMAS, st.data())
def test_the_api_takes_whatever_comes_out_and_it_lets_every_fitting_value_through(
    schema: dict[str, Any], data: st.DataObject
) -> None:
    enforceable = made(schema)
    assert enforceable is not None
    check_schema(enforceable)
    value = data.draw(Schemas({}).values(schema))
    assume(jsonschema.Draft202012Validator(schema).is_valid(value))
    jsonschema.validate(value, enforceable)
    assert made(enforceable) == enforceable  # rewritten once, it stays


@given(SCHEMAS)
def test_anthropics_own_client_finds_nothing_to_rewrite(schema: dict[str, Any]) -> None:
    enforceable = made(schema)
    assert transform_schema(enforceable) == enforceable
