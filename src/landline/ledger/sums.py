"""Entries added up: for a lane, a session, a key, a model, a target, or the whole process."""

import msgspec

from landline.ledger.entry import ByteCounts, Entry, Split, Tokens

_BYTES = ByteCounts.__struct_fields__
_SPLIT = Split.__struct_fields__
_TOKENS = Tokens.__struct_fields__


class Sums:
    """Running sums; an entry is added in constant time."""

    __slots__ = (
        "_bytes",
        "_split",
        "_tokens",
        "failed_turns",
        "hard_turns",
        "resends",
        "soft_turns",
        "total_s",
        "turns",
        "warm_turns",
    )

    def __init__(self) -> None:
        self.turns = 0
        self.failed_turns = 0
        """Refused, failed or aborted."""
        self.warm_turns = 0
        """Turns of which the model's server reused something."""
        self.soft_turns = 0
        self.hard_turns = 0
        self.resends = 0
        self.total_s = 0.0
        self._bytes = [0] * len(_BYTES)
        self._split = [0] * len(_SPLIT)
        self._tokens = [0] * len(_TOKENS)

    @property
    def bytes(self) -> ByteCounts:
        return ByteCounts(*self._bytes)

    @property
    def split(self) -> Split:
        return Split(*self._split)

    @property
    def tokens(self) -> Tokens:
        return Tokens(*self._tokens)

    def add(self, entry: Entry) -> None:
        """Counts one more turn."""
        self.turns += 1
        self.failed_turns += entry.outcome in ("refused", "failed", "aborted")
        self.warm_turns += entry.tokens.cached > 0
        self.soft_turns += entry.affinity == "soft"
        self.hard_turns += entry.affinity == "hard"
        self.resends += entry.resends
        self.total_s += entry.times.total
        for sums, values in ((self._bytes, entry.bytes), (self._split, entry.split), (self._tokens, entry.tokens)):
            for place, value in enumerate(msgspec.structs.astuple(values)):
                sums[place] += value
