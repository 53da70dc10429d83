"""The waits of one turn: for its upstream, until a silence has lasted too long or somebody wants something of the turn."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from landline.put_off_timer import PutOffTimer

_T = TypeVar("_T")


class InterruptibleWait:
    """Waits that can be ended early, one at a time, in one task. `close` it at the end.

    It does what `asyncio.timeout` does, with one timer for the some hundred waits of a turn.
    """

    def __init__(self) -> None:
        self._timer = PutOffTimer(self.interrupt)
        self._task: asyncio.Task[object] | None = None
        """The task that waits."""
        self._is_interrupted = False

    async def wait(self, work: Awaitable[_T], patience_s: float | None) -> _T | None:
        """What the work gives; None if it was interrupted, or took longer than that. The work is cancelled then."""
        task = self._task = asyncio.current_task()
        assert task is not None, "a wait belongs to a task"
        cancelling = task.cancelling()
        if patience_s is not None:
            self._timer.put_off(asyncio.get_running_loop().time() + patience_s)
        try:
            return await work
        except asyncio.CancelledError:
            # Somebody else may have cancelled the task in the same step, and must not be overheard.
            if not self._is_interrupted or task.cancelling() > cancelling + 1:
                raise
            return None
        finally:
            self._task = None
            self._timer.rest()
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
        self._timer.close()
