"""Where state is: which target last served a lineage, a key, and who made a compaction. In memory only, bounded."""

from collections.abc import Collection
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from landline.lru_dict import LruDict
from landline.session.lineage import Link
from landline.wire.canonical import canonical_digest
from landline.wire.items import Item

MAX_ANCHORS = 65_536
"""Lineages, keys and compactions remembered, of each so many: some 15 MB at most. A turn adds one lineage."""
_KEY_BYTES = 16

_Key = tuple[str, bytes]
"""A tenant, and a digest or an affinity key."""


class TargetModel(NamedTuple):
    """Where state can be warm: one model at one target."""

    target: str
    model: str
    """As the target calls it."""


class Found(msgspec.Struct, frozen=True):
    """A prefix of a lineage that is warm somewhere."""

    place: TargetModel
    item_count: int
    """Items of the prefix."""


class Warmth:
    """What was served where. Everything belongs to a tenant."""

    def __init__(self, max_anchors: int = MAX_ANCHORS) -> None:
        self._lineages: LruDict[_Key, TargetModel] = LruDict(max_anchors)
        self._keys: LruDict[_Key, TargetModel] = LruDict(max_anchors)
        self._makers: LruDict[_Key, str] = LruDict(max_anchors)

    def remember(self, tenant: str, history: Link, place: TargetModel) -> None:
        """A lineage, what the model wrote included, is warm here now. O(items of the last turn)."""
        self._lineages.put((tenant, history.digest), place)

    def remember_key(self, tenant: str, affinity_key: str, place: TargetModel) -> None:
        """A turn under this key was served here."""
        self._keys.put((tenant, affinity_key.encode()), place)

    def remember_maker(self, tenant: str, history: Link, target: str) -> None:
        """What is sealed in the lineage was made at this target, unless the maker is known already."""
        sealed = sealed_item(history)
        if sealed is not None and self._makers.get((tenant, canonical_digest(sealed))) is None:
            self._makers.put((tenant, canonical_digest(sealed)), target)

    def find(self, tenant: str, history: Link, places: Collection[TargetModel]) -> Found | None:
        """The longest prefix that is warm at one of the places. A warm turn looks up its new items only."""
        item_count = history.item_count
        for digest in history.digests_newest_first():
            place = self._lineages.get((tenant, digest))
            if place is not None and place in places:
                return Found(place, item_count)
            item_count -= 1
        return None

    def find_key(self, tenant: str, affinity_key: str) -> TargetModel | None:
        """Where the key was last served."""
        return self._keys.get((tenant, affinity_key.encode()))

    def find_maker(self, tenant: str, history: Link) -> str | None:
        """The target that made what is sealed in the lineage; None if nothing is, or nobody knows."""
        sealed = sealed_item(history)
        return None if sealed is None else self._makers.get((tenant, canonical_digest(sealed)))


def conversation_key(tenant: str, history: Link | None) -> str | None:
    """Names the conversation by how it began: everything before the first item that a model wrote.

    So it is the same in each turn of an agent run, whether its client plays back the whole history or continues by id, and
    after a restart. It reveals neither tenant nor content. Conversations of a tenant that begin alike share one.
    """
    if history is None:
        return None
    key = blake2b(tenant.encode() + b"\0", digest_size=_KEY_BYTES)
    for link in history.chain():
        for item in link.items:
            if is_written(item):
                return key.hexdigest()
            key.update(canonical_digest(item))
    return key.hexdigest()


def sealed_item(history: Link) -> Item | None:
    """The newest compaction of the lineage that nobody here can open: only who made it can read it."""
    link: Link | None = history.shown
    if not link.is_sealed:
        return None
    while link is not None:
        for item in reversed(link.items):
            if item.type == "compaction" and item.opened is None:
                return item
        link = link.parent
    return None


def is_written(item: Item) -> bool:
    """Whether a model wrote it, or made it."""
    return item.role == "assistant" or item.type in ("reasoning", "compaction") or item.type.endswith("_call")
