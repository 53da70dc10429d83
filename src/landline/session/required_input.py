"""What a response waits for: stubs of the items that its client owes before the conversation can go on."""

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import UNSET

from landline.wire.events import RequiredInput
from landline.wire.items import Item


class _CallHead(msgspec.Struct):
    name: str | None = None
    execution: Literal["server", "client"] | None = None
    is_async: bool | None = msgspec.field(name="async", default=None)


_CALL_DECODER: msgspec.json.Decoder[_CallHead] = msgspec.json.Decoder(_CallHead)

_OUTPUT_TYPES = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "computer_call": "computer_call_output",
    "shell_call": "shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
    "tool_search_call": "tool_search_output",
}
"""Calls that the client carries out → what answers them (openai 3.54.0, `ResponseSteerRequiredInput`)."""


def required_input(output: Sequence[Item]) -> list[RequiredInput]:
    """The stubs for a response's output, in its order.

    Left out: calls that are answered in the output itself, and async calls, for which no model waits.
    """
    answered = {item.call_id for item in output if item.type in _OUTPUT_TYPES.values()}
    stubs = [_stub(item) for item in output if item.call_id is None or item.call_id not in answered]
    return [stub for stub in stubs if stub is not None]


def _stub(item: Item) -> RequiredInput | None:
    if item.type == "mcp_approval_request" and item.id is not None:
        return RequiredInput(type="mcp_approval_response", approval_request_id=item.id)
    output_type = _OUTPUT_TYPES.get(item.type)
    if output_type is None or item.call_id is None:
        return None
    head = _CALL_DECODER.decode(item.raw)
    if head.is_async or (item.type == "tool_search_call" and head.execution != "client"):
        return None
    return RequiredInput(
        type=output_type,
        call_id=item.call_id,
        name=head.name or "" if item.type == "function_call" else UNSET,
        execution="client" if item.type == "tool_search_call" else UNSET,
    )
