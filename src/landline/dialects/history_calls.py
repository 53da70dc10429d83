"""The calls of the model's newest message, and the outputs that came for them."""

import re
from collections.abc import Collection
from hashlib import blake2b
from typing import Generic

import msgspec

from landline.dialects.history_items import Content, PartT

NO_OUTPUT = "(no output yet)"
"""Stands for the output of a call that has none when the conversation goes on."""


class OpenCalls(msgspec.Struct, Generic[PartT]):
    """Calls by their places in the message: other servers may give two of them one id."""

    outputs: dict[int, Content[PartT]] = {}
    unanswered: dict[str, list[int]] = {}
    """The places of calls without an output, by their ids."""

    def copy(self) -> "OpenCalls[PartT]":
        """One that can be added to without changing this one."""
        return OpenCalls(dict(self.outputs), {call_id: list(places) for call_id, places in self.unanswered.items()})

    def add(self, call_id: str, place: int) -> None:
        """The model made a call."""
        self.unanswered.setdefault(call_id, []).append(place)

    def answer(self, call_id: str, output: Content[PartT]) -> bool:
        """Keeps the output of the first call of that id which has none; False if there is no such call."""
        places = self.unanswered.get(call_id)
        if places is None:
            return False
        self.outputs[places.pop(0)] = output
        if not places:
            del self.unanswered[call_id]
        return True

    def output(self, place: int) -> Content[PartT]:
        """What came for a call, or says that nothing did."""
        return self.outputs.get(place) or Content((NO_OUTPUT,))


class CallIdFormat(msgspec.Struct, frozen=True):
    """What the ids of one vendor look like."""

    taken_as_it_is: re.Pattern[str]
    prefix: str
    """What an id of ours begins with;"""
    digits: int
    """so many hexadecimal digits follow."""


class CallIds(msgspec.Struct, frozen=True):
    """The ids of a conversation, in sets that grow from the newest to the oldest and that longer conversations share:
    looking one up costs O(log n), and so does adding one."""

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
        """The same with more, none of which it has."""
        if not added:
            return self
        newest, older = frozenset(added), self if self.newest else None
        while older is not None and len(older.newest) <= len(newest):
            newest, older = newest | older.newest, older.older
        return CallIds(newest, older, self.count + len(added))


class CallIdWriter:
    """Gives ids to the calls that a conversation goes on with."""

    def __init__(self, before: CallIds, form: CallIdFormat) -> None:
        self._before = before
        self._form = form
        self._added: set[str] = set()

    def add(self, call_id: str) -> str:
        """The call id if the vendor takes it; else, and where it is taken, one made of it, the same one every time."""
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
