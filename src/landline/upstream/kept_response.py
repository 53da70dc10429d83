"""What an upstream keeps of a response that it told: its id, and the items that the next turn finds in its history."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from landline.session.lineage import Link, extend_digests
from landline.session.relay import final_items
from landline.wire.event_names import ITEM_ADDED, ITEM_EVENTS, TERMINAL
from landline.wire.items import Item, decode_item
from landline.wire.model_events import Relayed
from landline.wire.readable import UNREADABLE


class _KeptHead(msgspec.Struct):
    id: str | None = None
    output: list[Raw] | None = None


_KEPT_HEAD: msgspec.json.Decoder[_KeptHead] = msgspec.json.Decoder(_KeptHead)
_INDEX: msgspec.json.Decoder[int | None] = msgspec.json.Decoder(int | None)
_NULL = Raw(b"null")


class KeptResponse:
    """One response of an upstream, read while it is relayed. Its items are those that the client's history gets."""

    def __init__(self) -> None:
        self._told: _KeptHead | None = None
        self._items: dict[int, Raw] = {}
        self._open: set[int] = set()
        self._is_broken = False
        """Whether something of it was not understood."""

    @property
    def is_ended(self) -> bool:
        """Whether the response's own end was told."""
        return self._told is not None

    def note(self, event: Relayed) -> None:
        """Takes one event; malformed ones leave nothing to go on from."""
        try:
            if event.kind in TERMINAL:
                self._told = _KeptHead()
                self._told = _KEPT_HEAD.decode(event.members.get("response", Raw(b"{}")))
            elif event.kind in ITEM_EVENTS:
                index = _INDEX.decode(event.members.get("output_index", _NULL)) or 0
                if event.kind == ITEM_ADDED:
                    self._open.add(index)
                else:
                    self._open.discard(index)
                    self._items[index] = event.members.get("item", _NULL)
        except UNREADABLE:
            self._is_broken = True

    def anchor(self, history: Link | None) -> tuple[bytes, str] | None:
        """The digest of the history with this response's items, and its id; None if nothing can go on from it."""
        if self._told is None or self._told.id is None or self._is_broken:
            return None
        raws = [self._items[index] for index in sorted(self._items)]
        if self._open and not self._told.output:
            return None  # the upstream may hold what it began of an item, and the client does not
        raws = final_items(raws, self._told.output or (), has_open=bool(self._open))
        before = history.digest if history is not None else b""
        try:
            digests = extend_digests(before, _items(raws))
        except UNREADABLE:
            return None
        digest = digests[-1] if digests else before
        return (digest, self._told.id) if digest else None


def _items(raws: Sequence[Raw]) -> list[Item]:
    return [decode_item(raw) for raw in raws]
