"""Connections and transactions: what differs between SQLite and PostgreSQL, and what drivers raise, ends here.

The work inside a transaction is written once, for SQLAlchemy's plain `Connection`. For SQLite it runs in a thread, the
whole transaction in one go; for PostgreSQL it runs on the event loop, in a greenlet that waits for asyncpg.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol, TypeVar

import asyncpg
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from landline.stores.store import StoreError

_Result = TypeVar("_Result")

_READERS = 2
"""Threads that read a SQLite file; one more writes. Reads are short and share the processor with the event loop."""
_BUSY_TIMEOUT_MS = 5000
"""How long SQLite waits for a lock that another program (a backup, a shell) holds."""
_ATTEMPTS = 3
"""How often work is tried that PostgreSQL ended in favour of another's, or whose connection was dead already. That is
cheaper than asking before each use whether the connection is alive: three round trips more."""
_POSTGRESQL_SETTINGS = {"application_name": "landline", "enable_seqscan": "off", "jit": "off"}
"""Every query goes by an index. The planner takes a range of keys for a ninth of the table, and would read it all."""
_TRANSIENT_CODES = frozenset(("40001", "40P01"))
"""SQLSTATE: serialization failure, deadlock."""
_DRIVER_ERRORS = (SQLAlchemyError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


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


class SqliteDatabase:
    """A SQLite file: one thread writes, a few read."""

    def __init__(self, url: URL) -> None:
        self._writing = create_engine(url, hide_parameters=True, pool_size=1, max_overflow=0)
        self._reading = create_engine(url, hide_parameters=True, pool_size=_READERS, isolation_level="AUTOCOMMIT")
        self._writer = ThreadPoolExecutor(1, "sqlite-write")
        self._readers = ThreadPoolExecutor(_READERS, "sqlite-read")
        self._is_closed = False
        _prepare(self._writing)
        _prepare(self._reading)
        event.listen(self._writing, "begin", _begin_writing)

    async def read(self, work: Callable[[Connection], _Result]) -> _Result:
        return await self._run(self._readers, partial(self._read, work))

    async def write(self, work: Callable[[Connection], _Result]) -> _Result:
        return await _completed(self._run(self._writer, partial(self._write, work)))

    async def close(self) -> None:
        if not self._is_closed:
            disposing = self._run(self._writer, self._dispose)
            self._is_closed = True
            await disposing
            self._readers.shutdown(wait=False)
            self._writer.shutdown(wait=False)

    def _run(self, threads: ThreadPoolExecutor, work: Callable[[], _Result]) -> asyncio.Future[_Result]:
        if self._is_closed:
            raise StoreError("the store is closed")
        return asyncio.get_running_loop().run_in_executor(threads, work)

    def _read(self, work: Callable[[Connection], _Result]) -> _Result:
        with store_errors("reading"), self._reading.connect() as connection:
            return work(connection)

    def _write(self, work: Callable[[Connection], _Result]) -> _Result:
        with store_errors("writing"), self._writing.begin() as connection:
            return work(connection)

    def _dispose(self) -> None:
        self._reading.dispose()
        self._writing.dispose()


class PostgresqlDatabase:
    """A PostgreSQL database, through asyncpg."""

    def __init__(self, url: URL) -> None:
        self._writing = create_async_engine(
            url, hide_parameters=True, connect_args={"server_settings": _POSTGRESQL_SETTINGS}
        )
        self._reading = self._writing.execution_options(isolation_level="AUTOCOMMIT")
        self._is_closed = False

    async def read(self, work: Callable[[Connection], _Result]) -> _Result:
        with store_errors("reading"):
            for _ in range(_ATTEMPTS - 1):
                with suppress(_TryAgainError):
                    return await self._read(work)
            return await self._read(work)

    async def write(self, work: Callable[[Connection], _Result]) -> _Result:
        return await _completed(asyncio.ensure_future(self._write(work)))

    async def close(self) -> None:
        self._is_closed = True
        with store_errors("closing the database"):
            await self._writing.dispose()

    async def hold(self) -> AsyncConnection:
        """A connection to keep, for a lock that lives as long as it does."""
        self._check_open()
        with store_errors("connecting"):
            return await self._writing.connect()

    async def write_on(self, connection: AsyncConnection, work: Callable[[Connection], _Result]) -> _Result:
        """Runs `work` in one transaction on a kept connection."""
        with store_errors("writing"):
            async with connection.begin():
                return await connection.run_sync(work)

    async def is_connected(self, connection: AsyncConnection) -> bool:
        """Whether a kept connection is still open, as far as this side knows."""
        with store_errors("reading"):
            driver = (await connection.get_raw_connection()).driver_connection
        return isinstance(driver, asyncpg.Connection) and not driver.is_closed()

    async def drop(self, connection: AsyncConnection) -> None:
        """Closes a kept connection for good, which frees its locks."""
        with store_errors("closing a connection"):
            await connection.invalidate()
            await connection.close()

    async def _read(self, work: Callable[[Connection], _Result]) -> _Result:
        self._check_open()
        async with self._reading.connect() as connection:
            with _worth_repeating():
                return await connection.run_sync(work)

    async def _write(self, work: Callable[[Connection], _Result]) -> _Result:
        with store_errors("writing"):
            for _ in range(_ATTEMPTS - 1):
                with suppress(_TryAgainError):
                    return await self._attempt(work)
            return await self._attempt(work)

    async def _attempt(self, work: Callable[[Connection], _Result]) -> _Result:
        self._check_open()
        async with self._writing.begin() as connection:
            with _worth_repeating():  # what fails in the commit, behind this, may have been done
                return await connection.run_sync(work)

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreError("the store is closed")


class _TryAgainError(Exception):
    """The work failed for a reason that need not be there the next time; its cause says which."""


@contextmanager
def _worth_repeating() -> Generator[None]:
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _TRANSIENT_CODES:
            raise _TryAgainError(str(error)) from error
        raise


async def _completed(writing: asyncio.Future[_Result]) -> _Result:
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


@contextmanager
def store_errors(doing: str) -> Generator[None]:
    """Whatever the drivers raise becomes a `StoreError`."""
    try:
        yield
    except (*_DRIVER_ERRORS, _TryAgainError) as error:
        raise StoreError(f"{doing} failed: {type(error).__name__}: {error}") from error


def _prepare(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _: object) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # the driver begins no transaction of its own
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "PRAGMA synchronous = NORMAL"
        )  # a killed process loses nothing: the system has what was written
        connection.execute("PRAGMA foreign_keys = ON")


def _begin_writing(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # a reader that becomes a writer may be refused
