"""What of a request is new to the server: the one rule that makes a delta of a full history. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

Json = dict[str, Any]
_MODEL_ITEMS = frozenset(("reasoning", "compaction"))
_CALL_ITEMS = frozenset(("function_call", "custom_tool_call"))
_HTTP_ONLY = frozenset(("stream", "stream_options", "background"))
"""Members that speak of HTTP's delivery; a socket always streams."""


@dataclass(frozen=True, slots=True)
class ServedHistory:
    """What a server holds after a response: that response, and the full input that the client had for it."""

    response_id: str
    input_hashes: tuple[int, ...]
    """One a sent or omitted item, in order. Items are compared, never sent again, so their hashes are enough."""
    call_ids: frozenset[str]
    """Tool calls that the model made in this response."""
    has_answer: bool
    """False after a warm-up."""


def full_input(payload: Mapping[str, Any]) -> list[Json]:
    """The input items of a request; a string is one user message."""
    given = payload.get("input")
    if given is None:
        return []
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return list(given)


def hash_items(items: Sequence[Json]) -> tuple[int, ...]:
    return tuple(hash(orjson.dumps(item)) for item in items)


def new_items(items: Sequence[Json], hashes: Sequence[int], served: ServedHistory) -> list[Json] | None:
    """The items that follow what the server holds; None if the history was changed and must be sent in full.

    The model's own items are left out: the server has its answer. Where a trace brings recorded answers, the served one takes
    their place. A recorded tool call that this model did not make is sent, because the output that follows refers to it.
    """
    known = len(served.input_hashes)
    if tuple(hashes[:known]) != served.input_hashes:
        return None
    if not served.has_answer:
        return list(items[known:])
    return [item for item in items[known:] if not _is_the_models(item, served.call_ids)]


def create_frame(
    payload: Mapping[str, Any], items: Sequence[Json], *, previous_response_id: str | None, stream_id: str | None
) -> Json:
    """The `response.create` event of a request, with these items as its input."""
    frame: Json = {"type": "response.create"}
    frame |= {name: value for name, value in payload.items() if name not in _HTTP_ONLY}
    frame["input"] = list(items)
    if previous_response_id is not None:
        frame["previous_response_id"] = previous_response_id
    if stream_id is not None:
        frame["stream_id"] = stream_id
    return frame


def warm_up_frame(frame: Mapping[str, Any]) -> Json:
    """The same request as one that only reads its prompt."""
    kept = {name: value for name, value in frame.items() if name != "max_output_tokens"}
    return {**kept, "generate": False}


def remember(response: Mapping[str, Any], hashes: Sequence[int], output: Sequence[Json]) -> ServedHistory | None:
    """What the server holds now; None if the response cannot be continued."""
    response_id = response.get("id")
    if not isinstance(response_id, str) or response.get("status") not in ("completed", "incomplete"):
        return None
    calls = frozenset(str(item.get("call_id")) for item in output if item.get("type") in _CALL_ITEMS)
    return ServedHistory(response_id, tuple(hashes), calls, has_answer=bool(output))


def _is_the_models(item: Json, served_calls: frozenset[str]) -> bool:
    kind = item.get("type")
    if kind in _CALL_ITEMS:
        return item.get("call_id") in served_calls
    return item.get("role") == "assistant" or kind in _MODEL_ITEMS
