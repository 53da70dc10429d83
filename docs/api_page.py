"""Makes api.md: every endpoint, field, item, tool, event and limit, from the tables that the server itself is made of."""

from collections.abc import Iterable
from typing import Any

from landline.server.conversations import MAX_ITEMS
from landline.server.endpoint import MAX_PAGE
from landline.server.openapi import OPERATIONS, Operation, make_document
from landline.session.admission import MAX_METADATA_PAIRS
from landline.session.steering import MAX_PENDING_STEERS
from landline.stores.store import Page
from landline.wire.errors import ERROR_RULES
from landline.wire.reference import (
    CLIENT_EVENTS,
    CREATE_FIELDS,
    ITEM_TYPES,
    SERVER_EVENTS,
    TOOL_KINDS,
    FieldRow,
    ItemRow,
    KindRow,
)


def api_page(limits: str) -> str:
    """The page; `limits` is the table of the configurable ones."""
    components: dict[str, Any] = make_document()["components"]["schemas"]
    frame = components["ResponseCreateFrame"]["allOf"][1]["properties"]
    fields = components["CreateRequest"]["properties"] | {"stream_id": frame["stream_id"]}
    return "\n".join(
        [
            INTRODUCTION,
            table(("endpoint", "what it does", "errors"), map(operation_row, OPERATIONS)),
            CREATE,
            table(
                ("field", "takes", "", "what Landline does with it"),
                (field_row(row, fields[row.name]) for row in CREATE_FIELDS),
            ),
            ITEMS,
            table(("item", "in", "out", "what Landline does with it"), map(item_row, ITEM_TYPES)),
            TOOLS,
            table(("tool", "what Landline does with it"), map(row_cells, TOOL_KINDS)),
            EVENTS,
            table(("event", "says"), map(row_cells, SERVER_EVENTS)),
            SOCKET,
            table(("frame", "does"), map(row_cells, CLIENT_EVENTS)),
            LIMITS,
            table(("limit", "value"), FIXED_LIMITS),
            CONFIGURED_LIMITS,
            limits,
        ]
    )


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (f"| {' | '.join(cell(each) for each in row)} |" for row in (head, ("---",) * len(head), *rows))
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """The text on one line of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def operation_row(operation: Operation) -> tuple[str, ...]:
    codes = sorted(operation.errors, key=lambda code: (ERROR_RULES[code].status, code))
    errors = ", ".join(f"{ERROR_RULES[code].status} `{code}`" for code in codes)
    return f"`{operation.method} {operation.path}`", operation.text, errors or "-"


def field_row(row: FieldRow, schema: dict[str, Any]) -> tuple[str, ...]:
    return f"`{row.name}`", takes(schema), row.treatment, row.text


def item_row(row: ItemRow) -> tuple[str, ...]:
    return f"`{row.type}`", yes(row.is_input), yes(row.is_output), row.text


def row_cells(row: KindRow) -> tuple[str, ...]:
    return f"`{row.type}`", row.text


def yes(is_so: bool) -> str:
    return "yes" if is_so else "-"


def takes(schema: dict[str, Any]) -> str:
    """A JSON Schema in a few words; that null is taken everywhere is said once, above."""
    if "$ref" in schema:
        return f"`{schema['$ref'].rsplit('/', 1)[1]}`"
    if "anyOf" in schema:
        others = [each for each in schema["anyOf"] if each != {"type": "null"}]
        return " or ".join(map(takes, others))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    match schema.get("type"):
        case "null":
            return "null only"
        case "array":
            return f"list of {takes(schema['items'])}"
        case "object":
            return "object"
        case str(kind):
            return KINDS[kind] + bounds(schema)
        case _:
            return "anything"


KINDS = {"string": "string", "integer": "whole number", "number": "number", "boolean": "true or false"}


def bounds(schema: dict[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if "maxLength" in schema:
        return f" of at most {schema['maxLength']} characters"
    if most is not None:
        return f" from {least:g} to {most:g}"
    return f", {least:g} or more" if least is not None else ""


FIXED_LIMITS = (
    ("pairs of `metadata`", str(MAX_METADATA_PAIRS)),
    ("characters of a key and a value of `metadata`", "64 and 512"),
    ("items added to a conversation by one request", str(MAX_ITEMS)),
    ("items of one page of a list", f"1 to {MAX_PAGE}, {Page().limit} unless asked otherwise"),
    ("steers that wait for one response", str(MAX_PENDING_STEERS)),
    ("characters of a `stream_id`", "1 to 256"),
)

INTRODUCTION = """# The API

What Landline accepts and returns, and how it treats each part. `GET /openapi.json` is the same for programs. How the parts work
together is described in [continuing a conversation](state.md), [background responses](background.md),
[compaction](compaction.md) and [steering](steering.md).

Base URL: `http://HOST:PORT/v1`; every path also works without `/v1`. `HEAD` is answered like `GET`; another method is a 405,
another path a 404. Every answer has an `x-request-id`. Errors are explained in [errors.md](errors.md); each endpoint can also
return 500 `server_error`.

## Endpoints
"""

CREATE = """## The create body

The body of `POST /v1/responses` and, at the top level, of a `response.create` frame. Null means the same as absence. Fields
that are not in this table are ignored; a wrong type is a 400 that names the field.

- **honoured**: does what the API says
- **echoed**: appears in the response and has no effect of its own
- **ignored**: accepted, no effect
- **refused**: 400 `unsupported_parameter`, because ignoring it would change the request
"""

ITEMS = """## Items

The elements of `input`, of conversations and of a response's `output`. Items of other types are kept unchanged and returned as
they are; how they are sent to a model depends on its target (see [chat_completions.md](chat_completions.md)). These parts of a
message are validated: `input_text`, `input_image`, `input_file`, `output_text`, `refusal`, `summary_text`,
`reasoning_text` and `text`; others are kept.
"""

TOOLS = """## Tools

Hosted and built-in tools (`web_search`, `mcp`, `shell` …) are accepted and echoed, but not offered to the model.
"""

EVENTS = """## Events

The same JSON over server-sent events and the socket. `sequence_number` counts from 0 in each response; on a socket an event of a
named lane carries its `stream_id`. A stream over HTTP ends in `data: [DONE]`.
"""

SOCKET = """## WebSocket mode

An upgrade of `GET /v1/responses`. One JSON object a text frame:
"""

LIMITS = """## Limits
"""

CONFIGURED_LIMITS = """These can be set (`[limits]` in [configuration.md](configuration.md)):
"""
