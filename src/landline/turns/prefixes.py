"""The prefix index: a history that is sent whole is recognised as the continuation of one that is remembered.

Digests name what a lineage means, whoever spells it (`wire.canonical`), so a turn without a parent is looked up by what it
says. The longest known prefix stands in for the turn's own first items: then its links, with all that was made of them,
are shared, and the turn is a continuation to everything behind, as if the client had named a parent. It gives nothing to
a client that did not send it all, and tenants never meet. Memory only.

The index also knows which stored response ends in a lineage, so that the store need not keep again what it has.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from landline.lru_dict import LruDict
from landline.session.held_links import HeldLinks, own_bytes
from landline.session.lineage import Link, chain_digests
from landline.session.turn import StoredPrefix, Turn
from landline.wire.item_memo import ITEM_BYTES, ItemMemo
from landline.wire.items import Item

LINK_BYTES = 1024
"""What a link costs beside its items, about (CPython 3.11): it is counted, so that many small histories do not outgrow the
budget. Not counted is what dialects make of items, about their size again for each dialect in use."""
_MEMO_SHARE = 4


class PrefixSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much history is remembered, to recognise clients that send theirs whole."""

    budget_bytes: Annotated[int, msgspec.Meta(ge=0)] = 256 * 1024 * 1024
    """Memory for it, in bytes; beyond it, what was used least recently is forgotten. 0 turns it off."""


class PrefixIndex:
    """Lineages of finished turns, by tenant and digest: an LRU of whole branches under a byte budget."""

    def __init__(self, settings: PrefixSettings | None = None) -> None:
        budget_bytes = (settings or PrefixSettings()).budget_bytes
        self._budget_bytes = budget_bytes - budget_bytes // _MEMO_SHARE
        self.item_memo = ItemMemo(budget_bytes // _MEMO_SHARE)
        """A quarter of the budget: it is filled where items come in."""
        self._held = HeldLinks(_cost)
        self._links: dict[tuple[str, bytes], Link] = {}
        """Every held link by the digest of the history that ends in it."""
        self._stored: dict[tuple[str, bytes], _StoredEnd] = {}
        """Of held links: the newest stored response whose input, or whose output, ends the same history."""
        self._ends: dict[tuple[str, str], Link] = {}
        """Of the stored responses whose output ends one: that history."""
        self._tips: LruDict[tuple[str, bytes], Link] = LruDict()
        """The newest links of branches, those used least recently first: what holds all the others."""

    @property
    def is_on(self) -> bool:
        return self._budget_bytes > 0

    @property
    def size_bytes(self) -> int:
        """What the remembered lineages cost."""
        return self._held.size_bytes

    def adopt(self, turn: Turn) -> tuple[Turn, int]:
        """The turn on the longest remembered lineage that its own history begins with, and how many of its items that has;
        the same turn and 0 if there is none.

        Only a turn that brought its whole history is looked up. The replaced items mean what the remembered ones mean:
        a model reads the same either way.
        """
        history = turn.history
        is_whole = turn.request.previous_response_id is None and turn.conversation_id is None
        if history is None or history.parent is not None or not is_whole or not self._budget_bytes:
            return turn, 0
        items = history.items
        digests = chain_digests(b"", self.item_memo.digests(turn.tenant, items))
        for count in range(len(items), 0, -1):
            key = (turn.tenant, digests[count - 1])
            known = self._links.get(key)
            if known is not None and known.is_sealed == _is_sealed(items[:count]):
                self._tips.get(key)
                rest = Link(known, items[count:], digests=digests[count:]) if count < len(items) else known
                return msgspec.structs.replace(turn, history=rest), count
        return msgspec.structs.replace(turn, history=Link(None, items, digests=digests)), 0

    def find_stored(self, turn: Turn) -> Turn:
        """The turn with the longest part of its history that is known to be in the store.

        Of a turn that is not stored itself nothing is looked up, nor of one whose parent is in the store anyway.
        """
        is_wanted = turn.request.store is not False and turn.conversation_id is None and turn.stored_parent_id is None
        link = turn.history if is_wanted and self._stored else None
        if link is not None and 0 < len(turn.items) < link.item_count:
            link = link.parent  # what it brought itself is its own input, whoever said the same before
        while link is not None:
            end = self._stored.get((turn.tenant, link.digest))
            if end is not None:
                stored = StoredPrefix(end.response_id, link.item_count, end.is_input)
                return msgspec.structs.replace(turn, stored_prefix=stored)
            link = link.parent
        return turn

    def find_response(self, tenant: str, response_id: str) -> Link | None:
        """The history of a stored response, if it is remembered; whether the response is still there, the store knows."""
        history = self._ends.get((tenant, response_id))
        if history is not None:
            self._tips.get((tenant, history.digest))
        return history

    def remember(
        self, tenant: str, history: Link | None, *, asked: Link | None = None, stored_id: str | None = None
    ) -> None:
        """Remembers the lineage of a finished turn, its output included, and forgets others while over the budget.

        `stored_id` is the turn's response if it is in the store and may be continued there, and `asked` the lineage
        without the output: clients that play back less than they were told go on from there.
        """
        if history is None or not self._budget_bytes:
            return
        tip = self._on_known(tenant, history)
        if tip not in self._held:
            self._add_tip((tenant, tip.digest), tip)
        else:
            self._tips.get((tenant, tip.digest))
        if stored_id is not None:
            self._note_stored(tenant, tip, asked, stored_id)
        while self._held.size_bytes > self._budget_bytes and len(self._tips):
            (oldest_tenant, _), link = self._tips.pop_oldest()
            for gone in self._held.release(link):
                del self._links[oldest_tenant, gone.digest]
                end = self._stored.pop((oldest_tenant, gone.digest), None)
                if end is not None:
                    self._ends.pop((oldest_tenant, end.response_id), None)

    def _note_stored(self, tenant: str, history: Link, asked: Link | None, response_id: str) -> None:
        """The newest response is noted, because it is kept longest; but a whole one rather than the input of one."""
        before = self._stored.get((tenant, history.digest))
        if before is not None:
            self._ends.pop((tenant, before.response_id), None)
        self._stored[tenant, history.digest] = _StoredEnd(response_id, is_input=False)
        self._ends[tenant, response_id] = history
        if asked is not None:
            known = self._stored.get((tenant, asked.digest))
            if known is None or known.is_input:
                self._stored[tenant, asked.digest] = _StoredEnd(response_id, is_input=True)

    def _on_known(self, tenant: str, history: Link) -> Link:
        """The lineage on the links that are remembered already: what was loaded from a store is a copy of them."""
        newer: list[Link] = []
        link: Link | None = history
        while link is not None:
            known = self._links.get((tenant, link.digest))
            if known is link:
                return history
            if known is not None:
                return _again(known, newer)
            newer.append(link)
            link = link.parent
        return history

    def _add_tip(self, key: tuple[str, bytes], tip: Link) -> None:
        """A new branch; one that it continues is no branch of its own any more."""
        tenant = key[0]
        self._tips.put(key, tip)
        new = self._held.hold(tip)
        for link in new:
            self._links[tenant, link.digest] = link
        continued = self._tips.pop((tenant, new[-1].digest_before()))
        self._held.release(continued)


class _StoredEnd(msgspec.Struct, frozen=True):
    response_id: str
    is_input: bool


def _is_sealed(items: Sequence[Item]) -> bool:
    """Whether there is a compaction that does not open here: `Link.is_sealed`, which digests do not tell."""
    return any(item.type == "compaction" and item.opened is None for item in items)


def _cost(link: Link) -> int:
    return own_bytes(link) + LINK_BYTES + ITEM_BYTES * len(link.items)


def _again(parent: Link, newer: list[Link]) -> Link:
    """The links, newest first, made again behind another parent of the same meaning."""
    for link in reversed(newer):
        parent = Link(parent, link.items, digests=link.digests)
        parent.context_tokens = link.context_tokens
    return parent
