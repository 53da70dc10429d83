"""Create bodies: lenient about what clients add, exact about types and limits."""

import json

import pytest

from landline.wire.errors import ApiError
from landline.wire.requests import CreateRequest, decode_create, decode_input


def body(**fields: object) -> bytes:
    return json.dumps({"type": "response.create", "model": "m", "input": "hi"} | fields).encode()


def accepted(**fields: object) -> CreateRequest:
    request = decode_create(body(**fields))
    assert isinstance(request, CreateRequest), request
    return request


@pytest.mark.parametrize(
    "fields",
    [
        {"client_metadata": {"x": 1}, "stream": True, "include": [], "future_field": [1, {"a": None}]},
        {"tools": None, "metadata": None, "reasoning": None, "text": None, "instructions": None, "store": None},
        {"reasoning": {"effort": "medium", "context": "all_turns"}, "text": {"verbosity": "low"}},
        {"tool_choice": {"type": "function", "name": "f"}},
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}},
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}}},
    ],
)
def test_what_clients_send_is_accepted(fields: dict[str, object]) -> None:
    accepted(**fields)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 3}, "model"),
        ({"temperature": 2.5}, "temperature"),
        ({"max_output_tokens": 15}, "max_output_tokens"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"metadata": {"k": "v" * 513}}, "metadata[...]"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
        ({"reasoning": {"effort": "extreme"}}, "reasoning.effort"),
    ],
)
def test_wrong_field_is_named(fields: dict[str, object], param: str) -> None:
    error = decode_create(body(**fields))
    assert isinstance(error, ApiError)
    assert (error.code, error.status, error.param) == ("invalid_value", 400, param)


def test_least_output_tokens_are_the_apis_or_what_a_server_says() -> None:
    few = body(max_output_tokens=15)
    error = decode_create(few)
    assert isinstance(error, ApiError)
    assert error.message == "Expected `int` >= 16 at `max_output_tokens`."
    allowed = decode_create(few, min_output_tokens=15)
    assert isinstance(allowed, CreateRequest)
    assert allowed.max_output_tokens == 15
    stricter = decode_create(body(max_output_tokens=16), min_output_tokens=17)
    assert isinstance(stricter, ApiError)
    assert ">= 17" in stricter.message


@pytest.mark.parametrize("wrong", [0, -1])
def test_no_server_can_allow_an_answer_without_tokens(wrong: int) -> None:
    error = decode_create(body(max_output_tokens=wrong), min_output_tokens=1)
    assert isinstance(error, ApiError)
    assert (error.code, error.param) == ("invalid_value", "max_output_tokens")


@pytest.mark.parametrize("data", [b"", b"{", b"nope", b"\xff\xfe", b'{"model":"m"'])
def test_broken_json_is_invalid_json(data: bytes) -> None:
    error = decode_create(data)
    assert isinstance(error, ApiError)
    assert error.code == "invalid_json"


def test_string_input_is_one_user_message() -> None:
    items = decode_input(accepted(input='say "hi"\n\u00e9').input)
    assert not isinstance(items, ApiError)
    assert json.loads(items[0].raw)["content"] == [{"type": "input_text", "text": 'say "hi"\n\u00e9'}]
    assert items[0].role == "user"


def test_wrong_item_is_named_by_its_place() -> None:
    error = decode_input(
        accepted(input=[{"role": "user", "content": "a"}, {"type": "function_call", "name": "f"}]).input
    )
    assert isinstance(error, ApiError)
    assert error.param == "input[1]"
    assert "call_id" in error.message


@pytest.mark.parametrize(
    ("fields", "count"), [({"input": None}, 0), ({"input": []}, 0), ({"input": [{"role": "user", "content": ""}]}, 1)]
)
def test_absent_and_empty_input_have_no_items(fields: dict[str, object], count: int) -> None:
    items = decode_input(accepted(**fields).input)
    assert not isinstance(items, ApiError)
    assert len(items) == count


def test_input_of_another_type_is_refused() -> None:
    error = decode_input(accepted(input=7).input)
    assert isinstance(error, ApiError)
    assert error.param == "input"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"generate": False}, True),
        ({"generate": True}, False),
        ({"prompt_cache_options": {"prewarm": True}}, True),
    ],
)
def test_warm_up_has_two_spellings(fields: dict[str, object], expected: bool) -> None:
    assert accepted(**fields).is_warm_up is expected
