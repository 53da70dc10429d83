"""The immutable history that a turn continues: a persistent linked list of links, structurally shared.

A response adds two links: one for its new input (made when the turn starts) and one for its output (made when it ends).
Continuing is O(new items), a fork is a second child, forgetting is dropping a pointer.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

from landline.session.playback import NOTHING, Replay, extend_replay
from landline.wire.canonical import canonical_digest, item_digest
from landline.wire.items import Item

DIGEST_BYTES = 16

_State = TypeVar("_State")


class Link:
    """Some items and the link they follow. Immutable but for caches of what is derived from its own items."""

    __slots__ = (
        "_carried",
        "_digests",
        "_folds",
        "_replay",
        "_shown",
        "context_tokens",
        "depth",
        "is_sealed",
        "item_count",
        "items",
        "parent",
        "size_bytes",
        "tool_items",
    )

    def __init__(
        self, parent: "Link | None", items: Sequence[Item], *, digests: tuple[bytes, ...] | None = None
    ) -> None:
        """`digests` are its own, one an item, where they are known already."""
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
        self.is_sealed: bool = (parent is not None and parent.is_sealed) or any(
            item.type == "compaction" and item.opened is None for item in self.items
        )
        """Whether it holds a compaction that only whoever made it can read."""
        self.context_tokens: int | None = None
        """Tokens that a model reported for the lineage up to here, what it wrote included; None when none did."""
        self._digests = digests
        self._replay: Replay | None = None
        self._folds: dict[str, Any] = {}
        self._carried: dict[str, list[Any]] = {}
        """The states of the whole lineage, one a link, on the newest link of a branch that was asked for them."""
        self._shown = _show(parent, self.items)

    @property
    def shown(self) -> "Link":
        """The lineage as a model reads it: what sealed items say in their place, nothing that a compaction stands for.

        The newest compaction starts the conversation over. Messages and tool lists before it that it has never seen
        come first: clients put fresh ones of their own in front of a compaction. The link itself if nothing is sealed.
        """
        return self._shown or self

    @property
    def digests(self) -> tuple[bytes, ...]:
        """The digest chain over this link's items: `d(i+1) = H(d(i), H(canonical(item i)))`, computed once."""
        if self._digests is None:
            self._digests = extend_digests(self.digest_before(), self.items)
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
            ancestor._digests = extend_digests(before, ancestor.items)
        return self.parent.digest if self.parent is not None else b""

    def digests_newest_first(self) -> Iterator[bytes]:
        """Every prefix of the lineage as a digest, longest first."""
        link: Link | None = self
        while link is not None:
            yield from reversed(link.digests)
            link = link.parent

    def items_after(self, digest: bytes) -> list[Item] | None:
        """The items behind the prefix of that digest, oldest first; None if no prefix has it. O(those items)."""
        newer: list[Item] = []
        link: Link | None = self
        while link is not None:
            if digest in link.digests:
                return [*link.items[link.digests.index(digest) + 1 :], *reversed(newer)]
            newer += reversed(link.items)
            link = link.parent
        return None

    def items_behind(self, count: int) -> list[Item]:
        """The items behind the first `count`, which end with a link, oldest first. O(those items)."""
        newer: list[Link] = []
        link: Link | None = self
        while link is not None and link.item_count > count:
            newer.append(link)
            link = link.parent
        return [item for each in reversed(newer) for item in each.items]

    def folds(self, key: str, step: Callable[[_State | None, Sequence[Item]], _State]) -> list[_State]:
        """A state carried over the lineage, one a link, root first; each link's is made once per `key`.

        `step` gets the parent's state (None at the root) and the link's items; it must depend on nothing else but `key`.
        What is carried on from the newest link that was asked last costs nothing for the links behind it.
        """
        newer: list[Link] = []
        states: list[_State] | None = None
        link: Link | None = self
        while link is not None:
            states = link._carried.pop(key, None)
            if states is not None:
                break
            newer.append(link)
            link = link.parent
        states = states or []
        for each in reversed(newer):
            state: _State | None = each._folds.get(key)
            if state is None:
                state = each._folds[key] = step(states[-1] if states else None, each.items)
            states.append(state)
        self._carried[key] = states
        return states.copy()

    @property
    def replay(self) -> Replay:
        """What a client without a session plays back of the lineage.

        It may leave out what a compaction that it was given stands for. Computed once a link, when it is asked for.
        """
        missing: list[Link] = []
        link: Link | None = self
        while link is not None and link._replay is None:
            missing.append(link)
            link = link.parent
        before = link._replay if link is not None else None
        for each in reversed(missing):
            before = each._replay = extend_replay(before or NOTHING, each.items, is_first=before is None)
        return before or NOTHING

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


def extend_digests(before: bytes, items: Iterable[Item]) -> tuple[bytes, ...]:
    """The digest chain over items that follow a history of that digest (b"" for none)."""
    return chain_digests(before, map(canonical_digest, items))


def chain_digests(before: bytes, item_digests: Iterable[bytes]) -> tuple[bytes, ...]:
    """The same for items whose canonical digests are known."""
    digests: list[bytes] = []
    for each in item_digests:
        before = blake2b(before + each, digest_size=DIGEST_BYTES).digest()
        digests.append(before)
    return tuple(digests)


def _show(parent: Link | None, items: tuple[Item, ...]) -> Link | None:
    """What a model reads in place of the link; None if that is the link itself."""
    newest = max((place for place, item in enumerate(items) if item.type == "compaction" and item.opened), default=None)
    if newest is not None:
        compaction = items[newest]
        before = [*(parent.all_items() if parent is not None else ()), *items[:newest]]
        unseen = [item for item in before if is_kept_kind(item) and item_digest(item) not in compaction.covers]
        return Link(None, [*unseen, *_said((compaction, *items[newest + 1 :]))])
    before_shown = parent.shown if parent is not None else None
    if before_shown is parent and not any(item.opened for item in items):
        return None
    return Link(before_shown, _said(items))


def is_kept_kind(item: Item) -> bool:
    """Whether it is a client's message or a tool list: what a compaction accounts for one by one."""
    return item.type == "additional_tools" or (item.type == "message" and item.role != "assistant")


def _said(items: Iterable[Item]) -> list[Item]:
    return [said for item in items for said in (item.opened or (item,))]
