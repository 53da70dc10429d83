"""The members of a create for the upstream: the client's own, byte for byte, but for those that are ours to say."""

from typing import Any, cast

import msgspec
from msgspec import UNSET, Raw

from landline.dialects.dialect import Prompt
from landline.dialects.responses.flags import ResponsesFlags
from landline.wire.requests import NULL, CreateRequest

Members = dict[str, Raw]

# fmt: off
_OURS = frozenset((
    "type", "stream_id", "stream", "stream_options", "background", "input", "previous_response_id", "conversation",
    "model", "generate",
))
# fmt: on
"""What concerns the delivery to our client, or what Landline does itself."""
MIN_OUTPUT_TOKENS = 16
"""The API's least `max_output_tokens`; Landline asks for less where it only wants a prompt read."""
_SETTINGS = tuple(name for name in CreateRequest.__struct_fields__ if name not in _OURS)

_MEMBERS: msgspec.json.Decoder[Members] = msgspec.json.Decoder(Members)
_REQUEST: msgspec.json.Decoder[CreateRequest] = msgspec.json.Decoder(CreateRequest)
_encode = msgspec.json.Encoder().encode


def create_members(prompt: Prompt, flags: ResponsesFlags, *, keeps_reasoning: bool = False) -> Members:
    """Every member but `input` and those of one transport: `model` first, then the client's in its own order.

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
    """Whether the upstream keeps what the turn makes."""
    return flags.store == "pass" and prompt.request.store is not False


def stream_options(prompt: Prompt) -> Members:
    """What the client said of the stream itself, for an upstream that streams over HTTP."""
    options = prompt.request.stream_options
    if options is None or options.include_obfuscation is None:
        return {}
    return {"stream_options": Raw(_encode({"include_obfuscation": options.include_obfuscation}))}


def _corrected(kept: Members, request: CreateRequest) -> Members:
    """The members, where the request that counts says something else than they do, as it says."""
    said = _REQUEST.decode(_encode(kept))
    corrected = dict(kept)
    for name in _SETTINGS:
        value: object = getattr(request, name)
        if value == getattr(said, name):
            continue
        if name == "max_output_tokens" and isinstance(value, int):
            value = max(value, MIN_OUTPUT_TOKENS)
        if value is None or value is UNSET or value == NULL:
            corrected.pop(name, None)
        else:
            corrected[name] = Raw(_encode(_without_nulls(value)))
    return corrected


def _without_nulls(value: object) -> object:
    """Settings without what they do not set; JSON that came in stays as it is."""
    match value:
        case msgspec.Struct():
            fields: dict[str, Any] = msgspec.structs.asdict(value)
            told = {name: each for name, each in fields.items() if each is not None and each is not UNSET}
            return {name: _without_nulls(each) for name, each in told.items()}
        case list():
            return [_without_nulls(each) for each in cast("list[object]", value)]
        case _:
            return value
