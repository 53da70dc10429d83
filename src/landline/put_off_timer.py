"""A timer for a time that is put off again and again, as the end of a silence is by every word: setting and cancelling a timer
of the event loop each time would take longer than what is waited for."""

import asyncio
import math
from collections.abc import Callable


class PutOffTimer:
    """Calls back once a time has come. The event loop's timer that it holds may go off early, and is then set again."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self.due_at = math.inf
        """In the event loop's time; infinite while nobody waits."""
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def put_off(self, due_at: float) -> None:
        """Rings at this time, and at no other any more."""
        self.due_at = due_at
        if self._timer is None or self._timer.when() > due_at:
            self.close()
            self._timer = asyncio.get_running_loop().call_at(due_at, self._look)

    def rest(self) -> None:
        """Nobody waits until `put_off` is called again."""
        self.due_at = math.inf

    def close(self) -> None:
        """Rings no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self.due_at == math.inf:
            return
        if asyncio.get_running_loop().time() < self.due_at:
            self.put_off(self.due_at)
        else:
            self._ring()
