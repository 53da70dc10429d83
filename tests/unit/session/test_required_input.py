"""What a response waits for, checked against the types of the openai package."""

import json
import typing
from typing import Any

import msgspec
from openai.types.responses.response_steer_required_input import ResponseSteerRequiredInput
from pydantic import TypeAdapter

from landline.session.required_input import required_input
from landline.wire.events import RequiredInput
from landline.wire.items import decode_item

CALLS: list[dict[str, Any]] = [
    {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "look", "arguments": "{}"},
    {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c2", "name": "exec", "input": "ls"},
    {"type": "computer_call", "id": "cu_1", "call_id": "c3", "status": "completed"},
    {"type": "shell_call", "id": "sh_1", "call_id": "c4"},
    {"type": "apply_patch_call", "id": "ap_1", "call_id": "c5"},
    {"type": "tool_search_call", "id": "ts_1", "call_id": "c6", "execution": "client"},
    {"type": "mcp_approval_request", "id": "mcpr_1", "name": "x", "arguments": "{}", "server_label": "s"},
]
_STUB: TypeAdapter[Any] = TypeAdapter(ResponseSteerRequiredInput)


def stubs_of(items: list[dict[str, Any]]) -> list[RequiredInput]:
    return required_input([decode_item(json.dumps(item).encode()) for item in items])


def test_every_kind_of_call_has_the_stub_that_clients_read() -> None:
    stubs = json.loads(msgspec.json.encode(stubs_of(CALLS)))
    assert stubs == [
        {"type": "function_call_output", "call_id": "c1", "name": "look"},
        {"type": "custom_tool_call_output", "call_id": "c2"},
        {"type": "computer_call_output", "call_id": "c3"},
        {"type": "shell_call_output", "call_id": "c4"},
        {"type": "apply_patch_call_output", "call_id": "c5"},
        {"type": "tool_search_output", "call_id": "c6", "execution": "client"},
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1"},
    ]
    for stub in stubs:
        _STUB.validate_python(stub, extra="forbid")
    union = typing.get_args(typing.get_args(ResponseSteerRequiredInput)[0])
    assert len(union) == len(CALLS)


def test_nothing_is_required_for_answered_async_and_hosted_calls() -> None:
    items = [
        {"type": "shell_call", "id": "sh_1", "call_id": "c1"},
        {"type": "shell_call_output", "call_id": "c1", "output": []},
        {"type": "function_call", "call_id": "c2", "name": "look", "arguments": "{}", "async": True},
        {"type": "tool_search_call", "id": "ts_1", "call_id": "c3", "execution": "server"},
        {"type": "web_search_call", "id": "ws_1"},
        {"type": "message", "role": "assistant", "content": "x"},
    ]
    assert stubs_of(items) == []
