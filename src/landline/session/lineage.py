"""The immutable history that a turn continues: a persistent linked list of links, structurally shared.

A response adds two links: one for its new input (made when the turn starts) and one for its output (made when it ends).
Continuing is O(new items), a fork is a second child, forgetting is dropping a pointer.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

from landline.wire.canonical import canonical
from landline.wire.items import Item

DIGEST_BYTES = 16

_State = TypeVar("_State")


class Link:
    """Some items and the link they follow. Immutable but for caches of what is derived from its own items."""

    __slots__ = (
        "_digests",
        "_folds",
        "depth",
        "item_count",
        "items",
        "parent",
        "size_bytes",
        "tool_items",
    )

    def __init__(self, parent: "Link | None", items: Sequence[Item]) -> None:
        self.parent = parent
        self.items = tuple(items)
        self.depth: int = 1 + (parent.depth if parent is not None else 0)
        """Links from the root to here."""
        self.item_count: int = len(self.items) + (parent.item_count if parent is not None else 0)
        """Items of the whole lineage."""
        self.size_bytes: int = sum(len(item.raw) for item in self.items) + (
            parent.size_bytes if parent is not None else 0
        )
        """JSON bytes of the items of the whole lineage."""
        inherited = parent.tool_items if parent is not None else ()
        own = tuple(item for item in self.items if item.type == "additional_tools")
        self.tool_items: tuple[Item, ...] = inherited + own if own else inherited
        """Every `additional_tools` item of the lineage, oldest first: they stay in force."""
        self._digests: tuple[bytes, ...] | None = None
        self._folds: dict[str, Any] = {}

    @property
    def digests(self) -> tuple[bytes, ...]:
        """The digest chain over this link's items: `d(i+1) = H(d(i), canonical(item i))`, computed once."""
        if self._digests is None:
            self._digests = _extend_digests(self.digest_before(), self.items)
        return self._digests

    @property
    def digest(self) -> bytes:
        """The digest of the whole lineage up to and with this link; b"" for no items."""
        return self.digests[-1] if self.items else self.digest_before()

    def digest_before(self) -> bytes:
        """The digest of the history that this link's items follow."""
        missing: list[Link] = []
        link = self.parent
        while link is not None and link._digests is None:
            missing.append(link)
            link = link.parent
        for ancestor in reversed(missing):
            before = ancestor.parent.digest if ancestor.parent is not None else b""
            ancestor._digests = _extend_digests(before, ancestor.items)
        return self.parent.digest if self.parent is not None else b""

    def digests_newest_first(self) -> Iterator[bytes]:
        """Every prefix of the lineage as a digest, longest first."""
        link: Link | None = self
        while link is not None:
            yield from reversed(link.digests)
            link = link.parent

    def folds(self, key: str, step: Callable[[_State | None, Sequence[Item]], _State]) -> list[_State]:
        """A state carried over the lineage, one a link, root first; each link's is made once per `key`.

        `step` gets the parent's state (None at the root) and the link's items; it must depend on nothing else but `key`.
        """
        states: list[_State] = []
        state: _State | None = None
        for link in self.chain():
            made: _State | None = link._folds.get(key)
            if made is None:
                made = link._folds[key] = step(state, link.items)
            state = made
            states.append(made)
        return states

    def chain(self) -> list["Link"]:
        """The links from the root to here."""
        links: list[Link] = []
        link: Link | None = self
        while link is not None:
            links.append(link)
            link = link.parent
        links.reverse()
        return links

    def all_items(self) -> list[Item]:
        """Every item of the lineage, oldest first."""
        return [item for link in self.chain() for item in link.items]


def extend(parent: Link | None, items: Sequence[Item]) -> Link | None:
    """The lineage with more items; the same lineage when there are none."""
    return Link(parent, items) if items else parent


def _extend_digests(before: bytes, items: Sequence[Item]) -> tuple[bytes, ...]:
    digests: list[bytes] = []
    for item in items:
        before = blake2b(before + canonical(item), digest_size=DIGEST_BYTES).digest()
        digests.append(before)
    return tuple(digests)
