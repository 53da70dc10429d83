"""Fair shares of the event loop between turns whose answers have come faster than they can be passed on."""

import asyncio
from collections import deque


class FairShare:
    """Lets one turn at a time go on with an answer that has more at hand, and between two of them whatever is new.

    An answer's first words wait for nobody; its rest waits here. So with many turns at once each client sees its first
    words after the first words of the others, not after all that the others are told. Of those that wait, one goes on in
    each step of the event loop, the longest waiting first: a step begins with what the sockets have received.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_set = False
        """Whether the next step lets somebody go on."""

    async def wait(self) -> None:
        """Returns when it is the caller's time, which is in the next step at the earliest; may be cancelled."""
        loop = asyncio.get_running_loop()
        time_to_go: asyncio.Future[None] = loop.create_future()
        self._waiting.append(time_to_go)
        if not self._is_set:
            self._is_set = True
            loop.call_soon(self._go_on, loop)
        await time_to_go

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_set = False
        while self._waiting:
            time_to_go = self._waiting.popleft()
            if not time_to_go.done():  # whoever waited may have been cancelled
                time_to_go.set_result(None)
                break
        if self._waiting:
            self._is_set = True
            loop.call_soon(self._go_on, loop)
