"""The one dictionary that forgets by use: caches and memories of bounded size are kept in it.

Used by the session's memory of responses, the tool lists of dialects, the router's warmth, stores and targets.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class LruDict(Generic[_Key, _Value]):
    """Entries in order of use, the least recently used first.

    With `max_count`, one entry too many drops the first. Without it, the caller decides what to forget (`pop_oldest`), as
    where memory is counted in bytes.
    """

    def __init__(self, max_count: int | None = None) -> None:
        self._max_count = max_count
        self._entries: OrderedDict[_Key, _Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: _Key) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[_Key]:
        """The keys, the least recently used first."""
        return iter(self._entries)

    def get(self, key: _Key) -> _Value | None:
        """The value, now the most recently used; None if there is none."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def peek(self, key: _Key) -> _Value | None:
        """The value, without counting as a use."""
        return self._entries.get(key)

    def put(self, key: _Key, value: _Value) -> tuple[_Key, _Value] | None:
        """Adds or replaces the value, now the most recently used. Returns the entry that was dropped for it, if any."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if self._max_count is not None and len(self._entries) > self._max_count:
            return self._entries.popitem(last=False)
        return None

    def pop(self, key: _Key) -> _Value | None:
        """Removes the entry and returns its value; None if there is none."""
        return self._entries.pop(key, None)

    def pop_oldest(self) -> tuple[_Key, _Value]:
        """Removes and returns the least recently used entry. Raises KeyError if there is none."""
        return self._entries.popitem(last=False)

    def items(self) -> Iterator[tuple[_Key, _Value]]:
        """The entries, the least recently used first."""
        return iter(self._entries.items())

    def clear(self) -> None:
        self._entries.clear()
