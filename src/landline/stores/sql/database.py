"""What the store asks of a database, whichever it is, and whether the database can be used.

The work inside a transaction is written once, for SQLAlchemy's plain `Connection`. For SQLite it runs in a thread, the
whole transaction in one go; for PostgreSQL it runs on the event loop, in a greenlet that waits for asyncpg.

Whether a database can be used is known from how its work ends, and is asked for when there is none. An outage begins when
work fails for the database's sake. From then on it is asked again and again, each time later, until it both reads and
writes; then what the outage left is put in order, and the outage is over. Both are logged once.
"""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from typing import Literal, Protocol, TypeVar

import structlog
from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from landline.stores.store import StoreError, StoreUnavailableError

_Result = TypeVar("_Result")


class Database(Protocol):
    """Runs work on connections. Every method raises `StoreError`."""

    async def read(self, work: Callable[[Connection], _Result]) -> _Result:
        """Runs one query; there is no transaction around it."""
        ...

    async def write(self, work: Callable[[Connection], _Result]) -> _Result:
        """Runs `work` in one transaction. If the caller is cancelled meanwhile, that waits until the end of it.

        `work` may run more than once, each time on a clean slate.
        """
        ...

    async def close(self) -> None: ...


class Ownership(Protocol):
    """A process's claim to the turns that it runs. Every method raises `StoreError`."""

    @property
    def number(self) -> int:
        """The process's number, from `begin` on."""
        ...

    async def claim(self) -> None:
        """Comes first, before the tables are touched."""
        ...

    async def begin(self) -> None:
        """Takes a number, once the tables are there, and ends what dead processes left running."""
        ...

    async def keep(self) -> None:
        """Takes the claim anew if it was lost with its connection. Cheap when it was not."""
        ...

    def touch(self, connection: Connection) -> None:
        """Writes something that changes nothing, in the caller's transaction: whether that can be done is the point."""
        ...

    async def interrupt_dead(self) -> None:
        """Ends what processes left running that died since."""
        ...

    async def release(self) -> None: ...


async def completed(writing: asyncio.Future[_Result]) -> _Result:
    """The result. A cancelled caller goes on only when nothing is being written any more: what it does next may build
    on what was."""
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait({writing})
        raise


def parse_url(url: str) -> URL:
    """The URL with the driver that is used; raises ValueError when it names no database of a known kind."""
    expected = f"expected `sqlite:///PATH` or `postgresql://…`, got {url!r}"
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        raise ValueError(expected) from error
    match parsed.drivername:
        case "sqlite" if parsed.database:
            return parsed
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+asyncpg")
        case _:
            raise ValueError(expected)


_OUR_SQLSTATES = ("0A", "21", "22", "23", "42")
"""SQLSTATE classes of statements that are wrong or cannot be met. All others are the server's, the network's or another
session's doing: PostgreSQL, appendix A."""
_NO_PRIVILEGE = "42501"
_OUR_SQLITE_CODES = frozenset(
    (
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_RANGE,
    )
)
_TIMED_OUT = "it gave no answer in time"


@contextmanager
def store_errors(doing: str, *driver_errors: type[Exception]) -> Generator[None]:
    """Whatever SQLAlchemy, the system and the driver raise becomes a `StoreError`, and `StoreUnavailableError` where
    nothing is wrong but the database."""
    try:
        yield
    except (SQLAlchemyError, OSError, *driver_errors) as error:
        message = f"{doing} failed: {type(error).__name__}: {error}"
        if _is_our_fault(error):
            raise StoreError(message) from error
        raise StoreUnavailableError(message, _reason(error)) from error


def _is_our_fault(error: Exception) -> bool:
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(cause, "sqlstate", None)
    if isinstance(state, str):
        return state.startswith(_OUR_SQLSTATES) and state != _NO_PRIVILEGE
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)  # what the Python module itself refuses has none
        return code is None or code & 0xFF in _OUR_SQLITE_CODES
    # Of SQLAlchemy's own errors only this one is about the database; a driver's error without a code is of its connection.
    return isinstance(error, SQLAlchemyError) and not isinstance(error, DBAPIError | PoolTimeoutError)


def _reason(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return str(cause)
    if isinstance(cause, TimeoutError | PoolTimeoutError):
        return _TIMED_OUT
    return "it cannot be reached" if isinstance(cause, OSError) else type(cause).__name__


Kind = Literal["read", "written"]

_FRESH_S = 1.0
"""A database that did its work so short a time ago is not asked."""
_CHECK_WAIT_S = 1.0
"""A readiness probe gives up after a second in its usual configuration (Kubernetes)."""
_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 2.0

_log = structlog.stdlib.get_logger(__name__)


class DatabaseHealth:
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
            if not self._failing:  # other work may have failed since the probe, and then the outage goes on
                break
        self._recovering = None
        _log.info("store_available", away_s=round(time.monotonic() - began_at, 1))
