"""Anthropic's own client as an oracle: its types say what a request may hold, its stream reads what a server sends."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import anthropic
from anthropic.types import message_count_tokens_params, message_create_params
from anthropic.types.beta import message_create_params as beta_params
from pydantic import TypeAdapter

_STREAMING: TypeAdapter[Any] = TypeAdapter(message_create_params.MessageCreateParamsStreaming)
_WHOLE: TypeAdapter[Any] = TypeAdapter(message_create_params.MessageCreateParamsNonStreaming)
_BETA: TypeAdapter[Any] = TypeAdapter(beta_params.MessageCreateParamsStreaming)
_COUNT: TypeAdapter[Any] = TypeAdapter(message_count_tokens_params.MessageCountTokensParams)


def assert_sdk_sends(body: Mapping[str, Any], *, is_beta: bool = False) -> None:
    """The client's types allow this body. Raises pydantic's ValidationError."""
    if "max_tokens" not in body:
        adapter = _COUNT
    elif is_beta:
        adapter = _BETA
    else:
        adapter = _STREAMING if body.get("stream") else _WHOLE
    checked = _exhaust(adapter.validate_python(body))
    assert set(checked) >= set(body) - {"temperature", "top_p"}, "the client does not know a member"


def read_stream(base_url: str, body: Mapping[str, Any], *, key: str) -> anthropic.types.Message:
    """What the client makes of the answer to this body."""
    client = anthropic.Anthropic(api_key=key, base_url=base_url.removesuffix("/v1"), max_retries=0)
    asked = {name: value for name, value in body.items() if name != "stream"}
    with client, client.messages.stream(**asked) as stream:
        return stream.get_final_message()


def _exhaust(value: Any) -> Any:
    """Lists in place of pydantic's lazy iterators, which check what they hold only when it is taken."""
    if isinstance(value, Mapping):
        return {key: _exhaust(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Sequence):
        return [_exhaust(each) for each in value]
    if isinstance(value, list):
        return [_exhaust(each) for each in value]
    return value
