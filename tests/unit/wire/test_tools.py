"""Tools: known kinds are checked whole, others only for their type."""

import json
import re
from typing import Any

import msgspec
import pytest

from landline.wire.tools import check_tool


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "name": "f"},
        {"type": "function", "name": "f", "description": None, "parameters": None, "strict": None, "defer_loading": 1},
        {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True},
        {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}, {"type": "other"}]},
        {"type": "namespace", "name": "n"},
        {"type": "web_search", "filters": 7},
    ],
)
def test_what_clients_send_is_accepted(tool: dict[str, Any]) -> None:
    check_tool(json.dumps(tool).encode())


@pytest.mark.parametrize(
    ("tool", "path"),
    [
        ({"name": "f"}, "`type`"),
        ({"type": "function"}, "`name`"),
        ({"type": "function", "name": ""}, "$.name"),
        ({"type": "function", "name": "f", "description": 5}, "$.description"),
        ({"type": "function", "name": "f", "parameters": []}, "$.parameters"),
        ({"type": "function", "name": "f", "strict": "yes"}, "$.strict"),
        ({"type": "custom", "name": "c", "format": {"type": 1}}, "$.format.type"),
        ({"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}, {"name": 1}]}, "$.tools[1]"),
        ({"type": "namespace", "name": "n", "tools": [{"type": "custom", "name": 1}]}, "$.tools[0].name"),
    ],
)
def test_a_broken_tool_is_refused_with_its_path(tool: dict[str, Any], path: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=re.escape(path)):
        check_tool(json.dumps(tool).encode())
