"""Items that other vendors' APIs have no word for: built-in tools that the client runs, and kinds that are not known here.

A built-in tool's call and its output are a call like any other, under the item's own kind as its name, so that the model
sees what was done. An unknown item is told as its JSON. Only what hosted tools of other targets did is passed over:
the model's own answer already says what came of it.
"""

import msgspec

from landline.wire.canonical import foreign_members
from landline.wire.items import InputImage, OpaqueItem

HOSTED_ITEMS = frozenset(
    (
        "code_interpreter_call",
        "configuration_update",
        "file_search_call",
        "image_generation_call",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "program",
        "program_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    )
)
"""Item types of tools that another server ran, and settings in the shape of items (Responses reference, 2026-11)."""

_FRAME_MEMBERS = ("type", "call_id", "status")


def call_of(item: OpaqueItem) -> tuple[str, str, str] | None:
    """Call id, name and arguments (JSON) of a built-in tool's call; None if the item is none."""
    members = foreign_members(item.raw)
    call_id = members.get("call_id")
    if not isinstance(call_id, str) or not item.type.endswith("_call"):
        return None
    arguments = {name: value for name, value in members.items() if name not in _FRAME_MEMBERS}
    return call_id, item.type.removesuffix("_call"), msgspec.json.encode(arguments).decode()


def output_of(item: OpaqueItem) -> tuple[str, str | InputImage] | None:
    """Call id and output of a built-in tool: its text, a screenshot's image, or the JSON of any other."""
    members = foreign_members(item.raw)
    call_id = members.get("call_id")
    if not isinstance(call_id, str) or not item.type.endswith("_output"):
        return None
    match members.get("output"):
        case str() as text:
            return call_id, text
        case {"type": "computer_screenshot", "image_url": str() as url}:
            return call_id, InputImage(url)
        case output:
            return call_id, msgspec.json.encode(output).decode()


def telling_of(item: OpaqueItem) -> str:
    """An unknown item in words."""
    return f"Item of type {item.type!r}: {msgspec.json.encode(foreign_members(item.raw)).decode()}"
