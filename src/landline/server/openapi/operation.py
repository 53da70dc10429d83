"""What the table of endpoints says of each, and the errors that several of them share."""

import msgspec

from landline.server.openapi.schemas import Schema


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the path or of the query."""

    name: str
    place: str
    """`path` or `query`."""
    text: str
    schema: Schema


class OperationLink(msgspec.Struct, frozen=True):
    """A part of an answer that another endpoint takes."""

    operation: str
    """The other's `id`."""
    parameters: dict[str, str] = {}
    """Its parameters, as OpenAPI runtime expressions."""
    body: dict[str, str] | None = None
    """Members of its body, likewise."""


class DescribedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer that is not an error of the table."""

    status: int
    text: str
    json: str | None = None
    """The component that the JSON body is."""
    is_stream: bool = False
    """Whether it may come as server-sent events instead."""
    links: tuple[OperationLink, ...] = ()


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path."""

    method: str
    path: str
    """As OpenAPI spells it, with `{name}` for a part."""
    id: str
    """The `operationId`: a verb and what it is done to."""
    text: str
    answers: tuple[DescribedAnswer, ...] = ()
    errors: tuple[str, ...] = ()
    """Codes of the error table; `server_error` is understood."""
    body: str | None = None
    """The component that it takes as JSON."""
    is_body_optional: bool = False
    parameters: tuple[Parameter, ...] = ()
    aliases: tuple[str, ...] = ()
    """Other paths that lead to the same."""


BODY_ERRORS = ("invalid_json", "invalid_value", "payload_too_large", "request_timeout", "unsupported_media_type")
"""What may be wrong with any body."""

ITEM_ERRORS = ("tool_call_not_found", "not_found")
"""What may be wrong with items that are kept or sent to a model."""

INPUT_ERRORS = (
    *ITEM_ERRORS,
    "missing_required_parameter",
    "unsupported_parameter",
    "unsupported_content",
    "previous_response_not_found",
    "store_unavailable",
    "invalid_encrypted_content",
    "conversation_locked",
)
"""What may be wrong with what a turn is given."""

MODEL_ERRORS = (
    "context_length_exceeded",
    "invalid_prompt",
    "model_not_found",
    "insufficient_quota",
    "rate_limit_exceeded",
    "server_is_overloaded",
    "upstream_unavailable",
    "upstream_error",
    "upstream_auth_error",
    "model_error",
)
"""What the model and the way to it may answer."""

SOCKET_ERRORS = (
    "invalid_event_type",
    "invalid_stream_id",
    "websocket_stream_limit_reached",
    "websocket_connection_limit_reached",
)
"""Error frames that no HTTP request meets."""

ROUTING_ERRORS = ("method_not_allowed", "host_not_allowed", "origin_not_allowed", "server_shutting_down")
"""Answers to requests that reach no endpoint, and to those that a shutdown cuts, whichever they reached."""

RESERVED_ERRORS = ("invalid_api_key", "permission_denied")
"""Errors of keys, which this version has none of."""


def part(name: str, text: str) -> Parameter:
    """A part of the path."""
    return Parameter(name=name, place="path", text=text, schema={"type": "string", "minLength": 1})


def query(name: str, text: str, **schema: object) -> Parameter:
    """A parameter of the query; all may be left out."""
    return Parameter(name=name, place="query", text=text, schema=dict(schema))


PAGE = (
    query("limit", "How many at most.", type="integer", minimum=1, maximum=100, default=20),
    query("order", "Oldest or newest first.", enum=["asc", "desc"], default="desc"),
    query(
        "after", "The id of the item that the page starts behind; an unknown one gives an empty page.", type="string"
    ),
)
"""The parameters of every list of items. `include` and unknown ones are accepted and change nothing."""
