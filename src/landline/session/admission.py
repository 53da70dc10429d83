"""Which create requests may become turns: the rules that need the request and its history, not the model.

Rules cite the Responses guide or the recorded behaviour of OpenAI's endpoint; each refusal names the field.
"""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.session.lineage import Link, extend
from landline.session.memory import Remembered
from landline.session.turn import Arrival, Turn
from landline.wire.errors import ApiError, api_error
from landline.wire.item_memo import KnownItems
from landline.wire.items import Item, check_tool, is_sealed
from landline.wire.requests import (
    CHAT_MEMBERS,
    NULL,
    CreateRequest,
    Metadata,
    ToolChoiceObject,
    decode_conversation_id,
    decode_input,
    is_null,
    refuse_chat_member,
    validation_error,
)

MAX_METADATA_PAIRS = 16
"""Responses reference, `metadata`."""


class CreateOrigin(msgspec.Struct, frozen=True):
    """Whose create it is, and where it came from; its members are those of `Turn`, but for the last."""

    tenant: str = ""
    stream_id: str | UnsetType = UNSET
    affinity_key: str | None = None
    line_id: str | None = None
    body: bytes | str = b""
    arrival: Arrival = Arrival()
    known_items: KnownItems | None = None
    """What its tenant has sent before, for a client that sends its whole history."""


_NOWHERE = CreateOrigin()


def admit(
    request: CreateRequest,
    *,
    response_id: str,
    now: float,
    parent: Remembered | None = None,
    steered: tuple[Item, ...] = (),
    origin: CreateOrigin = _NOWHERE,
) -> Turn | ApiError:
    """The turn for a decoded request, or why there is none.

    `parent` is `previous_response_id` as a connection remembers it; without it such a turn is unresolved, and whoever runs
    it looks the parent up in the store. `steered` is put before the request's own input. `now` in Unix seconds.
    """
    refused = _refuse_unsupported(request) or _check_tools(request) or _check_choice(request) or _check_format(request)
    if refused is not None:
        return refused
    conversation_id = decode_conversation_id(request.conversation)
    if isinstance(conversation_id, ApiError):
        return conversation_id
    is_whole = request.previous_response_id is None and conversation_id is None
    items = decode_input(request.input, origin.known_items if is_whole else None)
    if isinstance(items, ApiError):
        return items
    items = steered + items
    turn = Turn(
        response_id=response_id,
        request=request,
        history=parent.history if parent is not None else None,
        created_at=now,
        items=items,
        is_resolved=False,
        is_parent_found=parent is not None,
        stored_parent_id=parent.response_id if parent is not None and parent.is_stored else None,
        conversation_id=conversation_id,
        stream_id=origin.stream_id,
        tenant=origin.tenant,
        affinity_key=origin.affinity_key or request.prompt_cache_key,
        line_id=origin.line_id,
        body=origin.body,
        arrival=origin.arrival,
    )
    is_parent_known = parent is not None or request.previous_response_id is None
    if is_parent_known and conversation_id is None and not any(map(_is_looked_up, items)):
        return resolve(turn, turn.history, items)
    return turn


def resolve(turn: Turn, parent: Link | None, items: tuple[Item, ...]) -> Turn | ApiError:
    """The turn with its history: the parent's and `items`, which are the turn's own, looked up and opened."""
    is_compaction = bool(items) and items[-1].type == "compaction_trigger"
    refused = _check_triggers(turn.request, items)
    if refused is not None:
        return refused
    items = tuple(item for item in items if item.type != "compaction_trigger")
    refused = _check_items(turn.request, items, parent)
    if refused is not None:
        return refused
    history = extend(parent, items)
    if history is None and (turn.is_compaction or is_compaction):
        return api_error("missing_required_parameter", "Expected `input`: there is nothing to compact.", param="input")
    return msgspec.structs.replace(
        turn,
        history=history,
        items=items,
        is_resolved=True,
        is_compaction=turn.is_compaction or is_compaction,
    )


def previous_response_not_found(response_id: str) -> ApiError:
    """The error that every recorded client answers by sending its whole history again."""
    message = f"Previous response with id '{response_id}' not found."
    return api_error("previous_response_not_found", message, param="previous_response_id")


def _refuse_unsupported(request: CreateRequest) -> ApiError | None:
    """Fields that would change the meaning of the request, and that this server does not honour yet."""
    refused = (
        ("prompt", not is_null(request.prompt)),
        ("multi_agent", not is_null(request.multi_agent)),
    )
    for name, is_asked in refused:
        if is_asked:
            message = f"`{name}` is not supported by this server: leave it out."
            return api_error("unsupported_parameter", message, param=name)
    for name in CHAT_MEMBERS:
        value: Raw = getattr(request, name)
        refused_member = refuse_chat_member(name, value) if value is not NULL else None
        if refused_member is not None:
            return refused_member
    for index, each in enumerate(request.context_management or ()):
        place = f"context_management[{index}]"
        if each.type != "compaction":
            message = (
                f"Expected `compaction`, got {each.type!r} at `{place}.type`: this server manages no context that way."
            )
            return api_error("unsupported_parameter", message, param=f"{place}.type")
        if each.compact_threshold is None:
            message = f"Expected `{place}.compact_threshold`: the tokens of context beyond which to compact."
            return api_error("missing_required_parameter", message, param=f"{place}.compact_threshold")
    if request.previous_response_id is not None and not is_null(request.conversation):
        message = "Expected `previous_response_id` or `conversation`, got both: a conversation knows what came before."
        return api_error("invalid_value", message, param="previous_response_id")
    if request.background is True and request.store is False:
        message = "Expected `store` to be true with `background`: a background response is fetched from the store."
        return api_error("invalid_value", message, param="background")
    if request.store is False and not is_null(request.conversation):
        message = "Expected `store` to be true with `conversation`: a conversation is stored."
        return api_error("invalid_value", message, param="store")
    return check_metadata(request.metadata)


def check_metadata(metadata: Metadata | None) -> ApiError | None:
    """What is wrong with the metadata of a response or a conversation."""
    if metadata is not None and len(metadata) > MAX_METADATA_PAIRS:
        message = f"Expected at most {MAX_METADATA_PAIRS} pairs in `metadata`, got {len(metadata)}."
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
    try:
        check_tool(tool)
    except msgspec.ValidationError as error:
        return validation_error(error, prefix=place)
    return None


def _check_choice(request: CreateRequest) -> ApiError | None:
    """A chosen tool has its name, and a subset its tools, at the top level: chat completions' own nests both."""
    choice = request.tool_choice
    if not isinstance(choice, ToolChoiceObject):
        return None
    if choice.type == "allowed_tools" and choice.tools is None:
        message = "A `tool_choice` of `allowed_tools` needs `tool_choice.tools`."
        return api_error("missing_required_parameter", message, param="tool_choice.tools")
    named = [("tool_choice", choice)]
    named += [(f"tool_choice.tools[{index}]", each) for index, each in enumerate(choice.tools or ())]
    for place, each in named:
        if each.type in ("function", "custom") and not each.name:
            message = f"A choice of a {each.type} tool needs `{place}.name`."
            return api_error("missing_required_parameter", message, param=f"{place}.name")
    return None


def _check_format(request: CreateRequest) -> ApiError | None:
    """A `json_schema` format has its name and its schema (Responses reference, `text.format`)."""
    chosen = request.text.format if request.text is not None else None
    if chosen is None or chosen.type != "json_schema":
        return None
    for name, value in (("name", chosen.name), ("schema", chosen.schema)):
        if not value:
            message = f"A `json_schema` format needs `text.format.{name}`."
            return api_error("missing_required_parameter", message, param=f"text.format.{name}")
    if isinstance(chosen.schema, Raw) and not bytes(chosen.schema).startswith(b"{"):
        message = "Expected `text.format.schema` to be a JSON Schema object."
        return api_error("invalid_value", message, param="text.format.schema")
    return None


def _check_items(request: CreateRequest, items: Sequence[Item], parent: Link | None) -> ApiError | None:
    is_first = request.previous_response_id is None and is_null(request.conversation)
    if not items and parent is None and not request.is_warm_up and is_first:
        message = "Expected `input` with at least one item, or a `previous_response_id` to go on from."
        return api_error("missing_required_parameter", message, param="input")
    choice = request.tool_choice
    is_forced = choice == "required" or (isinstance(choice, ToolChoiceObject) and choice.mode == "required")
    has_tools = bool(request.tools) or (parent is not None and bool(parent.tool_items))
    if is_forced and not has_tools and not any(item.type == "additional_tools" for item in items):
        message = "Expected `tools`: `tool_choice` requires a tool call."
        return api_error("invalid_value", message, param="tool_choice")
    return check_call_outputs(items, parent)


def _is_looked_up(item: Item) -> bool:
    """Whether it needs the store or a key before a model can read it."""
    return item.type == "item_reference" or is_sealed(item)


def _check_triggers(request: CreateRequest, items: Sequence[Item]) -> ApiError | None:
    """A trigger asks for a compaction at the end of the input; one that its compaction follows is history."""
    for index, item in enumerate(items):
        if item.type != "compaction_trigger":
            continue
        if request.is_warm_up:
            message = "A warm-up generates nothing, so it cannot take a `compaction_trigger`."
            return api_error("invalid_value", message, param=f"input[{index}]")
        if index + 1 < len(items) and items[index + 1].type != "compaction":
            message = "Expected `compaction_trigger` to be the last item of `input`."
            return api_error("invalid_value", message, param=f"input[{index}]")
    return None


def check_call_outputs(items: Sequence[Item], parent: Link | None, *, name: str = "input") -> ApiError | None:
    """Every tool output answers a call that stands before it (Open Responses: an unknown `call_id` must fail)."""
    called: set[str] = set()
    for item in items:
        if item.opened is not None:
            called.update(each.call_id for each in item.opened if each.call_id is not None)
        if item.call_id is None:
            continue
        if item.type.endswith("_call"):
            called.add(item.call_id)
        elif item.type.endswith("_output") and item.call_id not in called and not _is_called(item.call_id, parent):
            kind = item.type.removesuffix("_output").replace("_", " ").removesuffix(" call")
            message = f"No tool call found for {kind} call output with call_id {item.call_id}."
            return api_error("tool_call_not_found", message, param=name)
    return None


def _is_called(call_id: str, link: Link | None) -> bool:
    """Looks backwards: the call that is answered is nearly always the newest."""
    while link is not None:
        if any(_calls(item, call_id) for item in link.items):
            return True
        link = link.parent
    return False


def _calls(item: Item, call_id: str) -> bool:
    if item.opened is not None:
        return any(_calls(each, call_id) for each in item.opened)
    return item.call_id == call_id and item.type.endswith("_call")
