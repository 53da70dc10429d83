"""Conversations as Anthropic is sent them: the request that items and create fields give, held to the API's rules."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from landline.dialects.anthropic import Anthropic, AnthropicFlags
from landline.dialects.dialect import Prompt, UpstreamRequest
from landline.session.lineage import Link
from landline.wire.errors import ApiError
from landline.wire.items import Signed
from support.conversations.chat import Item, create, lineage
from support.oracles.anthropic_sdk import assert_sdk_sends
from support.strict.anthropic import check_request, without_marks

SIGNED = '{"type":"thinking","thinking":"Hm.","signature":"c2ln"}'
REDACTED = '{"type":"redacted_thinking","data":"EmwK"}'


def thinking(*blocks: str, by: str = "anthropic") -> Item:
    """A reasoning item with what its vendor signed, as `signed_lineage` reads it."""
    return {"type": "reasoning", "summary": [], "encrypted_content": json.dumps({"by": by, "blocks": blocks})}


def signed_lineage(links: Sequence[Sequence[Item]]) -> Link | None:
    """The links with signed reasoning as the server keeps it."""
    history: Link | None = None
    for items in links:
        made = lineage([items])
        assert made is not None
        history = Link(history, [_opened(item) for item in made.items])
    return history


def _opened(item: Any) -> Any:
    sealed = json.loads(item.raw).get("encrypted_content") if item.type == "reasoning" else None
    if sealed is None:
        return item
    said = json.loads(sealed)
    return msgspec.structs.replace(item, signed=Signed(said["by"], tuple(said["blocks"])))


def ask(
    *links: Sequence[Item],
    dialect: Anthropic | None = None,
    flags: AnthropicFlags | None = None,
    affinity_key: str | None = None,
    **fields: Any,
) -> UpstreamRequest | ApiError:
    """The request that these links and create fields give, or the error; one that the API would refuse fails the test."""
    prompt = Prompt(history=signed_lineage(links), request=create(**fields), model="m", affinity_key=affinity_key)
    made = (dialect or Anthropic(flags)).build_request(prompt)
    if isinstance(made, UpstreamRequest):
        body = json.loads(made.body)
        betas = made.headers.get("anthropic-beta", "").split(",")
        check_request(body, betas)
        assert_sdk_sends(body, is_beta=betas != [""])
    return made


def build(*links: Sequence[Item], **options: Any) -> dict[str, Any]:
    """The body."""
    made = ask(*links, **options)
    assert isinstance(made, UpstreamRequest), made
    return json.loads(made.body)


def messages(*links: Sequence[Item], **options: Any) -> list[dict[str, Any]]:
    """The messages without breakpoints; none if the request is refused because nothing can be said."""
    made = ask(*links, **options)
    if isinstance(made, ApiError) and made.code == "missing_required_parameter":
        return []
    assert isinstance(made, UpstreamRequest), made
    return without_marks(json.loads(made.body)["messages"])


def error(*links: Sequence[Item], **options: Any) -> ApiError:
    """The error in place of the request."""
    made = ask(*links, **options)
    assert isinstance(made, ApiError), made
    return made


def user(*blocks: Any) -> dict[str, Any]:
    """A user message; strings are text blocks."""
    return {"role": "user", "content": [_block(each) for each in blocks]}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": [_block(each) for each in blocks]}


def use(use_id: str, name: str = "f", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": use_id, "name": name, "input": arguments}


def result(use_id: str, content: Any = "done") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": use_id, "content": content}


def _block(value: Any) -> Any:
    return {"type": "text", "text": value} if isinstance(value, str) else value
