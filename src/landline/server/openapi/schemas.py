"""JSON Schemas of everything on the wire, made from the wire types.

Where the wire types keep a field as bytes, or an object has no type of its own, its schema is written here. Unions of
items, parts and tools are open, because the server takes kinds that it does not know: each is the known kinds, or an
object whose `type` is none of theirs.
"""

from collections.abc import Iterable, Sequence
from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.server.edge import ModelInfo
from landline.wire import items, responses
from landline.wire.errors import ERROR_RULES
from landline.wire.events import AuthoredEvent
from landline.wire.reference import CREATE_FIELDS, SERVER_EVENTS
from landline.wire.requests import CHAT_MEMBERS, MIN_OUTPUT_TOKENS, STREAM_ID_PATTERN, CreateRequest
from landline.wire.resources import CompactedWindow, InputTokens, ItemList
from landline.wire.responses import Response

Schema = dict[str, Any]


def reference(name: str) -> Schema:
    """A reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def nullable(*schemas: Schema) -> Schema:
    return {"anyOf": [*schemas, {"type": "null"}]}


_STRING: Schema = {"type": "string"}
NULLABLE_STRING = nullable(_STRING)
_NAME: Schema = {"type": "string", "minLength": 1}
_PARTS = array(reference("ContentPart"))
_CONTENT: Schema = {"anyOf": [_STRING, _PARTS]}
_TOOLS = array(reference("Tool"))
_NEW_ITEMS: Schema = {"type": "array", "items": reference("InputItem"), "maxItems": 20}
_METADATA: Schema = {
    "type": "object",
    "additionalProperties": {"type": "string", "maxLength": 512},
    "propertyNames": {"maxLength": 64},
    "maxProperties": 16,
}
_REFUSED: Schema = {"type": "null"}

FOREIGN_FIELDS: dict[tuple[str, str], Schema] = {
    ("CreateRequest", "input"): nullable(_STRING, array(reference("InputItem"))),
    ("CreateRequest", "conversation"): nullable(_STRING, reference("ConversationId")),
    ("CreateRequest", "tools"): nullable(_TOOLS),
    ("CreateRequest", "model"): _STRING,
    ("CreateRequest", "metadata"): nullable(_METADATA),
    ("CreateRequest", "max_output_tokens"): nullable({"type": "integer", "minimum": MIN_OUTPUT_TOKENS}),
    ("CreateRequest", "prompt"): _REFUSED,
    ("CreateRequest", "multi_agent"): _REFUSED,
    **{("CreateRequest", name): _REFUSED for name in CHAT_MEMBERS},
    ("TextFormat", "schema"): {"description": "A JSON Schema object; `json_schema` needs it, and `name`."},
    ("Message", "content"): _CONTENT,
    ("FunctionCallOutput", "output"): _CONTENT,
    ("CustomToolCallOutput", "output"): _CONTENT,
    ("Reasoning", "summary"): _PARTS,
    ("Reasoning", "content"): nullable(_PARTS),
    ("AdditionalTools", "tools"): _TOOLS,
    ("FunctionTool", "parameters"): nullable({"type": "object", "description": "A JSON Schema of the arguments."}),
    ("NamespaceTool", "tools"): nullable(_TOOLS),
    ("OutputText", "annotations"): array({}),
    ("OutputTextPart", "annotations"): array({}),
    ("OutputMessage", "content"): array(reference("OutputPart")),
    ("OutputReasoning", "summary"): array(reference("OutputPart")),
    ("OutputReasoning", "content"): array(reference("OutputPart")),
    ("Response", "output"): array(reference("OutputItem")),
    ("Response", "text"): reference("ResponseText"),
    ("Response", "tools"): _TOOLS,
    ("CompactedWindow", "output"): array(
        {"anyOf": [reference("RetainedMessage"), reference("OutputCompaction")]},
    ),
    ("ItemList", "data"): array(reference("StoredItem")),
    ("OutputItemAdded", "item"): reference("OutputItem"),
    ("OutputItemDone", "item"): reference("OutputItem"),
    ("ContentPartAdded", "part"): reference("OutputPart"),
    ("ContentPartDone", "part"): reference("OutputPart"),
    ("ReasoningSummaryPartAdded", "part"): reference("OutputPart"),
    ("ReasoningSummaryPartDone", "part"): reference("OutputPart"),
    ("FailedSteer", "input"): {"description": "As it was sent."},
}
"""Component and field → what its bytes are. A field of bytes that is not named here fails a test.

`model`, `metadata` and `max_output_tokens` are no bytes: more is asked of them than their types say."""


def record(description: str, required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object's schema."""
    return {
        "type": "object",
        "description": description,
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


OBJECTS: dict[str, Schema] = {
    "ConversationId": record("A conversation by its id.", {"id": _STRING}),
    "ResponseText": record(
        "The text settings that were used.",
        {
            "format": record("`text`, `json_object` or `json_schema` with its members.", {"type": _STRING}),
            "verbosity": _STRING,
        },
    ),
    "ResponseCreateFrame": {
        "allOf": [
            reference("CreateRequest"),
            record(
                "`response.create`: the create body at the top level.",
                {"type": {"const": "response.create"}},
                {"stream_id": {"type": "string", "pattern": STREAM_ID_PATTERN}},
            ),
        ]
    },
    "ResponseSteerFrame": record(
        "`response.steer`: user messages for a running response.",
        {
            "type": {"const": "response.steer"},
            "previous_response_id": _STRING,
            "input": {"anyOf": [_NAME, {"type": "array", "items": reference("Message"), "minItems": 1}]},
        },
    ),
    "ResponseCancelFrame": record(
        "`response.cancel`: ends a running response early.",
        {"type": {"const": "response.cancel"}, "response_id": _STRING},
    ),
    "ResponseProcessedFrame": record("Ignored.", {"type": {"const": "response.processed"}}),
    "ErrorBody": record(
        "The body of every error over HTTP.",
        {
            "error": record(
                "What went wrong.",
                {
                    "message": _STRING,
                    "type": {"enum": sorted({rule.type for rule in ERROR_RULES.values()})},
                    "param": NULLABLE_STRING,
                    "code": {"enum": list(ERROR_RULES)},
                },
            )
        },
    ),
    "RetainedMessage": record(
        "A message of the client's that stands in a compacted window word for word.",
        {
            "type": {"const": "message"},
            "id": _STRING,
            "status": {"const": "completed"},
            "role": _STRING,
            "content": _PARTS,
        },
    ),
    "ServerSentEvent": {
        "description": "One record of an event stream; the last one is `data: [DONE]`.",
        "anyOf": [
            record(
                "A server event under its `type`.",
                {
                    "event": _STRING,
                    "data": {
                        "type": "string",
                        "contentMediaType": "application/json",
                        "contentSchema": reference("ServerEvent"),
                    },
                },
            ),
            record("The end.", {"data": {"const": "[DONE]"}}),
        ],
    },
    "DeletedResponse": record(
        "A response that is gone.", {"id": _STRING, "object": {"const": "response"}, "deleted": {"const": True}}
    ),
    "DeletedConversation": record(
        "A conversation that is gone.",
        {"id": _STRING, "object": {"const": "conversation.deleted"}, "deleted": {"const": True}},
    ),
    "Conversation": record(
        "A conversation without its items.",
        {
            "id": _STRING,
            "object": {"const": "conversation"},
            "created_at": {"type": "integer", "description": "Unix seconds."},
            "metadata": _METADATA,
        },
    ),
    "ConversationCreate": record(
        "What a conversation begins with.", {}, {"items": nullable(_NEW_ITEMS), "metadata": nullable(_METADATA)}
    ),
    "ConversationUpdate": record("The new metadata; null for none.", {"metadata": nullable(_METADATA)}),
    "ConversationItems": record("Items to append.", {"items": _NEW_ITEMS}),
    "StoredItem": record(
        "An item as it is kept: any that clients or models made, under its id.", {"id": _STRING, "type": _STRING}
    ),
    "ModelList": record("Every model by name.", {"object": {"const": "list"}, "data": array(reference("ModelInfo"))}),
    "Document": record("An OpenAPI document.", {"openapi": _STRING, "paths": {"type": "object"}}),
    "Health": record("The process is up.", {"status": {"const": "ok"}}),
    "Readiness": record("A turn can start now.", {"status": {"const": "ready"}}),
    "NotReady": {
        "allOf": [
            reference("ErrorBody"),
            record("Why no turn can start now.", {"status": {"const": "not_ready"}, "reasons": array(_STRING)}),
        ]
    },
}
"""Component → schema."""


INPUT_ITEMS: tuple[type[msgspec.Struct], ...] = get_args(items.KnownItem)
INPUT_PARTS: tuple[type[msgspec.Struct], ...] = get_args(items.KnownPart)
TOOLS: tuple[type[msgspec.Struct], ...] = get_args(items.KnownTool)
OUTPUT_ITEMS = (
    responses.OutputMessage,
    responses.OutputReasoning,
    responses.OutputCompaction,
    responses.OutputFunctionCall,
    responses.OutputCustomToolCall,
)
OUTPUT_PARTS = (
    responses.OutputTextPart,
    responses.RefusalPart,
    responses.ReasoningTextPart,
    responses.SummaryTextPart,
)
EVENTS: tuple[type[msgspec.Struct], ...] = get_args(AuthoredEvent)
REQUESTS = (CreateRequest,)
ANSWERS = (Response, CompactedWindow, InputTokens, ItemList, ModelInfo)


def make_components() -> dict[str, Schema]:
    """Every schema by its name."""
    received = _components([*map(_without_raw_defaults, REQUESTS), *INPUT_ITEMS, *INPUT_PARTS, *TOOLS])
    sent = _components([*ANSWERS, *EVENTS, *OUTPUT_ITEMS, *OUTPUT_PARTS])
    for schema in sent.values():
        _require_what_is_always_sent(schema)
    components = {**sent, **received, **_unions(), **OBJECTS}
    for (name, field), schema in FOREIGN_FIELDS.items():
        components[name]["properties"][field] = schema
    _say_what_http_takes(components["CreateRequest"])
    _allow_bare_messages(components["Message"])
    _describe(components)
    return dict(sorted(components.items()))


def tag_of(cls: type[msgspec.Struct]) -> str:
    """The wire's `type` of a tagged struct."""
    return str(cls.__struct_config__.tag)


def _components(types: Sequence[type[msgspec.Struct]]) -> dict[str, Schema]:
    return msgspec.json.schema_components(types, ref_template=reference("{name}")["$ref"])[1]


def _without_raw_defaults(cls: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The same shape for msgspec's schemas, which cannot say that a field's default is the bytes `null`."""
    hints = get_type_hints(cls, include_extras=True)
    fields: list[tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(cls):
        hint = hints[field.name]
        if isinstance(field.default, Raw):
            fields.append((field.name, hint | UnsetType, UNSET))
        else:
            fields.append((field.name, hint, field.default))
    return msgspec.defstruct(cls.__name__, fields, kw_only=True, namespace={"__doc__": cls.__doc__})


def _require_what_is_always_sent(schema: Schema) -> None:
    """A default is written out like any other value, so a reader may rely on the field."""
    properties = schema["properties"]
    required = set(schema["required"]) | {name for name, each in properties.items() if "default" in each}
    schema["required"] = [name for name in properties if name in required]
    for each in properties.values():
        each.pop("default", None)


def _say_what_http_takes(create: Schema) -> None:
    """A model is needed, though not by the decoder; `stream_id` is not looked at, `ResponseCreateFrame` has it."""
    create["required"] = ["model"]
    del create["properties"]["stream_id"]


def _allow_bare_messages(message: Schema) -> None:
    """Most clients leave the `type` of a message out."""
    message["required"].remove("type")


def _describe(components: dict[str, Schema]) -> None:
    fields = components["CreateRequest"]["properties"]
    for row in CREATE_FIELDS:
        if row.name != "stream_id":
            fields[row.name] = {**fields.get(row.name, {}), "description": row.text, "x-landline": row.treatment}
    texts = {row.type: row.text for row in SERVER_EVENTS}
    for event in EVENTS:
        components[event.__name__]["description"] = texts[tag_of(event)]
    for schema in components.values():
        if "description" in schema:
            schema["description"] = " ".join(schema["description"].split())


def _unions() -> dict[str, Schema]:
    return {
        "InputItem": {
            **_open_union(INPUT_ITEMS),
            "properties": dict.fromkeys(("id", "role", "call_id"), NULLABLE_STRING),
        },
        "ContentPart": _open_union(INPUT_PARTS),
        "OutputItem": _open_union(OUTPUT_ITEMS),
        "OutputPart": _open_union(OUTPUT_PARTS),
        "Tool": _open_union(TOOLS),
        "ServerEvent": {"anyOf": [reference(event.__name__) for event in EVENTS]},
    }


def _open_union(kinds: Iterable[type[msgspec.Struct]]) -> Schema:
    """The known kinds, or an object of another type."""
    names = {tag_of(kind): kind.__name__ for kind in kinds}
    other = {
        "type": "object",
        "description": "A kind that this server does not know: it is kept as it is.",
        "properties": {"type": {"type": "string", "not": {"enum": sorted(names)}}},
        "required": ["type"],
    }
    return {"anyOf": [*map(reference, names.values()), other]}
