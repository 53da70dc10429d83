"""Conversations as Gemini is sent them: the request that items and create fields give."""

import json
from collections.abc import Sequence
from typing import Any

from landline.dialects.dialect import Prompt, UpstreamRequest
from landline.dialects.gemini import Gemini, GeminiFlags
from landline.session.lineage import Link
from landline.wire.errors import ApiError
from landline.wire.items import Signed, decode_item
from support.conversations.chat import Item, create, lineage
from support.oracles.gemini_sdk import assert_sdk_sends

MODEL = "gemini-3.8-flash"
NO_EXTRA = GeminiFlags()


def block(kind: str, signature: str, model: str = MODEL, **place: Any) -> str:
    return json.dumps({"kind": kind, "signature": signature, "model": model, **place})


def signed_reasoning(*blocks: str, summary: str = "", by: str = "gemini") -> Item:
    """A reasoning item with what its vendor signed, as `signed_lineage` reads it."""
    parts = [{"type": "summary_text", "text": summary}] if summary else []
    return {"type": "reasoning", "id": "rs_1", "summary": parts, "_signed": {"by": by, "blocks": blocks}}


def signed_lineage(links: Sequence[Sequence[Item]]) -> Link | None:
    """The links with signed reasoning as the server keeps it."""
    history: Link | None = None
    for items in links:
        made = []
        for item in items:
            signed = item.get("_signed")
            plain = decode_item(json.dumps({key: each for key, each in item.items() if key != "_signed"}).encode())
            if signed is not None:
                plain = type(plain)(
                    plain.raw, plain.type, plain.id, signed=Signed(signed["by"], tuple(signed["blocks"]))
                )
            made.append(plain)
        history = Link(history, made)
    return history


def build_request(
    *links: Sequence[Item], flags: GeminiFlags | None = None, model: str = MODEL, **fields: Any
) -> UpstreamRequest | ApiError:
    """What the dialect makes of it."""
    prompt = Prompt(history=signed_lineage(links), request=create(**fields), model=model)
    return Gemini(flags).build_request(prompt)


def build(
    *links: Sequence[Item], flags: GeminiFlags | None = None, model: str = MODEL, **fields: Any
) -> dict[str, Any]:
    """The body of that request, as Google's own client would send it too."""
    made = build_request(*links, flags=flags, model=model, **fields)
    assert isinstance(made, UpstreamRequest), made
    body = json.loads(made.body)
    assert_sdk_sends(body, model)
    return body


def contents(*links: Sequence[Item], **options: Any) -> list[dict[str, Any]]:
    return build(*links, **options)["contents"]


def error(*links: Sequence[Item], **options: Any) -> ApiError:
    """The error in place of that request."""
    made = build_request(*links, **options)
    assert isinstance(made, ApiError), made
    return made


__all__ = [
    "Item",
    "block",
    "build",
    "build_request",
    "contents",
    "error",
    "lineage",
    "signed_lineage",
    "signed_reasoning",
]
