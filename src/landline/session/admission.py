"""Which create requests may become turns: the rules that need the request and its history, not the model.

Rules cite the Responses guide or the recorded behaviour of OpenAI's endpoint; each refusal names the field.
"""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.session.lineage import Link, extend
from landline.session.memory import Remembered
from landline.session.turn import Turn
from landline.wire.errors import ApiError, api_error
from landline.wire.items import Item
from landline.wire.requests import CreateRequest, ToolChoiceObject, decode_conversation_id, decode_input, is_null

_LOOKED_UP = frozenset(("item_reference", "compaction", "reasoning"))
"""Items that may need the store or a key before a model can read them."""
MAX_METADATA_PAIRS = 16
"""Responses reference, `metadata`."""


def admit(
    request: CreateRequest,
    *,
    response_id: str,
    now: float,
    parent: Remembered | None = None,
    stream_id: str | UnsetType = UNSET,
    tenant: str = "",
    affinity_key: str | None = None,
) -> Turn | ApiError:
    """The turn for a decoded request, or why there is none.

    `parent` is `previous_response_id` as a connection remembers it; without it such a turn is unresolved, and whoever runs
    it looks the parent up in the store. `now` in Unix seconds.
    """
    refused = _refuse_unsupported(request) or _check_tools(request)
    if refused is not None:
        return refused
    conversation_id = decode_conversation_id(request.conversation)
    if isinstance(conversation_id, ApiError):
        return conversation_id
    items = decode_input(request.input)
    if isinstance(items, ApiError):
        return items
    turn = Turn(
        response_id=response_id,
        request=request,
        history=None,
        created_at=now,
        items=items,
        is_resolved=False,
        stored_parent_id=parent.response_id if parent is not None and parent.is_stored else None,
        conversation_id=conversation_id,
        stream_id=stream_id,
        tenant=tenant,
        affinity_key=affinity_key or request.prompt_cache_key,
    )
    is_parent_known = parent is not None or request.previous_response_id is None
    if is_parent_known and conversation_id is None and not any(item.type in _LOOKED_UP for item in items):
        return resolve(turn, parent.history if parent is not None else None, items)
    return turn


def resolve(turn: Turn, parent: Link | None, items: tuple[Item, ...]) -> Turn | ApiError:
    """The turn with its history: the parent's and `items`, which are the turn's own with references looked up."""
    refused = _check_items(turn.request, items, parent)
    if refused is not None:
        return refused
    return msgspec.structs.replace(turn, history=extend(parent, items), items=items, is_resolved=True)


def previous_response_not_found(response_id: str) -> ApiError:
    """The error that every recorded client answers by sending its whole history again."""
    message = f"Previous response with id '{response_id}' not found."
    return api_error("previous_response_not_found", message, param="previous_response_id")


def _refuse_unsupported(request: CreateRequest) -> ApiError | None:
    """Fields that would change the meaning of the request, and that this server does not honour yet."""
    refused = (
        ("prompt", not is_null(request.prompt)),
        ("multi_agent", not is_null(request.multi_agent)),
        ("context_management", bool(request.context_management)),
    )
    for name, is_asked in refused:
        if is_asked:
            message = f"`{name}` is not supported by this server: leave it out."
            return api_error("unsupported_parameter", message, param=name)
    if request.previous_response_id is not None and not is_null(request.conversation):
        message = "Expected `previous_response_id` or `conversation`, got both: a conversation knows what came before."
        return api_error("invalid_value", message, param="previous_response_id")
    if request.background is True and request.store is False:
        message = "Expected `store` to be true with `background`: a background response is fetched from the store."
        return api_error("invalid_value", message, param="background")
    if request.store is False and not is_null(request.conversation):
        message = "Expected `store` to be true with `conversation`: a conversation is stored."
        return api_error("invalid_value", message, param="store")
    if request.metadata is not None and len(request.metadata) > MAX_METADATA_PAIRS:
        message = f"Expected at most {MAX_METADATA_PAIRS} pairs in `metadata`, got {len(request.metadata)}."
        return api_error("invalid_value", message, param="metadata")
    return None


class _ToolHead(msgspec.Struct):
    type: str
    name: str | None = None


_TOOL_HEAD_DECODER: msgspec.json.Decoder[_ToolHead] = msgspec.json.Decoder(_ToolHead)


def _check_tools(request: CreateRequest) -> ApiError | None:
    for index, tool in enumerate(request.tools or ()):
        refused = _check_tool(tool, f"tools[{index}]")
        if refused is not None:
            return refused
    return None


def _check_tool(tool: Raw, place: str) -> ApiError | None:
    try:
        head = _TOOL_HEAD_DECODER.decode(tool)
    except msgspec.ValidationError as error:
        return api_error("invalid_value", f"Expected a tool object with a `type` at `{place}`: {error}.", param=place)
    if head.type in ("function", "custom", "namespace") and not head.name:
        param = f"{place}.name"
        return api_error("missing_required_parameter", f"A {head.type} tool needs `{param}`.", param=param)
    return None


def _check_items(request: CreateRequest, items: Sequence[Item], parent: Link | None) -> ApiError | None:
    is_first = request.previous_response_id is None and is_null(request.conversation)
    if not items and parent is None and not request.is_warm_up and is_first:
        message = "Expected `input` with at least one item, or a `previous_response_id` to go on from."
        return api_error("missing_required_parameter", message, param="input")
    for index, item in enumerate(items):
        if item.type == "compaction_trigger":
            message = "A `compaction_trigger` item is not supported by this server."
            return api_error("unsupported_parameter", message, param=f"input[{index}]")
    choice = request.tool_choice
    is_forced = choice == "required" or (isinstance(choice, ToolChoiceObject) and choice.mode == "required")
    has_tools = bool(request.tools) or (parent is not None and bool(parent.tool_items))
    if is_forced and not has_tools and not any(item.type == "additional_tools" for item in items):
        message = "Expected `tools`: `tool_choice` requires a tool call."
        return api_error("invalid_value", message, param="tool_choice")
    return _check_call_outputs(items, parent)


def _check_call_outputs(items: Sequence[Item], parent: Link | None) -> ApiError | None:
    """Every tool output answers a call that stands before it (Open Responses: an unknown `call_id` must fail)."""
    called: set[str] = set()
    for item in items:
        if item.call_id is None:
            continue
        if item.type.endswith("_call"):
            called.add(item.call_id)
        elif item.type.endswith("_output") and item.call_id not in called and not _is_called(item.call_id, parent):
            kind = item.type.removesuffix("_output").replace("_", " ").removesuffix(" call")
            message = f"No tool call found for {kind} call output with call_id {item.call_id}."
            return api_error("tool_call_not_found", message, param="input")
    return None


def _is_called(call_id: str, link: Link | None) -> bool:
    """Looks backwards: the call that is answered is nearly always the newest."""
    while link is not None:
        if any(item.call_id == call_id and item.type.endswith("_call") for item in link.items):
            return True
        link = link.parent
    return False
