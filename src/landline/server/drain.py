"""The moments of a stopping process: finish what is in flight, then end it with an error, then leave."""

import asyncio
from collections.abc import Awaitable, Callable

from landline.turns.background import BackgroundTurns
from landline.wire.errors import ApiError, api_error

ABORT_S = 3.0
"""After the grace period: how long turns may take to send and save their end before they are aborted."""


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
        """The grace period is over: what is still in flight ends with `shutdown_error`, and is aborted `abort_s` later."""
        self.abort_s = ABORT_S
        self.work: list[Callable[[], Awaitable[None]]] = []
        """What a stopping server waits for besides its connections; `expired` ends it in time."""


def shutdown_error() -> ApiError:
    """Why a request is not answered (to its end)."""
    return api_error("server_shutting_down", "The server is shutting down; send the request again.")


def drain_background(drain: Drain, background: BackgroundTurns) -> None:
    """The background turns of the process have the same grace, and the server waits for them."""

    def end_turns() -> None:
        background.give_up(shutdown_error())
        asyncio.get_running_loop().call_later(drain.abort_s, background.abort)

    drain.expired.subscribe(end_turns)
    drain.work.append(background.wait_until_idle)
