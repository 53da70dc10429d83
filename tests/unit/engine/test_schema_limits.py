"""Schemas that the embedded model cannot be held to are found, and bounds that it cannot count to are narrowed."""

import json
from typing import Any

import pytest

from landline.engine.constraints import capped
from landline.engine.schema_limits import schema_fault

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
