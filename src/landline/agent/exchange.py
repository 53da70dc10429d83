"""What one turn took on the line: counted and timed while it runs, a value when it is over."""

import time
from collections.abc import Callable
from typing import Literal

import msgspec

from landline.agent.answer import Answer
from landline.agent.failures import Cut
from landline.agent.wire_count import WireCount
from landline.wire.errors import ApiError

Transport = Literal["ws", "http"]


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """What one turn took on the line, all its attempts together."""

    ending: Answer | ApiError | Cut
    transport: Transport
    """The one the turn ended on."""
    is_delta: bool
    """Whether the last request held only what was new."""
    payload_bytes: int
    """JSON sent, before compression and framing."""
    stateless_bytes: int
    """The JSON body of the same request over stateless HTTP."""
    wire_sent_bytes: int | None
    """Bytes that left the socket, handshakes and headers included; None where they cannot be counted (see WireCount)."""
    wire_received_bytes: int | None
    first_event_s: float | None
    first_delta_s: float | None
    """Until the model's first output (text, reasoning or arguments)."""
    total_s: float
    """With connecting, waiting and every attempt."""
    notes: tuple[str, ...]
    """What went wrong on the way and what was done about it."""


class Watch:
    """Counts and times one turn."""

    def __init__(self, count: WireCount, on_text: Callable[[str], None], on_note: Callable[[str], None]) -> None:
        self._count = count
        self._on_text = on_text
        self._on_note = on_note
        self._sent_before = count.sent_bytes
        self._received_before = count.received_bytes
        self._started = time.perf_counter()
        self._first_event_s: float | None = None
        self._first_delta_s: float | None = None
        self._payload_bytes = 0
        self._notes: list[str] = []
        self.is_delta = False

    def sent(self, size_bytes: int, *, is_delta: bool) -> None:
        self._payload_bytes += size_bytes
        self.is_delta = is_delta

    def event(self, text: str | None) -> None:
        """Takes what `AnswerReader.feed` made of an event."""
        if self._first_event_s is None:
            self._first_event_s = time.perf_counter() - self._started
        if text is not None and self._first_delta_s is None:
            self._first_delta_s = time.perf_counter() - self._started
        if text:
            self._on_text(text)

    def note(self, text: str) -> None:
        self._notes.append(text)
        self._on_note(text)

    def exchange(self, ending: Answer | ApiError | Cut, transport: Transport, stateless_bytes: int) -> Exchange:
        is_counted = self._count.sent_bytes > 0
        return Exchange(
            ending=ending,
            transport=transport,
            is_delta=self.is_delta,
            payload_bytes=self._payload_bytes,
            stateless_bytes=stateless_bytes,
            wire_sent_bytes=self._count.sent_bytes - self._sent_before if is_counted else None,
            wire_received_bytes=self._count.received_bytes - self._received_before if is_counted else None,
            first_event_s=self._first_event_s,
            first_delta_s=self._first_delta_s,
            total_s=time.perf_counter() - self._started,
            notes=tuple(self._notes),
        )
