"""OpenRouter's `reasoning_details`: what vendors signed or encrypted of the reasoning, to be sent back as it came.

Gemini 3 refuses the outputs of calls whose signature is gone (OpenRouter guide on reasoning tokens; earendil-works/pi#260).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from landline.wire.readable import UNREADABLE

VENDOR = "chat_completions"
"""`Signed.by` of details that go back."""

_GROWING = {"reasoning.text": "text", "reasoning.summary": "summary"}
"""Members that come in pieces, by kind."""
_MEMBERS: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_encode = msgspec.json.Encoder().encode


class DetailCollector:
    """The details of one answer, put together from their pieces."""

    def __init__(self) -> None:
        self._details: list[dict[str, Any]] = []
        self._texts: list[list[str]] = []
        """What has grown of each of them."""

    def add(self, details: Sequence[Raw]) -> None:
        """More pieces: those of one kind and index that follow each other are one detail."""
        for raw in details:
            piece = _read(raw)
            last = self._details[-1] if self._details else {}
            growing = _GROWING.get(piece.get("type", ""))
            text = piece.pop(growing, None) if growing is not None else None
            is_more = growing is not None and _place(piece) == _place(last)
            if is_more:
                last.update({name: value for name, value in piece.items() if value is not None})
            elif piece:
                self._details.append(piece)
                self._texts.append([])
            if isinstance(text, str):
                self._texts[-1].append(text)

    def take(self, renamed: Mapping[str, str]) -> list[str]:
        """The details so far as JSON objects, under the ids that our client knows their calls by; none if nothing of them is
        signed: their text is reasoning like any other."""
        details, texts, self._details, self._texts = self._details, self._texts, [], []
        if not any(detail.get("signature") or detail.get("data") for detail in details):
            return []
        made: list[str] = []
        for detail, pieces in zip(details, texts, strict=True):
            growing = _GROWING.get(detail.get("type", ""))
            grown = {growing: "".join(pieces)} if growing is not None else {}
            made.append(_encode(_renamed({**detail, **grown}, renamed)).decode())
        return made


def with_ids(blocks: Sequence[str], upstream_ids: Mapping[str, str]) -> list[Raw]:
    """Details for a request, under the ids that their calls have in it."""
    changed = {call_id: upstream_id for call_id, upstream_id in upstream_ids.items() if call_id != upstream_id}
    if not changed:
        return [Raw(block.encode()) for block in blocks]
    return [Raw(_encode(_renamed(_MEMBERS.decode(block), changed))) for block in blocks]


def _renamed(detail: dict[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    detail_id = detail.get("id")
    return {**detail, "id": ids[detail_id]} if isinstance(detail_id, str) and detail_id in ids else detail


def _place(detail: Mapping[str, Any]) -> tuple[object, object]:
    return detail.get("type"), detail.get("index")


def _read(raw: Raw) -> dict[str, Any]:
    """The members; none if it is no object."""
    try:
        return _MEMBERS.decode(raw)
    except UNREADABLE:
        return {}
