"""Whether a database can be used: known from what becomes of its work, and asked for when there is none.

An outage begins when work fails for the database's sake. From then on it is asked again and again, each time later, until
it both reads and writes; then what the outage left is put in order, and the outage is over. Both are logged once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal, TypeVar

import structlog

from landline.stores.store import StoreError, StoreUnavailableError

_Result = TypeVar("_Result")
Kind = Literal["read", "written"]

_FRESH_S = 1.0
"""A database that did its work so short a time ago is not asked."""
_CHECK_WAIT_S = 1.0
"""A readiness probe gives up after a second in its usual configuration (Kubernetes)."""
_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 2.0

_log = structlog.stdlib.get_logger(__name__)


class Health:
    """The state of one database."""

    def __init__(self, probe: Callable[[], Awaitable[None]], put_in_order: Callable[[], Awaitable[object]]) -> None:
        """`probe` reads and writes, both through `watch`; `put_in_order` is called when it succeeds after an outage.
        Both raise `StoreError`."""
        self._probe = probe
        self._put_in_order = put_in_order
        self._failing: dict[Kind, str] = {}
        self._wrote_at = -_FRESH_S
        self._asking: asyncio.Task[None] | None = None
        self._recovering: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def trouble(self) -> str | None:
        """Why the store cannot be used, as far as recent work tells."""
        for kind, reason in self._failing.items():
            return f"the store cannot be {kind}: {reason}"
        return None if self._recovering is None else "the store was away, and what it missed is being saved"

    async def watch(self, kind: Kind, work: Awaitable[_Result]) -> _Result:
        """The work's result; what becomes of it is noted."""
        try:
            result = await work
        except StoreUnavailableError as error:
            self._note_failure(kind, error)
            raise
        self._failing.pop(kind, None)
        if kind == "written":
            self._wrote_at = time.monotonic()
        return result

    async def check(self) -> str | None:
        """The trouble, after asking the database unless that is known: once for all who want to know at a time."""
        if self.trouble is None and time.monotonic() - self._wrote_at > _FRESH_S:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask())
            done, _ = await asyncio.wait({self._asking}, timeout=_CHECK_WAIT_S)
            if not done:
                return f"the store has given no answer for {_CHECK_WAIT_S:g} s"
        return self.trouble

    async def close(self) -> None:
        """Asks no more."""
        self._is_closed = True
        tasks = {task for task in (self._asking, self._recovering) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _ask(self) -> None:
        with suppress(StoreError):  # noted by `watch`
            await self._probe()

    def _note_failure(self, kind: Kind, error: StoreUnavailableError) -> None:
        self._failing[kind] = error.reason
        if self._recovering is None and not self._is_closed:
            _log.error("store_unavailable", reason=error.reason, error=str(error))
            self._recovering = asyncio.create_task(self._recover(time.monotonic()))

    async def _recover(self, began_at: float) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)
            try:
                await self._probe()
                await self._put_in_order()
            except StoreUnavailableError:
                continue
            except StoreError:
                _log.exception("store_not_in_order")
            if not self._failing:
                break
        self._recovering = None
        _log.info("store_available", away_s=round(time.monotonic() - began_at, 1))
