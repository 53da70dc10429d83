"""OpenRouter's `reasoning_details`: signed or encrypted reasoning of vendors, collected and sent back unchanged.

Collected by `stream`, sent back by `transcript`.

Gemini 3 refuses the outputs of calls whose signature is gone (OpenRouter guide on reasoning tokens; earendil-works/pi#260).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from landline.wire.readable import UNREADABLE

VENDOR = "chat_completions"
"""`Signed.by` of these details."""

_GROWING = {"reasoning.text": "text", "reasoning.summary": "summary"}
"""Detail type → its member that comes in pieces."""
_MEMBERS: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_encode = msgspec.json.Encoder().encode


class DetailCollector:
    """Assembles the details of one answer from their pieces."""

    def __init__(self) -> None:
        self._details: list[dict[str, Any]] = []
        self._texts: list[list[str]] = []
        """The text pieces of each detail."""

    def add(self, details: Sequence[Raw]) -> None:
        """Adds pieces. Consecutive pieces of the same type and index form one detail."""
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
        """The details so far as JSON objects, with the client's call ids; none if no detail is signed, as the text is emitted
        as reasoning anyway."""
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
    """Details for a request, with the call ids of that request."""
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
    """The members; empty if it is no object."""
    try:
        return _MEMBERS.decode(raw)
    except UNREADABLE:
        return {}
