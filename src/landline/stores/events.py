"""The events of background responses, kept in memory for clients that come back: replayed, then followed live."""

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Sequence

KEPT_S = 600.0
"""How long events are kept after the response ended: OpenAI's published "about 10 minutes"."""
MAX_BYTES = 256 * 1024 * 1024
"""Of all logs together. Over it, ended logs go before their time, the one that ended first before the others."""


class EventLog:
    """One log for each response that was opened, known to its tenant only, in the process that runs the turn."""

    def __init__(
        self, *, kept_s: float = KEPT_S, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kept_s = kept_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._logs: dict[tuple[str, str], _Log] = {}
        self._ended: dict[tuple[str, str], _Log] = {}
        """Those that are over, in the order in which they ended."""
        self.size_bytes = 0

    def open(self, tenant: str, response_id: str) -> None:
        """Starts an empty log."""
        self._logs[tenant, response_id] = _Log()

    def append(self, tenant: str, response_id: str, records: Sequence[tuple[int, bytes]]) -> None:
        """Adds records with their sequence numbers, which only rise. Ignored if the log is not open (any more)."""
        log = self._logs.get((tenant, response_id))
        if log is not None and log.ended_at is None:
            log.numbers += [number for number, _ in records]
            log.records += [record for _, record in records]
            size_bytes = sum(len(record) for _, record in records)
            log.size_bytes += size_bytes
            self.size_bytes += size_bytes
            log.notify()
            self._make_room()

    def end(self, tenant: str, response_id: str) -> None:
        """Nothing follows: followers end, and the log is kept for its time."""
        log = self._logs.get((tenant, response_id))
        if log is not None and log.ended_at is None:
            log.ended_at = self._clock()
            log.notify()
            self._ended[tenant, response_id] = log
            self._make_room()

    def forget(self, tenant: str, response_id: str) -> None:
        """Drops a log and ends its followers; ignored if there is none."""
        self.end(tenant, response_id)
        log = self._logs.pop((tenant, response_id), None)
        if log is not None:
            del self._ended[tenant, response_id]
            self.size_bytes -= log.size_bytes

    def follow(
        self, tenant: str, response_id: str, *, after: int, silence_s: float
    ) -> AsyncGenerator[list[bytes], None] | None:
        """Batches of the records numbered higher than `after`, to the end of the log; [] after each silence.

        None when there is no such log (any more).
        """
        self._drop_expired()
        log = self._logs.get((tenant, response_id))
        return log.follow(after, silence_s) if log is not None else None

    def _make_room(self) -> None:
        self._drop_expired()
        while self.size_bytes > self._max_bytes and self._ended:
            self.forget(*next(iter(self._ended)))

    def _drop_expired(self) -> None:
        oldest = self._clock() - self._kept_s
        for key, log in list(self._ended.items()):
            if log.ended_at is not None and log.ended_at > oldest:
                return
            self.forget(*key)


class _Log:
    __slots__ = ("_changed", "ended_at", "numbers", "records", "size_bytes")

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.records: list[bytes] = []
        self.size_bytes = 0
        self.ended_at: float | None = None
        self._changed = asyncio.Event()

    def notify(self) -> None:
        # A new event each time, not set and cleared: whoever waits on the old one wakes, however late it runs.
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self, after: int, silence_s: float) -> AsyncGenerator[list[bytes], None]:
        while True:
            place = bisect_right(self.numbers, after)
            if place < len(self.records):
                after = self.numbers[-1]
                yield self.records[place:]
            elif self.ended_at is not None:
                return
            else:
                try:
                    await asyncio.wait_for(self._changed.wait(), silence_s)
                except TimeoutError:
                    yield []
