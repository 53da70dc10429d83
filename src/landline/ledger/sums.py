"""Entries added up: for a lane, a session, a key, a model, a target, or the whole process."""

from collections.abc import Sequence
from operator import add

from msgspec.structs import astuple

from landline.ledger.entry import ByteCounts, Entry, Split, Tokens

Tally = tuple[float, ...]
"""One turn as numbers to add up: `_OWN`, then bytes, split and tokens in the order of their fields."""

_OWN = ("turns", "failed_turns", "warm_turns", "soft_turns", "hard_turns", "resends", "total_s")
_BYTES = slice(len(_OWN), len(_OWN) + len(ByteCounts.__struct_fields__))
_SPLIT = slice(_BYTES.stop, _BYTES.stop + len(Split.__struct_fields__))
_TOKENS = slice(_SPLIT.stop, _SPLIT.stop + len(Tokens.__struct_fields__))
_FAILED = frozenset(("refused", "failed", "aborted"))


def tally_of(entry: Entry) -> Tally:
    """The turn's numbers, to be added to several sums."""
    return (
        1,
        entry.outcome in _FAILED,
        entry.tokens.cached > 0,
        entry.affinity == "soft",
        entry.affinity == "hard",
        entry.resends,
        entry.times.total,
        *astuple(entry.bytes),
        *astuple(entry.split),
        *astuple(entry.tokens),
    )


class Sums:
    """Running sums; an entry is added in constant time, 1 µs when it was tallied before.

    They are replaced as a whole, so another thread reads them as they were after one turn or the next.
    """

    __slots__ = ("_sums",)

    def __init__(self) -> None:
        self._sums: Sequence[float] = [0] * _TOKENS.stop

    def add(self, entry: Entry) -> None:
        """Counts one more turn."""
        self._sums = list(map(add, self._sums, tally_of(entry)))

    def add_tally(self, tally: Tally) -> None:
        """Counts one more turn, of which this is `tally_of`."""
        self._sums = list(map(add, self._sums, tally))

    @property
    def bytes(self) -> ByteCounts:
        return ByteCounts(*map(int, self._sums[_BYTES]))

    @property
    def split(self) -> Split:
        return Split(*map(int, self._sums[_SPLIT]))

    @property
    def tokens(self) -> Tokens:
        return Tokens(*map(int, self._sums[_TOKENS]))

    @property
    def turns(self) -> int:
        return int(self._sums[0])

    @property
    def failed_turns(self) -> int:
        """Refused, failed or aborted."""
        return int(self._sums[1])

    @property
    def warm_turns(self) -> int:
        """Turns of which the model's server reused something."""
        return int(self._sums[2])

    @property
    def soft_turns(self) -> int:
        return int(self._sums[3])

    @property
    def hard_turns(self) -> int:
        return int(self._sums[4])

    @property
    def resends(self) -> int:
        return int(self._sums[5])

    @property
    def total_s(self) -> float:
        return self._sums[6]
