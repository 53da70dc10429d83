"""What `truncation: "auto"` leaves out of a conversation that does not fit: the oldest first, never half a tool call."""

from collections.abc import Sequence

from landline.session.lineage import Link, extend, is_kept_kind
from landline.wire.items import Item

DROPPED_SHARE = 8
"""An eighth of what may go is dropped at a time: little is lost for nothing, and few tries are needed."""


def drop_oldest(history: Link) -> Link | None:
    """The conversation, as a model reads it, without its oldest part; None if nothing more may go.

    What stays in any case: developer and system messages, tool lists, and what the client said last. A call goes
    together with its output, one that waits for its output stays.
    """
    items = history.shown.all_items()
    groups = _droppable_groups(items)
    if not groups:
        return None
    size_bytes = sum(len(items[place].raw) for group in groups for place in group)
    dropped: set[int] = set()
    dropped_bytes = 0
    for group in groups:
        dropped.update(group)
        dropped_bytes += sum(len(items[place].raw) for place in group)
        if dropped_bytes * DROPPED_SHARE >= size_bytes:
            break
    return extend(None, [item for place, item in enumerate(items) if place not in dropped])


def _droppable_groups(items: Sequence[Item]) -> list[list[int]]:
    """Places of items that go together, oldest first: a call with its outputs, anything else alone."""
    newest = _newest_words(items)
    groups: dict[str | int, list[int]] = {}
    for place, item in enumerate(items):
        if not is_kept_kind(item) or item.role == "user":
            groups.setdefault(item.call_id or place, []).append(place)
    return [group for group in groups.values() if group[-1] < newest and not _is_open_call(items, group)]


def _is_open_call(items: Sequence[Item], group: Sequence[int]) -> bool:
    """Whether the output of the call is still to come."""
    return items[group[-1]].call_id is not None and items[group[-1]].type.endswith("_call")


def _newest_words(items: Sequence[Item]) -> int:
    """Where what the client said last begins."""
    start = len(items)
    while start and (is_kept_kind(items[start - 1]) or items[start - 1].type.endswith("_output")):
        start -= 1
    return start
