"""JSON Schemas of everything on the wire, made from the wire types.

Unions of items, parts and tools are open, because the server takes kinds that it does not know: each is the known kinds, or
an object whose `type` is none of theirs.
"""

from collections.abc import Iterable, Sequence
from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.server.edge import ModelInfo
from landline.server.openapi.foreign_json import FOREIGN_FIELDS, NULLABLE_STRING, OBJECTS, Schema, reference
from landline.wire import items, output, tools
from landline.wire.context import CompactedWindow, InputTokens
from landline.wire.events import AuthoredEvent
from landline.wire.listings import ItemList
from landline.wire.reference import CREATE_FIELDS, SERVER_EVENTS
from landline.wire.requests import CreateRequest
from landline.wire.responses import Response

INPUT_ITEMS: tuple[type[msgspec.Struct], ...] = get_args(items.KnownItem)
INPUT_PARTS: tuple[type[msgspec.Struct], ...] = get_args(items.KnownPart)
TOOLS: tuple[type[msgspec.Struct], ...] = get_args(tools.KnownTool)
OUTPUT_ITEMS = (
    output.OutputMessage,
    output.OutputReasoning,
    output.OutputCompaction,
    output.OutputFunctionCall,
    output.OutputCustomToolCall,
)
OUTPUT_PARTS = (
    output.OutputTextPart,
    output.RefusalPart,
    output.ReasoningTextPart,
    output.SummaryTextPart,
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
