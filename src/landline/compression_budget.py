"""The memory of all compression in one process: counted when a socket or a stream opens, capped, given back at its end.
Clients' sockets and those to upstreams count alike.

What a socket may come to hold is counted, not what it holds at the moment: an inflater from the first message on, a
compressor from the first answer on. The nearer the budget is, the less a new socket gets; sockets that are open keep what
they have. The steps are chosen by `benchmarks/compression_memory.py`, and `docs/adr/0012-cap-the-memory-of-compression.md`
says why.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import product
from typing import Literal, get_args

import msgspec

DEFAULT_BUDGET_BYTES = 512 * 1024 * 1024
WINDOW_BITS = 15
"""RFC 7692 §7.1.2: the widest."""
_INFLATER_BYTES = 8448
"""Beside the window: zconf.h of zlib 1.2.13 says about 7 KiB, and Python's object around it takes the rest."""
_DEFLATER_BYTES = 6144
"""Beside what zconf.h counts: the state and Python's object."""

StepName = Literal["15_bits", "12_bits", "10_bits", "per_message", "none"]
Peer = Literal["client", "upstream"]
"""Who is at the other end of a socket."""


class Step(msgspec.Struct, frozen=True):
    """What a socket can get."""

    name: StepName
    in_bits: int
    """The peer's window, which our inflater is as large as; if the peer lets us choose it."""
    out_bits: int
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


class CompressionOffer(msgspec.Struct, frozen=True):
    """What a peer allows."""

    in_bits: int = WINDOW_BITS
    """At most; our inflater is as large."""
    out_bits: int = WINDOW_BITS
    is_in_limitable: bool = True
    """Whether the peer's window may be chosen here, as by a client that offered `client_max_window_bits`."""
    keeps_context_out: bool = True
    may_lose_context: bool = True
    """Whether each message may be compressed alone."""


class CompressionGrant(msgspec.Struct, frozen=True):
    """What one socket got."""

    step: StepName
    in_bits: int
    out_bits: int
    memory_level: int
    keeps_context: bool
    size_bytes: int
    """The most that it can hold at a time."""


NO_GRANT = CompressionGrant("none", 0, 0, 0, keeps_context=False, size_bytes=0)


class CompressionBudget:
    """Grants memory to sockets and HTTP streams; each grant must be released once, when its socket is closed."""

    def __init__(
        self,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
        on_reduced: "Callable[[StepName, CompressionBudget], None] | None" = None,
    ) -> None:
        """`on_reduced` is called once for each lower step that is granted for lack of memory, until a socket gets the best
        step again."""
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        """By the sockets and streams that are open now."""
        self.reduced_total = 0
        """Sockets since the start that got less than they offered, because memory was short."""
        self._sockets: Counter[tuple[Peer, StepName]] = Counter()
        self._on_reduced = on_reduced
        self._told: set[StepName] = set()

    @property
    def sockets(self) -> Mapping[tuple[Peer, StepName], int]:
        """Open sockets on which compression was offered, by what they got; every step is there."""
        return {key: self._sockets[key] for key in product(get_args(Peer), get_args(StepName))}

    def grant(self, offer: CompressionOffer, peer: Peer = "client") -> CompressionGrant:
        """The best that is left for a new socket."""
        steps = [step for step in STEPS if step.keeps_context or offer.may_lose_context]
        fitting = (grant for step in steps if (grant := _fit(step, offer)).size_bytes <= self._room_bytes(step))
        grant = next(fitting, NO_GRANT)
        self.used_bytes += grant.size_bytes
        self._sockets[peer, grant.step] += 1
        if grant.step == STEPS[0].name:
            self._told.clear()
        else:
            self.reduced_total += 1
            self._tell(grant.step)
        return grant

    def release(self, grant: CompressionGrant, peer: Peer = "client") -> None:
        """The socket is closed."""
        self.used_bytes -= grant.size_bytes
        self._sockets[peer, grant.step] -= 1

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
        if step not in self._told:
            self._told.add(step)
            if self._on_reduced is not None:
                self._on_reduced(step, self)


def inflater_bytes(window_bits: int) -> int:
    """The memory of one `zlib.decompressobj` that was used. zconf.h: the window, and some KiB."""
    return (1 << window_bits) + _INFLATER_BYTES


def deflater_bytes(window_bits: int, memory_level: int) -> int:
    """The memory of one `zlib.compressobj`. zconf.h: `(1 << (windowBits + 2)) + (1 << (memLevel + 9))`, and some KiB."""
    return (1 << (window_bits + 2)) + (1 << (memory_level + 9)) + _DEFLATER_BYTES


def _fit(step: Step, offer: CompressionOffer) -> CompressionGrant:
    """The step as far as the peer goes along.

    Without context the inflater is counted all the same: it lives as long as a message whose fragments are still coming.
    """
    in_bits = min(offer.in_bits, step.in_bits) if offer.is_in_limitable else offer.in_bits
    out_bits = min(offer.out_bits, step.out_bits)
    size_bytes = inflater_bytes(in_bits)
    if step.keeps_context and offer.keeps_context_out:
        size_bytes += deflater_bytes(out_bits, step.memory_level)
    return CompressionGrant(step.name, in_bits, out_bits, step.memory_level, step.keeps_context, size_bytes)
