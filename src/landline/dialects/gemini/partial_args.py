"""Arguments of a call that come value by value, each under the path of its place, put together to one object.

Only the Enterprise Agent Platform sends them, and only where `streamFunctionCallArguments` is asked for, which Landline does
not do; a gateway may.
"""

import re
from typing import Any, cast

import msgspec

from landline.dialects.gemini.chunks import PartialArg

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[(?:'([^']*)'|\"([^\"]*)\")\]")
"""One step of a JSONPath (RFC 9535) to a single value: a member in either spelling, or an index."""


class ArgumentsBuilder:
    """One call's arguments in the making."""

    def __init__(self) -> None:
        self._arguments: dict[str | int, Any] = {}

    def add(self, piece: PartialArg) -> None:
        """More of one value: pieces of a string are joined, any other value is whole."""
        path = [_step(found) for found in _STEP.finditer(piece.json_path)]
        if not path:
            return
        holder = self._arguments
        for step in path[:-1]:
            holder = holder.setdefault(step, {})
        before = holder.get(path[-1])
        value = _value_of(piece)
        holder[path[-1]] = before + value if isinstance(before, str) and isinstance(value, str) else value

    def encode(self) -> str:
        """The object as JSON text."""
        return msgspec.json.encode(_plain(self._arguments) or {}).decode()


def _step(found: re.Match[str]) -> str | int:
    member, index, quoted, double_quoted = found.groups()
    return int(index) if index is not None else member or quoted or double_quoted or ""


def _value_of(piece: PartialArg) -> str | float | bool | None:
    if piece.string_value is not None:
        return piece.string_value
    return piece.bool_value if piece.bool_value is not None else piece.number_value


def _plain(value: Any) -> Any:
    """Objects and arrays out of the holders, which are objects whose keys are numbers where an array is meant."""
    if not isinstance(value, dict):
        return value
    holder = cast("dict[str | int, Any]", value)
    if holder and all(isinstance(key, int) for key in holder):
        return [_plain(holder[key]) for key in sorted(holder, key=int)]
    return {str(key): _plain(each) for key, each in holder.items()}
