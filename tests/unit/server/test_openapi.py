"""The API document says what the server has: every route, every error, every field."""

import json
import re
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from starlette.routing import Route

from landline.app import build_app
from landline.config import Config
from landline.server.asgi import Methods
from landline.server.foreign_paths import GEMINI_VERBS
from landline.server.openapi import OPERATIONS, encoded_document, make_document
from landline.server.openapi.operation import RESERVED_ERRORS, ROUTING_ERRORS, SOCKET_ERRORS
from landline.server.openapi.schemas import (
    ANSWERS,
    EVENTS,
    FOREIGN_FIELDS,
    INPUT_ITEMS,
    INPUT_PARTS,
    OUTPUT_ITEMS,
    OUTPUT_PARTS,
    REQUESTS,
    TOOLS,
)
from landline.wire.errors import ERROR_RULES

WIRE_TYPES = (*ANSWERS, *EVENTS, *INPUT_ITEMS, *INPUT_PARTS, *OUTPUT_ITEMS, *OUTPUT_PARTS, *REQUESTS, *TOOLS)
DOCUMENT = make_document()
BESIDE_THE_API = re.compile(rf"/(metrics|monitor(/.*)?)?$|.*:({'|'.join(GEMINI_VERBS)})$")
"""What scrapers and people look at, described by docs/metrics.md and docs/monitor.md, and paths of another API."""
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({**DOCUMENT, "$ref": f"#/components/schemas/{name}"})


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    routed: set[tuple[str, str]] = set()
    for route in build_app(Config()).asgi.routes:
        if isinstance(route, Route):
            assert isinstance(route.app, Methods)
            path = re.sub(r":\w+}", "}", route.path)
            if not BESIDE_THE_API.match(path):
                routed |= {(method, path) for method in route.app.answers}
    described = [(each.method, path) for each in OPERATIONS for path in (each.path, *each.aliases)]
    assert len(described) == len(set(described))
    assert set(described) == routed


def test_every_error_is_an_answer_of_some_endpoint_or_said_to_be_none() -> None:
    answered = {code for each in OPERATIONS for code in each.errors} | {"server_error"}
    elsewhere = {*SOCKET_ERRORS, *ROUTING_ERRORS, *RESERVED_ERRORS}
    assert answered | elsewhere == set(ERROR_RULES)
    assert not answered & elsewhere


def test_every_field_of_foreign_json_is_described() -> None:
    foreign: set[tuple[str, str]] = set()
    for cls in msgspec.inspect.multi_type_info(WIRE_TYPES):
        foreign |= raw_fields(cls)
    foreign -= {("CreateRequest", "stream_id")}
    assert foreign <= set(FOREIGN_FIELDS)


def raw_fields(kind: msgspec.inspect.Type) -> set[tuple[str, str]]:
    """Every field of bytes in a type and those within it, as component and field."""
    if not isinstance(kind, msgspec.inspect.StructType):
        return set()
    found: set[tuple[str, str]] = set()
    for field in kind.fields:
        for inner in parts_of(field.type):
            if isinstance(inner, msgspec.inspect.RawType):
                found.add((kind.cls.__name__, field.encode_name))
            if inner is not kind:
                found |= raw_fields(inner)
    return found


def parts_of(kind: msgspec.inspect.Type) -> list[msgspec.inspect.Type]:
    match kind:
        case msgspec.inspect.UnionType(types):
            return [part for each in types for part in parts_of(each)]
        case msgspec.inspect.ListType(item_type=item):
            return parts_of(item)
        case msgspec.inspect.StructType(cls) if cls.__name__ == "ToolChoiceObject":
            return []  # its `tools` are of the same type
        case _:
            return [kind]


def test_every_reference_leads_to_a_component_and_every_component_is_used() -> None:
    used = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert used == set(SCHEMAS)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_schema_is_valid(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize(
    ("item", "is_valid"),
    [
        ({"role": "user", "content": "hi"}, True),
        ({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}, True),
        ({"type": "message", "role": "user"}, False),
        ({"type": "message", "role": "user", "content": [{"type": "input_text", "text": 1}]}, False),
        ({"type": "message", "role": "user", "content": [{"type": "smell", "strength": 1}]}, True),
        ({"type": "web_search_call", "whatever": 1}, True),
        ({"whatever": 1}, False),
        ({"type": "function_call_output", "output": "no call"}, False),
    ],
)
def test_items_are_known_kinds_or_others_but_no_broken_known_ones(item: dict[str, Any], is_valid: bool) -> None:
    assert validator("InputItem").is_valid(item) is is_valid


def test_what_is_always_sent_is_required() -> None:
    optional = set(SCHEMAS["Response"]["properties"]) - set(SCHEMAS["Response"]["required"])
    assert optional == {"conversation", "prompt_cache_retention", "prompt_cache_options"}


def test_the_document_is_made_once() -> None:
    assert encoded_document() is encoded_document()
    assert json.loads(encoded_document()) == DOCUMENT
