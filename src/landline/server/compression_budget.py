"""The memory of all compression in one process: counted when a socket or a stream opens, capped, given back at its end.

What a socket may come to hold is counted, not what it holds at the moment: an inflater from the first message on, a
compressor from the first answer on. The nearer the budget is, the less a new socket gets; sockets that are open keep what
they have. The steps are chosen by `benchmarks/compression_memory.py`, and `docs/adr/0012-cap-the-memory-of-compression.md`
says why.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Literal, get_args

import msgspec
import structlog

DEFAULT_BUDGET_BYTES = 512 * 1024 * 1024
WINDOW_BITS = 15
"""RFC 7692 §7.1.2: the widest."""
_INFLATER_BYTES = 8448
"""Beside the window: zconf.h of zlib 1.2.13 says about 7 KiB, and Python's object around it takes the rest."""
_DEFLATER_BYTES = 6144
"""Beside what zconf.h counts: the state and Python's object."""

StepName = Literal["15_bits", "12_bits", "10_bits", "per_message", "none"]

_log = structlog.stdlib.get_logger(__name__)


class Step(msgspec.Struct, frozen=True):
    """What a socket can get."""

    name: StepName
    client_bits: int
    """The client's window, if the client lets us choose it."""
    server_bits: int
    memory_level: int
    """zlib's memLevel of our compressor."""
    keeps_context: bool
    """Whether both sides look back beyond the message."""
    share: float
    """How much of the budget may be used up by the socket that gets this: the rest is left for those after it."""


STEPS = (
    Step("15_bits", 15, 15, 5, True, 3 / 4),
    Step("12_bits", 12, 12, 4, True, 7 / 8),
    Step("10_bits", 12, 10, 3, True, 15 / 16),
    Step("per_message", 12, 15, 5, False, 1.0),
)
"""The best first. Windows of 9 bits would save little more memory, and leave more bytes than each message alone does."""


class Offer(msgspec.Struct, frozen=True):
    """What a client allows."""

    client_bits: int = WINDOW_BITS
    """At most; its inflater here is as large."""
    server_bits: int = WINDOW_BITS
    is_client_limitable: bool = True
    """Whether it offered `client_max_window_bits`: only then may its window be chosen here."""
    server_keeps_context: bool = True


class Grant(msgspec.Struct, frozen=True):
    """What one socket got."""

    step: StepName
    client_bits: int
    server_bits: int
    memory_level: int
    keeps_context: bool
    size_bytes: int
    """The most that it can hold at a time."""


NO_GRANT = Grant("none", 0, 0, 0, keeps_context=False, size_bytes=0)


class CompressionBudget:
    """Grants memory to sockets and HTTP streams; each grant must be released once, when its socket is closed."""

    def __init__(self, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        """By the sockets and streams that are open now."""
        self.reduced_total = 0
        """Sockets since the start that got less than they offered, because memory was short."""
        self._sockets: Counter[StepName] = Counter()
        self._told: set[StepName] = set()

    @property
    def sockets(self) -> Mapping[StepName, int]:
        """Open sockets that offered compression, by what they got; every step is there."""
        return {name: self._sockets[name] for name in get_args(StepName)}

    def grant(self, offer: Offer) -> Grant:
        """The best that is left for a new socket."""
        fitting = (grant for step in STEPS if (grant := _fit(step, offer)).size_bytes <= self._room_bytes(step))
        grant = next(fitting, NO_GRANT)
        self.used_bytes += grant.size_bytes
        self._sockets[grant.step] += 1
        if grant.step == STEPS[0].name:
            self._told.clear()
        else:
            self.reduced_total += 1
            self._tell(grant.step)
        return grant

    def release(self, grant: Grant) -> None:
        """The socket is closed."""
        self.used_bytes -= grant.size_bytes
        self._sockets[grant.step] -= 1

    def take(self, size_bytes: int) -> bool:
        """For an HTTP stream's compressor; False when only sockets may have what is left. Give it back by `give_back`."""
        has_room = size_bytes <= self._room_bytes(STEPS[0])
        if has_room:
            self.used_bytes += size_bytes
        return has_room

    def give_back(self, size_bytes: int) -> None:
        """The stream is over."""
        self.used_bytes -= size_bytes

    def _room_bytes(self, step: Step) -> float:
        return self.budget_bytes * step.share - self.used_bytes

    def _tell(self, step: StepName) -> None:
        """Once for each step, until a socket can have everything again."""
        if step not in self._told:
            self._told.add(step)
            _log.warning(
                "compression_reduced", granted=step, used_bytes=self.used_bytes, budget_bytes=self.budget_bytes
            )


def inflater_bytes(window_bits: int) -> int:
    """The memory of one `zlib.decompressobj` that was used. zconf.h: the window, and some KiB."""
    return (1 << window_bits) + _INFLATER_BYTES


def deflater_bytes(window_bits: int, memory_level: int) -> int:
    """The memory of one `zlib.compressobj`. zconf.h: `(1 << (windowBits + 2)) + (1 << (memLevel + 9))`, and some KiB."""
    return (1 << (window_bits + 2)) + (1 << (memory_level + 9)) + _DEFLATER_BYTES


def _fit(step: Step, offer: Offer) -> Grant:
    """The step as far as the client goes along.

    Without context the inflater is counted all the same: it lives as long as a message whose fragments are still coming.
    """
    client_bits = min(offer.client_bits, step.client_bits) if offer.is_client_limitable else offer.client_bits
    server_bits = min(offer.server_bits, step.server_bits)
    keeps_deflater = step.keeps_context and offer.server_keeps_context
    size_bytes = inflater_bytes(client_bits)
    if keeps_deflater:
        size_bytes += deflater_bytes(server_bits, step.memory_level)
    return Grant(step.name, client_bits, server_bits, step.memory_level, step.keeps_context, size_bytes)
