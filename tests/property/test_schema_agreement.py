"""The API document and the server's decoders agree: what the one calls wrong the other refuses, and the other way round."""

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from landline.server.openapi import make_document
from landline.session.admission import admit
from landline.session.turn import Turn
from landline.wire.errors import ApiError
from landline.wire.items import check_tool, decode_item
from landline.wire.requests import CreateRequest, decode_create
from landline.wire.responses import new_response
from support.oracles.schema_values import Schemas, mutated

DOCUMENT = make_document()
SCHEMAS = Schemas(DOCUMENT["components"]["schemas"])


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"components": DOCUMENT["components"], **ref(name)})


ITEM, TOOL, CREATE, RESPONSE = map(validator, ("InputItem", "Tool", "CreateRequest", "Response"))


def values(name: str) -> st.SearchStrategy[Any]:
    """Values of a component, right and slightly wrong ones."""
    right = SCHEMAS.values(ref(name))
    return right | mutated(right)


def is_decoded(decode: Any, value: Any) -> bool:
    try:
        decode(json.dumps(value).encode())
    except msgspec.ValidationError:
        return False
    return True


@given(values("InputItem"))
@settings(max_examples=150)
def test_an_item_is_taken_exactly_if_its_schema_allows_it(item: Any) -> None:
    assert is_decoded(decode_item, item) is ITEM.is_valid(item)


@given(values("Tool"))
def test_a_tool_is_taken_exactly_if_its_schema_allows_it(tool: Any) -> None:
    assert is_decoded(check_tool, tool) is TOOL.is_valid(tool)


@given(values("CreateRequest"))
@settings(max_examples=100)
def test_what_the_schema_of_create_forbids_is_refused_and_nothing_breaks(body: Any) -> None:
    request = decode_create(json.dumps(body))
    turn = admit(request, response_id="resp_1", now=1.0) if isinstance(request, CreateRequest) else request
    if CREATE.is_valid(body):
        assert isinstance(request, CreateRequest)
    else:
        assert isinstance(turn, ApiError) or turn.request.model is None  # which the router refuses
    if isinstance(turn, Turn):
        response = new_response(turn.request, id="resp_1", created_at=1, model="m")
        RESPONSE.validate(json.loads(msgspec.json.encode(response)))
