"""Entries added up: for a lane, a session, a key, a model, a target, or the whole process."""

from collections.abc import Iterable, Sequence
from operator import add

from msgspec.structs import astuple

from landline.ledger.entry import ByteCounts, Entry, Split, Tokens
from landline.ledger.prices import TokenCost

Tally = tuple[float, ...]
"""One turn as numbers to add up: `_OWN`, then bytes, split, tokens and cost in the order of their fields."""

_OWN = (
    "turns",
    "failed_turns",
    "warm_turns",
    "soft_turns",
    "hard_turns",
    "resends",
    "total_s",
    "timed_turns",
    "saved_s",
)
_BYTES = slice(len(_OWN), len(_OWN) + len(ByteCounts.__struct_fields__))
_SPLIT = slice(_BYTES.stop, _BYTES.stop + len(Split.__struct_fields__))
_TOKENS = slice(_SPLIT.stop, _SPLIT.stop + len(Tokens.__struct_fields__))
_COST = slice(_TOKENS.stop, _TOKENS.stop + len(TokenCost.__struct_fields__))
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
        entry.times.saved is not None,
        entry.times.saved or 0.0,
        *astuple(entry.bytes),
        *astuple(entry.split),
        *astuple(entry.tokens),
        *astuple(entry.cost),
    )


_HELD = 64
"""Tallies that are added up in one go: that costs a third of adding each by itself."""


class Sums:
    """Running sums. An entry that was tallied is added in half a microsecond, whatever is summed.

    `add` replaces them as a whole, so another thread reads them as they were after one turn or the next; `add_tally` is for
    sums that only one thread reads.
    """

    __slots__ = ("_held", "_sums")

    def __init__(self) -> None:
        self._sums: Sequence[float] = [0] * _COST.stop
        self._held: list[Tally] = []

    def add(self, entry: Entry) -> None:
        """Counts one more turn."""
        self._sums = list(map(add, self._sums, tally_of(entry)))

    def add_tally(self, tally: Tally) -> None:
        """Counts one more turn, of which this is `tally_of`."""
        self._held.append(tally)
        if len(self._held) >= _HELD:
            self._add_held()

    @classmethod
    def total(cls, parts: Iterable["Sums"]) -> "Sums":
        """All of them added up, as they are now."""
        whole = cls()
        whole._sums = list(map(sum, zip(whole._sums, *(part._settled for part in parts), strict=True)))
        return whole

    @property
    def _settled(self) -> Sequence[float]:
        if self._held:
            self._add_held()
        return self._sums

    def _add_held(self) -> None:
        held, self._held = self._held, []
        self._sums = list(map(sum, zip(self._sums, *held, strict=True)))

    @property
    def bytes(self) -> ByteCounts:
        return ByteCounts(*map(int, self._settled[_BYTES]))

    @property
    def split(self) -> Split:
        return Split(*map(int, self._settled[_SPLIT]))

    @property
    def tokens(self) -> Tokens:
        return Tokens(*map(int, self._settled[_TOKENS]))

    @property
    def cost(self) -> TokenCost:
        return TokenCost(*map(int, self._settled[_COST]))

    @property
    def turns(self) -> int:
        return int(self._settled[0])

    @property
    def failed_turns(self) -> int:
        """Refused, failed or aborted."""
        return int(self._settled[1])

    @property
    def warm_turns(self) -> int:
        """Turns of which the model's server reused something."""
        return int(self._settled[2])

    @property
    def soft_turns(self) -> int:
        return int(self._settled[3])

    @property
    def hard_turns(self) -> int:
        return int(self._settled[4])

    @property
    def resends(self) -> int:
        return int(self._settled[5])

    @property
    def total_s(self) -> float:
        return self._settled[6]

    @property
    def timed_turns(self) -> int:
        """Turns whose connection was measured, so that the time they saved is known."""
        return int(self._settled[7])

    @property
    def saved_s(self) -> float:
        """Seconds that the timed turns saved."""
        return self._settled[8]
