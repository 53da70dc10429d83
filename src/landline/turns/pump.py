"""Reads a target's stream in a task of its own, so that waiting can have a deadline and stopping needs no help from it."""

import asyncio
from collections.abc import AsyncGenerator

from landline.wire.model_events import ModelEvent

MAX_BUFFERED_EVENTS = 4096
"""Events read ahead of a slow consumer before the upstream is left waiting; about a second of the fastest models."""


class Pump:
    """The read side of one turn. Batches that pile up are handed over as one."""

    def __init__(self, stream: AsyncGenerator[list[ModelEvent], None]) -> None:
        self._stream = stream
        self._buffer: list[ModelEvent] = []
        self._is_over = False
        self._wake: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._task = asyncio.create_task(self._read())
        # Not in the task's own `finally`: a task that is cancelled before its first step runs none of its code.
        self._task.add_done_callback(self._end)

    async def next_batch(self, timeout_s: float | None) -> list[ModelEvent] | None:
        """What has come since the last call, waiting for it if need be.

        Returns [] when nothing came in time (without a timeout, only after `wake`), None when the stream is over. Raises what the target raised (a bug).
        """
        if not self._buffer and not self._is_over:
            await self._wait(timeout_s)
        if self._buffer:
            batch, self._buffer = self._buffer, []
            self._room.set()
            return batch
        if not self._is_over:
            return []
        if not self._task.cancelled():
            await self._task
        return None

    def wake(self) -> None:
        """Ends the reader's wait, if it waits."""
        self._notify()

    def interrupt(self) -> None:
        """Ends the stream early; the reader gets what is buffered and then the end."""
        self._task.cancel()

    async def close(self) -> None:
        """Aborts the stream if it still runs and waits until the target let go of it."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _read(self) -> None:
        try:
            async for batch in self._stream:
                self._buffer = [*self._buffer, *batch] if self._buffer else batch
                self._notify()
                if len(self._buffer) > MAX_BUFFERED_EVENTS:
                    self._room.clear()
                    await self._room.wait()
        finally:
            await self._stream.aclose()

    def _end(self, _task: asyncio.Task[None]) -> None:
        self._is_over = True
        self._notify()

    async def _wait(self, timeout_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = loop.call_later(timeout_s, self._notify) if timeout_s is not None else None
        try:
            await self._wake
        finally:
            if timer is not None:
                timer.cancel()
            self._wake = None

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
