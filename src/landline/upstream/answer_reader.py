"""Reads the body of an answer for as long as something may come of it."""

import asyncio

import aiohttp

from landline.dialects.dialect import StreamDecoder
from landline.put_off_timer import PutOffTimer

FIRST_READ_BYTES = 2 * 1024
"""An answer's announcement and its first words: they are sent on before the rest of an answer that came whole."""
READ_BYTES = 32 * 1024
"""What is read at once of an answer that has more at hand: some 40 words, a third of a millisecond of work."""
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
        self._timer = PutOffTimer(self._end_wait)
        self._taken_bytes = 0
        self._has_pings = False
        self._is_over = False

    @property
    def has_more(self) -> bool:
        """Whether something has come that was not read."""
        return self._content.total_bytes > self._taken_bytes

    def read_first(self) -> bytes:
        """At most `FIRST_READ_BYTES` of what came with the headers, if anything did."""
        return self._content.read_nowait(FIRST_READ_BYTES) if self.has_more else b""

    async def read(self) -> bytes:
        """At most `READ_BYTES` of what has come, waiting for it if need be; b"" when the answer is over.

        Raises TimeoutError after a silence, and what aiohttp raises.
        """
        began_at = self._loop.time()
        self._timer.put_off(began_at + self._limit_s - self._waited_s)
        try:
            data = await self._content.read(READ_BYTES if self._taken_bytes else FIRST_READ_BYTES)
        except OnlyPingsError:
            if self._is_over:
                return b""
            raise
        finally:
            self._timer.rest()
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
        self._timer.close()

    def _end_wait(self) -> None:
        """The wait that runs has lasted as long as it may."""
        if self.has_more:
            return  # what came in this very step of the event loop is on its way: the next read sets the timer
        if self._decoder.is_whole():
            self._is_over = True
            self._content.set_exception(OnlyPingsError())
        elif self._limit_s < self._silence_s:
            self._timer.put_off(self._timer.due_at + self._silence_s - self._limit_s)
            self._limit_s = self._silence_s
        else:
            self._content.set_exception(OnlyPingsError() if self._has_pings else TimeoutError())
