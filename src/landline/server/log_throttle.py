"""Keeps a log readable where the same thing may happen thousands of times a second."""

from collections.abc import Callable


class LogThrottle:
    """Lets at most one event through per interval, and counts those left out."""

    def __init__(self, every_s: float, clock: Callable[[], float]) -> None:
        """`clock` gives seconds that never go back."""
        self._every_s = every_s
        self._clock = clock
        self._next_at: float | None = None
        self._left_out = 0

    def ask(self) -> int | None:
        """How many were left out since the last one, if this one is to be logged; None if it is left out."""
        now = self._clock()
        if self._next_at is not None and now < self._next_at:
            self._left_out += 1
            return None
        self._next_at = now + self._every_s
        left_out, self._left_out = self._left_out, 0
        return left_out
