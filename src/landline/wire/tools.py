"""Tools that a request offers: the kinds that the line knows, and others, which are kept as they are."""

from typing import Annotated

import msgspec
from msgspec import Meta, Raw

Name = Annotated[str, Meta(min_length=1)]


class FunctionTool(msgspec.Struct, frozen=True, tag="function"):
    """A function of the client's."""

    name: Name
    description: str | None = None
    parameters: dict[str, Raw] | None = None
    """A JSON Schema of the arguments."""
    strict: bool | None = None


class ToolFormat(msgspec.Struct, frozen=True):
    """What a custom tool's input looks like: free text, or a grammar."""

    type: str = "text"
    syntax: str | None = None
    definition: str | None = None


class CustomTool(msgspec.Struct, frozen=True, tag="custom"):
    """A tool of the client's whose input is free text."""

    name: Name
    description: str | None = None
    format: ToolFormat | None = None


class NamespaceTool(msgspec.Struct, frozen=True, tag="namespace"):
    """Tools of the client's under one name."""

    name: Name
    description: str | None = None
    tools: list[Raw] | None = None


KnownTool = FunctionTool | CustomTool | NamespaceTool


class _ToolHead(msgspec.Struct):
    type: str


_HEAD_DECODER: msgspec.json.Decoder[_ToolHead] = msgspec.json.Decoder(_ToolHead)
_DECODER: msgspec.json.Decoder[KnownTool] = msgspec.json.Decoder(KnownTool)
_KNOWN = frozenset(("function", "custom", "namespace"))


def check_tool(raw: Raw | bytes) -> None:
    """Raises msgspec.ValidationError with the path of the wrong field; a tool of an unknown kind needs a `type` only."""
    if _HEAD_DECODER.decode(raw).type not in _KNOWN:
        return
    tool = _DECODER.decode(raw)
    if isinstance(tool, NamespaceTool):
        for index, each in enumerate(tool.tools or ()):
            try:
                check_tool(each)
            except msgspec.ValidationError as error:
                raise nested_error(error, f"tools[{index}]") from None


def nested_error(error: msgspec.ValidationError, place: str) -> msgspec.ValidationError:
    """The same error of a value that was decoded on its own, with its path from the whole's root."""
    text, _, path = str(error).partition(" - at `")
    inner = path.rstrip("`").removeprefix("$")
    return msgspec.ValidationError(f"{text} - at `$.{place}{inner}`")
