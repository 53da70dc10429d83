"""Items by the bytes that clients spell them in: a history that is sent whole again is not decoded, checked and digested
again, only what is new in it."""

from collections.abc import Iterable
from itertools import repeat

import msgspec

from landline.wire.canonical import canonical_digest
from landline.wire.items import Item

ITEM_BYTES = 512
"""What an item costs beside its JSON, about (CPython 3.11)."""


class ItemMemo:
    """Decoded and checked items with their canonical digests, by tenant and bytes, under a byte budget.

    Two generations: when the young one is full it becomes the old one, and what is not asked for again is forgotten.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._generation_bytes = budget_bytes // 2
        self._size_bytes = 0
        self._young: dict[tuple[str, bytes], _Known] = {}
        self._old: dict[tuple[str, bytes], _Known] = {}

    def of(self, tenant: str) -> "KnownItems":
        """What a tenant has sent."""
        return KnownItems(self, tenant)

    def find(self, tenant: str, raws: Iterable[bytes]) -> list[Item | None]:
        """The items that these bytes were decoded to, None for those that are not known; equal bytes come as one object."""
        found = map(self._find, zip(repeat(tenant), raws, strict=False))
        return [known.item if known is not None else None for known in found]

    def keep(self, tenant: str, item: Item) -> None:
        """Remembers what `item.raw` was decoded to."""
        known = self._find((tenant, item.raw))
        if known is not None:
            known.item = item
        else:
            self._add((tenant, item.raw), _Known(item))

    def digests(self, tenant: str, items: Iterable[Item]) -> list[bytes]:
        """Each item's `canonical_digest`."""
        return [self._digest(tenant, item) for item in items]

    def _digest(self, tenant: str, item: Item) -> bytes:
        if item.opened is not None or item.signed is not None:
            return canonical_digest(item)  # it means more than its bytes say
        key = (tenant, item.raw)
        known = self._find(key)
        if known is None:
            known = _Known()
            self._add(key, known)
        if known.digest is None:
            known.digest = canonical_digest(item)
        return known.digest

    def _find(self, key: tuple[str, bytes]) -> "_Known | None":
        known = self._young.get(key)
        if known is None:
            known = self._old.get(key)
            if known is not None:
                self._add(key, known)
        return known

    def _add(self, key: tuple[str, bytes], known: "_Known") -> None:
        size_bytes = len(key[1]) + ITEM_BYTES
        if size_bytes > self._generation_bytes:
            return
        self._size_bytes += size_bytes
        if self._size_bytes > self._generation_bytes:
            self._old, self._young = self._young, {}
            self._size_bytes = size_bytes
        self._young[key] = known


class KnownItems(msgspec.Struct, frozen=True, eq=False):
    """One tenant's part of the memo."""

    _memo: ItemMemo
    _tenant: str

    def find(self, raws: Iterable[bytes]) -> list[Item | None]:
        """As `ItemMemo.find`."""
        return self._memo.find(self._tenant, raws)

    def keep(self, item: Item) -> None:
        """As `ItemMemo.keep`."""
        self._memo.keep(self._tenant, item)


class _Known(msgspec.Struct):
    item: Item | None = None
    digest: bytes | None = None
