"""What a compaction keeps word for word, what it hands to a model to be summarised, and what it is afterwards.

Kept: developer and system messages, tool lists, the most recent user messages within a budget, calls that no output has
answered, and, where the turn goes on behind the compaction, its newest step. Everything else is in the summary, an
earlier compaction's summary included.
"""

import zlib
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Raw

from landline.session.lineage import Link, extend, is_kept_kind
from landline.wire.canonical import ITEM_DIGEST_BYTES, item_digest
from landline.wire.items import Item, decode_item, encode_item

RETAINED_MIN_BYTES = 4 * 1024
RETAINED_MAX_BYTES = 64 * 1024
"""Room for user messages: a quarter of the history, but within these: some 1,000 and 16,000 tokens."""
SUMMARY_MIN_TOKENS = 512
SUMMARY_MAX_TOKENS = 4096
"""Room for the summary: an eighth of the history's tokens, at four bytes a token, but within these."""
BYTES_PER_TOKEN = 4
"""To set room aside and to decide where nobody can count; never for a count that is told."""
SUMMARY_ID = "landline_summary"
"""Marks the summary among the items that a compaction opens to."""

_INSTRUCTION = """\
The conversation above is about to be replaced by a summary, so that it fits the context window again. Write that summary \
now, for the assistant that continues the work: it will see your summary and the most recent user messages, nothing else.

Say, as far as it applies:
- what the user wants, with every requirement, constraint and preference that still holds;
- what was done and found so far: decisions and their reasons, files, commands, names, numbers and errors, exactly;
- what is unfinished, and the next step.

Write plain text, as short as that allows. Do not call tools and do not answer the user: only write the summary."""
_HEADING = "Summary of the conversation up to here, which it replaces:"
_VERSION = 1


class Plan(msgspec.Struct, frozen=True, eq=False):
    """A compaction to be made."""

    head: Link | None
    """What is to be summarised, as a model reads it; None when nothing is."""
    before: tuple[Item, ...]
    """Kept items that stand before the summary."""
    after: tuple[Item, ...]
    """Kept items that stand behind it: open calls, then the newest step."""
    covers: frozenset[bytes]
    summary_tokens: int

    @property
    def prompt(self) -> Link | None:
        """The head with the demand for its summary."""
        return extend(self.head, [_user_message(_INSTRUCTION)])

    def payload(self, summary: str) -> bytes:
        """The compaction as bytes, to be sealed."""
        payload = _Payload(
            v=_VERSION,
            summary=summary,
            before=[Raw(item.raw) for item in self.before],
            after=[Raw(item.raw) for item in self.after],
            covers=b"".join(sorted(self.covers)),
        )
        return zlib.compress(msgspec.json.encode(payload))

    def opened(self, summary: str) -> tuple[Item, ...]:
        """What a model reads in place of everything so far."""
        return _opened(self.before, summary, self.after)


class Opened(msgspec.Struct, frozen=True):
    """What a payload says."""

    items: tuple[Item, ...]
    covers: frozenset[bytes]


def plan_compaction(history: Link, *, keeps_newest: bool, threshold_tokens: int | None = None) -> Plan:
    """How a lineage is compacted. `keeps_newest` leaves its newest step as it is: the turn will go on from there.

    With a threshold, summary and kept user messages get a quarter of it each at most: else the next turn would be over it.
    """
    shown = history.shown.all_items()
    start = _newest_step(shown) if keeps_newest else len(shown)
    head, newest = shown[:start], shown[start:]
    budget_bytes = _budget_bytes(history)
    summary_tokens = min(max(history.shown.size_bytes // 32, SUMMARY_MIN_TOKENS), SUMMARY_MAX_TOKENS)
    if threshold_tokens is not None:
        budget_bytes = min(budget_bytes, threshold_tokens * BYTES_PER_TOKEN // 4)
        summary_tokens = min(summary_tokens, max(threshold_tokens // 4, 1))
    return Plan(
        head=_first_items(history.shown, start) if _has_news(head) or not keeps_newest else None,
        before=(*_without_repeats(each for each in head if _is_standing(each)), *_recent_messages(head, budget_bytes)),
        after=(*_open_calls(head), *newest),
        covers=_covers(history),
        summary_tokens=summary_tokens,
    )


def open_payload(payload: bytes) -> Opened | None:
    """What a sealed payload says; None for one of another version."""
    data = zlib.decompress(payload)
    if msgspec.json.decode(data, type=_PayloadHead).v != _VERSION:
        return None
    value = msgspec.json.decode(data, type=_Payload)
    items = _opened(
        [decode_item(raw) for raw in value.before], value.summary, [decode_item(raw) for raw in value.after]
    )
    size = ITEM_DIGEST_BYTES
    return Opened(items, frozenset(value.covers[at : at + size] for at in range(0, len(value.covers), size)))


def retained_messages(compaction: Item, history: Link | None) -> list[Item]:
    """The user messages that a compaction of the history keeps word for word.

    Those of one that only its maker can read are not to be seen: as many of the newest as one of ours would keep.
    """
    if compaction.opened is not None:
        return [item for item in compaction.opened if item.role == "user" and item.id != SUMMARY_ID]
    return _recent_messages(history.shown.all_items(), _budget_bytes(history)) if history is not None else []


class _PayloadHead(msgspec.Struct):
    v: int


class _Payload(msgspec.Struct):
    v: int
    summary: str
    before: list[Raw]
    after: list[Raw]
    covers: bytes


def _opened(before: Iterable[Item], summary: str, after: Iterable[Item]) -> tuple[Item, ...]:
    told = _user_message(f"{_HEADING}\n\n{summary}")
    return (*before, msgspec.structs.replace(told, id=SUMMARY_ID), *after)


def _user_message(text: str) -> Item:
    return encode_item({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})


def _newest_step(items: Sequence[Item]) -> int:
    """Where the newest step begins: what the client said last, and, if that answers calls, the model's run that made
    them."""
    start = len(items)
    while start and not _is_models(items[start - 1]):
        start -= 1
    if any(_is_output(item) for item in items[start:]):
        while start and _is_models(items[start - 1]):
            start -= 1
    return start


def _first_items(link: Link, count: int) -> Link | None:
    """The lineage with only its first so many items, sharing what it can."""
    at: Link | None = link
    while at is not None and count <= at.item_count - len(at.items):
        at = at.parent
    if at is None or count == at.item_count:
        return at
    return extend(at.parent, at.items[: count - (at.item_count - len(at.items))])


def _has_news(items: Sequence[Item]) -> bool:
    """Whether there is anything that only a summary can stand for: not what an earlier compaction left behind."""
    newest = max((place for place, item in enumerate(items) if item.id == SUMMARY_ID), default=-1)
    return any(not _is_standing(item) for item in items[newest + 1 :])


def _is_standing(item: Item) -> bool:
    """Whether it holds for the whole conversation: developer and system messages, tool lists."""
    return is_kept_kind(item) and item.role != "user"


def _budget_bytes(history: Link) -> int:
    """Room for user messages."""
    return min(max(history.shown.size_bytes // 4, RETAINED_MIN_BYTES), RETAINED_MAX_BYTES)


def _recent_messages(items: Sequence[Item], budget_bytes: int) -> list[Item]:
    """The newest user messages that fit, oldest first; the first one that does not fit ends them."""
    kept: list[Item] = []
    for item in reversed(items):
        if item.type != "message" or item.role != "user" or item.id == SUMMARY_ID:
            continue
        budget_bytes -= len(item.raw)
        if budget_bytes < 0:
            break
        kept.append(item)
    return kept[::-1]


def _open_calls(items: Sequence[Item]) -> list[Item]:
    """Calls without an output among the items: their outputs are in the newest step or still to come."""
    answered = {item.call_id for item in items if _is_output(item)}
    return [item for item in items if _is_call(item) and item.call_id not in answered]


def _covers(history: Link) -> frozenset[bytes]:
    items = history.all_items()
    own = {item_digest(item) for item in items if is_kept_kind(item)}
    return frozenset(own.union(*(item.covers for item in items)))


def _without_repeats(items: Iterable[Item]) -> list[Item]:
    return list({item_digest(item): item for item in items}.values())


def _is_models(item: Item) -> bool:
    return item.role == "assistant" or item.type == "reasoning" or _is_call(item)


def _is_call(item: Item) -> bool:
    return item.call_id is not None and item.type.endswith("_call")


def _is_output(item: Item) -> bool:
    return item.call_id is not None and item.type.endswith("_output")
