"""The tool calls of a conversation: which of them are unanswered, and the ids under which a vendor accepts them.

Used by the transcript writers of the dialects.
"""

import re
from collections.abc import Collection
from hashlib import blake2b
from typing import Generic

import msgspec

from landline.dialects.history_items import Content, PartT

NO_OUTPUT = "(no output yet)"
"""Sent as the output of a call that has none when the conversation continues."""


class OpenCalls(msgspec.Struct, Generic[PartT]):
    """The calls of the model's newest message by position, with their outputs. Two calls may share an id: servers repeat them."""

    outputs: dict[int, Content[PartT]] = {}
    unanswered: dict[str, list[int]] = {}
    """Positions of the calls without an output, by call id."""

    def copy(self) -> "OpenCalls[PartT]":
        """A copy that can be added to without changing this one."""
        return OpenCalls(dict(self.outputs), {call_id: list(places) for call_id, places in self.unanswered.items()})

    def add(self, call_id: str, place: int) -> None:
        """The model made a call."""
        self.unanswered.setdefault(call_id, []).append(place)

    def answer(self, call_id: str, output: Content[PartT]) -> bool:
        """Assigns the output to the first unanswered call of that id; False if there is none."""
        places = self.unanswered.get(call_id)
        if places is None:
            return False
        self.outputs[places.pop(0)] = output
        if not places:
            del self.unanswered[call_id]
        return True

    def output(self, place: int) -> Content[PartT]:
        """The output of a call, or a note that there is none yet."""
        return self.outputs.get(place) or Content((NO_OUTPUT,))


class CallIdFormat(msgspec.Struct, frozen=True):
    """The format of the call ids that one vendor accepts."""

    taken_as_it_is: re.Pattern[str]
    prefix: str
    """How the ids that Landline makes begin."""
    digits: int
    """How many hexadecimal digits follow."""


class CallIds(msgspec.Struct, frozen=True):
    """The call ids of a conversation: an immutable linked list of sets that grow from the newest to the oldest.

    Continuations share the older sets. Sets of similar size are merged, so a look-up and an addition cost O(log n).
    """

    newest: frozenset[str] = frozenset()
    older: "CallIds | None" = None
    count: int = 0

    def __contains__(self, upstream_id: str) -> bool:
        ids: CallIds | None = self
        while ids is not None:
            if upstream_id in ids.newest:
                return True
            ids = ids.older
        return False

    def with_ids(self, added: Collection[str]) -> "CallIds":
        """The ids with more added, none of which may be there already."""
        if not added:
            return self
        newest, older = frozenset(added), self if self.newest else None
        # Merging like a binary counter keeps the list O(log n) long, and adding amortised O(log n).
        while older is not None and len(older.newest) <= len(newest):
            newest, older = newest | older.newest, older.older
        return CallIds(newest, older, self.count + len(added))


class CallIdWriter:
    """Gives upstream ids to the calls with which a conversation continues."""

    def __init__(self, before: CallIds, form: CallIdFormat) -> None:
        self._before = before
        self._form = form
        self._added: set[str] = set()

    def add(self, call_id: str) -> str:
        """The call id if the vendor accepts it and it is unused; otherwise an id derived from it, the same one every time."""
        form, before, added = self._form, self._before, self._added
        upstream_id = call_id if form.taken_as_it_is.fullmatch(call_id) else _hashed(call_id, form)
        times = before.count + len(added)
        while upstream_id in added or upstream_id in before:
            upstream_id = _hashed(f"{call_id}\0{times}", form)
            times += 1
        added.add(upstream_id)
        return upstream_id

    def call_ids(self) -> CallIds:
        """All ids of the conversation."""
        return self._before.with_ids(self._added)


def _hashed(text: str, form: CallIdFormat) -> str:
    return form.prefix + blake2b(text.encode(), digest_size=12).hexdigest()[: form.digits]
