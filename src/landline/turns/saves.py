"""Saves under way, which nobody's cancellation reaches, and those that an outage of the store put off.

`Record` starts them. What the store cannot take now is tried again: for as long as somebody waits for it (`insist`), and
after that in the background (`put_off`) until it is done, there is no room for it, or the process ends. Which responses are
still to be saved is what tells rows of living turns from dead ones (`Store.watch_turns`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress

import msgspec
import structlog

from landline.stores.store import StoreError, StoreUnavailableError

DEFAULT_WAIT_S = 10.0
"""How long a turn that ended waits for the store before it fails."""
CLOSE_WAIT_S = 10.0
"""How long a process that ends waits for its last saves; as long as a database may take to answer, and once more."""
_LAST_CALL_S = 4.0
"""How long saves are tried again once the process is about to end."""
HEAD_START_S = 0.01
"""How long the beginning of a turn is held back: one that has ended by then is saved in one go."""
_MAX_BYTES = 64 * 1024 * 1024
"""Of content that waits for the store. What comes when it is full is given up: its response becomes `incomplete`."""
_FIRST_PAUSE_S = 0.05
_LAST_PAUSE_S = 2.0

_log = structlog.stdlib.get_logger(__name__)


class _PutOff(msgspec.Struct, frozen=True):
    response_id: str
    size_bytes: int
    save: Callable[[], Awaitable[None]]


class Saves:
    """Those of one process."""

    def __init__(self, wait_s: float = DEFAULT_WAIT_S, *, max_bytes: int = _MAX_BYTES) -> None:
        self._wait_s = wait_s
        self._max_bytes = max_bytes
        self._running: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: dict[str, tuple[Callable[[], asyncio.Task[None]], asyncio.TimerHandle]] = {}
        """Beginnings that are held back, and what lets go of them."""
        self._waiting: dict[str, _PutOff] = {}
        """By response, oldest first."""
        self._waiting_bytes = 0
        self._trying_again: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._is_hurried = asyncio.Event()
        self._give_up_at = float("inf")
        self._given_up_count = 0

    def enter(self, response_id: str) -> None:
        """A turn starts; comes before anything of it is written."""
        self._running.add(response_id)

    def leave(self, response_id: str) -> None:
        """A turn is over: it writes nothing any more but what was put off."""
        self._running.discard(response_id)

    def is_running(self, response_id: str) -> bool:
        """Whether a response's turn runs, or its end is still to be saved. Safe in any thread."""
        return response_id in self._running or response_id in self._waiting

    @property
    def waiting_count(self) -> int:
        """Responses whose end waits for the store."""
        return len(self._waiting)

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Does the work in a task that nobody's cancellation reaches."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)
        return task

    def hold_back(self, response_id: str, begin: Callable[[], asyncio.Task[None]]) -> None:
        """Begins to save a response in a moment, unless `withdraw` comes first."""
        timer = asyncio.get_running_loop().call_later(HEAD_START_S, self._let_go, response_id)
        self._held[response_id] = begin, timer

    def withdraw(self, response_id: str) -> bool:
        """Whether the beginning was still held back. Then it is not saved by itself any more."""
        held = self._held.pop(response_id, None)
        if held is None:
            return False
        held[1].cancel()
        return True

    async def bring(self, response_id: str) -> None:
        """Saves a beginning that is held back, for somebody who asks for the response; what fails is the turn's to see."""
        saving = self._let_go(response_id)
        if saving is not None:
            await asyncio.wait({saving})

    def _let_go(self, response_id: str) -> asyncio.Task[None] | None:
        held = self._held.pop(response_id, None)
        if held is None:
            return None
        begin, timer = held
        timer.cancel()
        return begin()

    async def insist(self, save: Callable[[], Awaitable[None]], *, is_patient: bool = False) -> None:
        """Tries the save again and again while the store is away; raises `StoreUnavailableError` when that takes too long.

        A patient one waits as long as the process lives.
        """
        deadline = float("inf") if is_patient else time.monotonic() + self._wait_s
        for pause_s in _pauses():
            try:
                await save()
                return
            except StoreUnavailableError:
                if time.monotonic() + pause_s > min(deadline, self._give_up_at):
                    raise
            await self._pause(pause_s)

    def put_off(self, response_id: str, save: Callable[[], Awaitable[None]], *, size_bytes: int = 0) -> None:
        """Leaves a save, of so much content, to be done when the store is back. It may be done more than once."""
        if self._waiting_bytes + size_bytes > self._max_bytes:
            self._given_up_count += 1
            return
        if response_id in self._waiting:
            self._forget(self._waiting[response_id])
        self._waiting[response_id] = _PutOff(response_id, size_bytes, save)
        self._waiting_bytes += size_bytes
        if self._trying_again is None:
            self._trying_again = asyncio.create_task(self._try_again())

    def hurry(self) -> None:
        """The process is about to end: nothing waits long for the store any more."""
        if not self._is_hurried.is_set():
            self._give_up_at = time.monotonic() + _LAST_CALL_S
            self._is_hurried.set()

    async def close(self, wait_s: float = CLOSE_WAIT_S) -> None:
        """Waits for what is still being saved, a bounded time, and says what was lost."""
        self.hurry()
        tasks = set(self._tasks)
        if self._trying_again is not None:
            tasks.add(self._trying_again)
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=wait_s)
        for task in late:
            task.cancel()
        lost = sorted({*self._running, *self._waiting}) if late or self._waiting else []
        if lost:
            _log.error("responses_not_saved", count=len(lost), response_ids=lost[:20], consequence="incomplete")

    async def catch_up(self) -> None:
        """Does what was put off, in the order in which it was, one at a time: a store that comes back has enough to do.

        Raises `StoreUnavailableError` when it is away again.
        """
        async with self._one_at_a_time:
            done_count = 0
            while self._waiting:
                first = next(iter(self._waiting.values()))
                try:
                    await first.save()
                except StoreUnavailableError:
                    raise
                except StoreError:
                    _log.exception("response_not_saved", response_id=first.response_id)
                self._forget(first)
                done_count += 1
            if done_count:
                _log.info("saves_caught_up", count=done_count, given_up=self._given_up_count)
                self._given_up_count = 0

    async def _try_again(self) -> None:
        """The store itself asks for this when an outage is over; but what failed need not have been an outage to it."""
        for pause_s in _pauses():
            await self._pause(pause_s)
            with suppress(StoreUnavailableError):
                await self.catch_up()
            if not self._waiting or time.monotonic() > self._give_up_at:
                break
        self._trying_again = None

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for the task hears of it; a begin may have nobody who does

    def _forget(self, done: _PutOff) -> None:
        if self._waiting.get(done.response_id) is done:
            del self._waiting[done.response_id]
            self._waiting_bytes -= done.size_bytes

    async def _pause(self, seconds: float) -> None:
        """Waits; not for long once the process is about to end."""
        if self._is_hurried.is_set():
            await asyncio.sleep(min(seconds, _FIRST_PAUSE_S))
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_hurried.wait(), seconds)


def _pauses() -> Iterator[float]:
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, _LAST_PAUSE_S)
