"""The two moments of a stopping process: finish what is in flight, then leave."""

from collections.abc import Awaitable, Callable


class Signal:
    """Set once; everyone who subscribed is called once, in no particular order."""

    def __init__(self) -> None:
        self.is_set = False
        self._subscribers: set[Callable[[], object]] = set()

    def subscribe(self, call: Callable[[], object]) -> None:
        """Calls at once if the signal is set already."""
        if self.is_set:
            call()
        else:
            self._subscribers.add(call)

    def unsubscribe(self, call: Callable[[], object]) -> None:
        self._subscribers.discard(call)

    def set(self) -> None:
        if not self.is_set:
            self.is_set = True
            subscribers, self._subscribers = self._subscribers, set()
            for call in subscribers:
                call()


class Drain:
    """Shared by the edge, which obeys it, and the process's lifecycle, which sets it."""

    def __init__(self) -> None:
        self.begun = Signal()
        """Start nothing new; a socket closes as soon as it is idle."""
        self.expired = Signal()
        """The grace is over: abort what is still in flight."""
        self.work: list[Callable[[], Awaitable[None]]] = []
        """What a stopping server waits for besides its connections; `expired` ends it in time."""
