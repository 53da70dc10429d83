"""The flags of a Responses target, and what they make of a create: its members, its history, its count request.

Called by `dialect`. The client's own JSON is forwarded byte for byte, except for members that are Landline's to set and for
reasoning that the upstream cannot use.
"""

from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec
from msgspec import UNSET, Raw

from landline.dialects.dialect import CountRequest, Prompt
from landline.dialects.request_parts import read_input_tokens
from landline.wire.items import Item, Reasoning, typed_item
from landline.wire.requests import MIN_OUTPUT_TOKENS, NULL, CreateRequest

Members = dict[str, Raw]
# fmt: off
_OURS = frozenset((
    "type", "stream_id", "stream", "stream_options", "background", "input", "previous_response_id", "conversation",
    "model", "generate",
))
# fmt: on
"""Members that concern the delivery to our client, or that Landline sets itself."""
_SETTINGS = tuple(name for name in CreateRequest.__struct_fields__ if name not in _OURS)
# fmt: off
_COUNTED = frozenset((
    "model", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text", "truncation",
    "personality",
))
# fmt: on
"""Members that the counter accepts (openai 3.54.0, `InputTokenCountParams`); it refuses those that concern only an answer."""
_MEMBERS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_REQUEST: msgspec.json.Decoder[CreateRequest] = msgspec.json.Decoder(CreateRequest)
_encode = msgspec.json.Encoder().encode


class ResponsesFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults suit OpenAI and Azure."""

    store: Literal["pass", "never"] = "pass"
    """Whether the upstream is told to store as the client says, or `store: false` always."""
    compaction: Literal["upstream", "landline"] = "upstream"
    """Who compacts: the upstream, whose compactions only it can read, or Landline with the upstream's model."""
    foreign_reasoning: Literal["omit", "send"] = "omit"
    """Reasoning in plain text, or that another vendor signed, is left out; servers of open models and another Landline can
    use it. Reasoning that the upstream may have encrypted itself is always sent back as it came."""
    keep_reasoning: bool = True
    """Whether a model that reasons is asked for `reasoning.encrypted_content` where its server stores nothing, even if the
    client did not: else the next turn could not give it back."""
    cache_key: bool = False
    """Whether a turn without `prompt_cache_key` gets one that names its conversation."""
    affinity_headers: tuple[str, ...] = ("X-Session-Id",)
    """Headers that tell a router in front of replicas which conversation this is."""
    warm_up: Literal["pass", "skip"] = "pass"
    """Whether a warm-up (`generate: false`) goes to the upstream's socket, or is answered without a request, as over HTTP
    it always is: Vercel and LocalAI know none."""
    deltas: bool = True
    """Whether the upstream's socket is sent only what is new, behind `previous_response_id`; if not, the whole history."""
    instructions_with_previous: Literal["send", "omit"] = "send"
    """Whether `instructions` may stand beside `previous_response_id`. xAI refuses that (November 2026); those that the chain
    began with hold there."""


def create_members(prompt: Prompt, flags: ResponsesFlags, *, keeps_reasoning: bool = False) -> Members:
    """All members except `input` and those of one transport: `model` first, then the client's in its order.

    `keeps_reasoning` asks for reasoning in encrypted form, so that the next turn can give it back.
    """
    sent = dict(_MEMBERS.decode(prompt.body)) if prompt.body else {}
    kept = {name: value for name, value in sent.items() if name not in _OURS}
    settings = {"model": Raw(_encode(prompt.model)), **_corrected(kept, prompt.request)}
    if flags.store == "never":
        settings["store"] = Raw(b"false")
    if flags.compaction == "landline":
        settings.pop("context_management", None)
    if flags.cache_key and "prompt_cache_key" not in settings and prompt.affinity_key is not None:
        settings["prompt_cache_key"] = Raw(_encode(prompt.affinity_key))
    if keeps_reasoning and not prompt.request.wants_encrypted_reasoning:
        settings["include"] = Raw(_encode([*(prompt.request.include or ()), "reasoning.encrypted_content"]))
    return settings


def is_stored(prompt: Prompt, flags: ResponsesFlags) -> bool:
    """Whether the upstream stores the response."""
    return flags.store == "pass" and prompt.request.store is not False


def stream_options(prompt: Prompt) -> Members:
    """The client's `stream_options`, for an upstream that streams over HTTP."""
    options = prompt.request.stream_options
    if options is None or options.include_obfuscation is None:
        return {}
    return {"stream_options": Raw(_encode({"include_obfuscation": options.include_obfuscation}))}


def _corrected(kept: Members, request: CreateRequest) -> Members:
    """The members, updated where the effective request differs from what the client sent."""
    said = _REQUEST.decode(_encode(kept))
    corrected = dict(kept)
    for name in _SETTINGS:
        value: object = getattr(request, name)
        if value == getattr(said, name):
            continue
        if name == "max_output_tokens" and isinstance(value, int):
            value = max(value, MIN_OUTPUT_TOKENS)  # we ask for less where we only want a prompt read
        if value is None or value is UNSET or value == NULL:
            corrected.pop(name, None)
        else:
            corrected[name] = Raw(_encode(_without_nulls(value)))
    return corrected


def _without_nulls(value: object) -> object:
    """Settings without null and absent members; raw JSON stays unchanged."""
    match value:
        case msgspec.Struct():
            fields: dict[str, Any] = msgspec.structs.asdict(value)
            told = {name: each for name, each in fields.items() if each is not None and each is not UNSET}
            return {name: _without_nulls(each) for name, each in told.items()}
        case list():
            return [_without_nulls(each) for each in cast("list[object]", value)]
        case _:
            return value


class ReasoningPolicy(msgspec.Struct, frozen=True):
    """Which reasoning an upstream accepts."""

    takes_foreign: bool = False
    """It accepts reasoning in plain text, of any model."""
    is_stored: bool = True
    """It stores items, so that an id is enough to refer to one."""
    takes_none: bool = False
    """It refused reasoning, so none is sent. OpenAI refuses a call whose id it knows without the reasoning before it
    (laravel/ai#1052, 2026-09), so output of the model is then sent without ids."""


class RenderedLink(msgspec.Struct, frozen=True):
    """A link's items in upstream JSON, and the state carried to the next link."""

    pieces: tuple[bytes, ...] = ()
    held: tuple[bytes, ...] = ()
    """Reasoning that waits for the item that follows it. OpenAI refuses reasoning without one, as a stopped answer leaves it
    (openai/openai-agents-python#1611)."""
    left_out: int = 0
    """Reasoning items of the lineage that are not sent."""
    is_bare: bool = False
    """Whether the reasoning before the next item was not sent."""
    has_reasoning: bool = False
    """Whether the upstream's model has reasoned."""


def render_items(before: RenderedLink | None, items: Sequence[Item], policy: ReasoningPolicy) -> RenderedLink:
    """Renders the items of the next link."""
    state = before or RenderedLink()
    pieces: list[bytes] = []
    held, left_out, is_bare, has_reasoning = list(state.held), state.left_out, state.is_bare, state.has_reasoning
    for item in items:
        if item.type == "reasoning":
            thought = _read(item)
            has_reasoning = has_reasoning or not thought.is_foreign
            if _is_usable(thought, policy):
                waiting = pieces if policy.takes_foreign else held
                waiting.append(_without(item, "encrypted_content") if thought.is_ours else item.raw)
            else:
                left_out += 1
                is_bare = is_bare or not thought.is_foreign
        elif _is_clients(item):
            pieces.append(item.raw)
            left_out += len(held)
            held, is_bare = [], False
        else:
            is_unknown = (is_bare or policy.takes_none) and item.id is not None
            pieces += (*held, _without(item, "id") if is_unknown else item.raw)
            held = []
    return RenderedLink(tuple(pieces), tuple(held), left_out, is_bare, has_reasoning)


class _ReasoningOrigin(msgspec.Struct, frozen=True):
    """Where a reasoning item comes from."""

    is_ours: bool
    """Landline sealed it, or stores its vendor's signature."""
    is_foreign: bool
    """Made by another vendor's model, or by one that reasons in plain text."""
    is_encrypted: bool


def _read(item: Item) -> _ReasoningOrigin:
    value = typed_item(item)
    is_ours = item.opened is not None or item.signed is not None
    content = value.content if isinstance(value, Reasoning) else None
    encrypted = value.encrypted_content if isinstance(value, Reasoning) else None
    return _ReasoningOrigin(is_ours, is_ours or bool(content), encrypted is not None)


def _is_usable(thought: _ReasoningOrigin, policy: ReasoningPolicy) -> bool:
    if policy.takes_none:
        return False
    if policy.takes_foreign:
        return True
    return not thought.is_foreign and (thought.is_encrypted or policy.is_stored)


def _is_clients(item: Item) -> bool:
    """Whether it is a client's item, not a model's."""
    if item.type == "message":
        return item.role != "assistant"
    return item.type.endswith(("_output", "_response")) or item.type in ("additional_tools", "configuration_update")


def _without(item: Item, name: str) -> bytes:
    members = _MEMBERS.decode(item.raw)
    return msgspec.json.encode({key: value for key, value in members.items() if key != name})


def count_request(members: Members, pieces: Sequence[bytes]) -> CountRequest:
    """The count request for these members and items."""
    asked = {name: value for name, value in members.items() if name in _COUNTED}
    body = msgspec.json.encode({**asked, "input": Raw(b"[" + b",".join(pieces) + b"]")})
    return CountRequest("/responses/input_tokens", body, read_input_tokens)
