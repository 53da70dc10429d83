"""Reads the body of an answer for as long as something may come of it."""

import asyncio
import math

import aiohttp

from landline.dialects.dialect import StreamDecoder

_MOST_DOUBLINGS = 16
"""Of the wait for an ending: by then it is as long as any silence may be."""


class OnlyPingsError(TimeoutError):
    """Nothing of the answer came in time, but something that is no part of it, such as comments."""


class AnswerReader:
    """The body of one answer. After each read, tell the decoder first, then `note`; `close` last.

    The body is over when it ends, and also when the answer is whole and nothing more of it comes: some servers leave the
    stream open, silent or with comments for ever. Only time spent in `read` counts, so that a slow consumer is not taken
    for a silent server.
    """

    def __init__(
        self,
        content: aiohttp.StreamReader,
        decoder: StreamDecoder,
        *,
        silence_s: float,
        ending_s: float,
        counted_s: float,
    ) -> None:
        """`silence_s` from one sign of life to the next; `ending_s` behind the ending of an answer, `counted_s` behind that
        and its usage."""
        self._content = content
        self._decoder = decoder
        self._silence_s = silence_s
        self._ending_s = ending_s
        self._counted_s = counted_s
        self._loop = asyncio.get_running_loop()
        self._signs: int = 0
        self._limit_s = min(ending_s, silence_s)
        """How long to wait until the next look at the decoder."""
        self._waited_s = 0.0
        """Since the last sign of life."""
        self._due_at = math.inf
        """When the wait that runs is over."""
        self._taken_bytes = 0
        self._has_pings = False
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None

    async def read(self) -> bytes:
        """What has come, waiting for it if need be; b"" when the answer is over.

        Raises TimeoutError after a silence, and what aiohttp raises.
        """
        began_at = self._loop.time()
        self._due_at = began_at + self._limit_s - self._waited_s
        # A timer that is early only looks again: setting it anew for every read would cost more than the read.
        if self._timer is None or self._timer.when() > self._due_at:
            self._set_timer()
        try:
            data = await self._content.readany()
        except OnlyPingsError:
            if self._is_over:
                return b""
            raise
        finally:
            self._due_at = math.inf
            self._waited_s += self._loop.time() - began_at
        return data

    def note(self, size_bytes: int) -> None:
        """The decoder was fed so many bytes of the body."""
        self._taken_bytes += size_bytes
        progress = self._decoder.progress
        if progress.signs == self._signs:
            self._has_pings = True
            return
        self._signs = progress.signs
        self._has_pings = False
        self._waited_s = 0.0
        if progress.is_counted:
            limit_s = self._counted_s
        else:
            # Where more came behind an ending, the next one is believed later: it may be in every chunk of that server.
            limit_s = self._ending_s * 2 ** min(progress.resumptions, _MOST_DOUBLINGS)
        self._limit_s = min(limit_s, self._silence_s)

    def close(self) -> None:
        """Ends the watch; the body is left as it is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due_at, self._look)

    def _look(self) -> None:
        self._timer = None
        # Nobody waits, or what came in this very step of the event loop is on its way: the next read sets the timer.
        if self._due_at == math.inf or self._content.total_bytes > self._taken_bytes:
            return
        now = self._loop.time()
        if now < self._due_at:
            self._set_timer()
        elif self._decoder.is_whole():
            self._is_over = True
            self._content.set_exception(OnlyPingsError())
        elif self._limit_s < self._silence_s:
            self._due_at += self._silence_s - self._limit_s
            self._limit_s = self._silence_s
            self._set_timer()
        else:
            self._content.set_exception(OnlyPingsError() if self._has_pings else TimeoutError())
