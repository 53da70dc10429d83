"""What stands in the fields that the wire types keep as bytes, and the objects that have no type of their own."""

from typing import Any

from landline.wire.chat_habits import CHAT_MEMBERS
from landline.wire.errors import ERROR_RULES
from landline.wire.requests import STREAM_ID_PATTERN

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

`model` and `metadata` are no bytes: more is asked of them than their types say."""


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
