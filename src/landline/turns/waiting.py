"""The waits of one turn: for its upstream, until a silence has lasted too long or somebody wants something of the turn."""

import asyncio
import math
from collections.abc import Awaitable
from typing import TypeVar

_T = TypeVar("_T")


class InterruptibleWait:
    """Waits that can be ended early, one at a time, in one task. `close` it at the end.

    It does what `asyncio.timeout` does. A turn waits some hundred times, mostly for some milliseconds, and making, setting and
    cancelling a timer each time takes longer than composing an event. Here one timer runs: if it goes off early, it is
    set again.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        """The task that waits."""
        self._is_interrupted = False
        self._due_at = math.inf
        """When the wait that runs is over, in the event loop's time."""
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, work: Awaitable[_T], patience_s: float | None) -> _T | None:
        """What the work gives; None if it was interrupted, or took longer than that. The work is cancelled then."""
        task = self._task = asyncio.current_task()
        assert task is not None, "a wait belongs to a task"
        cancelling = task.cancelling()
        if patience_s is not None:
            due_at = self._due_at = self._loop.time() + patience_s
            if self._timer is None or self._timer.when() > due_at:
                self._set_timer()
        try:
            return await work
        except asyncio.CancelledError:
            # Somebody else may have cancelled the task in the same step, and must not be overheard.
            if not self._is_interrupted or task.cancelling() > cancelling + 1:
                raise
            return None
        finally:
            self._task = None
            self._due_at = math.inf
            if self._is_interrupted:
                self._is_interrupted = False
                task.uncancel()

    def interrupt(self) -> None:
        """Ends the wait that runs, if one does."""
        if self._task is not None and not self._is_interrupted:
            self._is_interrupted = True
            self._task.cancel()

    def close(self) -> None:
        """No more waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due_at, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due_at == math.inf:
            return  # nobody waits: the next wait sets it
        if self._loop.time() < self._due_at:
            self._set_timer()
        else:
            self.interrupt()
