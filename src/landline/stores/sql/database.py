"""Connections and transactions: what differs between SQLite and PostgreSQL, and what drivers raise, ends here."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from landline.stores.store import StoreError

_Result = TypeVar("_Result")

_READERS = 4
"""Connections that read a SQLite file; one more writes. Reads are short, so more would only wait for the same cores."""
_BUSY_TIMEOUT_MS = 5000
"""How long SQLite waits for a lock that another program (a backup, a shell) holds."""
_ATTEMPTS = 3
"""A transaction that PostgreSQL ended in favour of another is begun again this often."""
_POSTGRESQL_SETTINGS = {"application_name": "landline", "enable_seqscan": "off", "jit": "off"}
"""Every query goes by an index. The planner takes a range of keys for a ninth of the table, and would read it all."""
_TRANSIENT_CODES = frozenset(("40001", "40P01"))
"""SQLSTATE: serialization failure, deadlock."""

DRIVER_ERRORS = (SQLAlchemyError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


class Database:
    """Engines for one URL: `sqlite:///PATH` or `postgresql://…`."""

    def __init__(self, url: str) -> None:
        self.url = _with_driver(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self._writing = create_async_engine(self.url, hide_parameters=True, pool_size=1, max_overflow=0)
            self._reading = create_async_engine(
                self.url, hide_parameters=True, pool_size=_READERS, isolation_level="AUTOCOMMIT"
            )
            _prepare_sqlite(self._writing, "BEGIN IMMEDIATE")
            _prepare_sqlite(self._reading, None)
        else:
            self._writing = create_async_engine(
                self.url,
                hide_parameters=True,  # items do not belong into logs
                pool_pre_ping=True,
                connect_args={"server_settings": _POSTGRESQL_SETTINGS},
            )
            self._reading = self._writing.execution_options(isolation_level="AUTOCOMMIT")

    async def close(self) -> None:
        """Ends all connections."""
        async with _store_errors("closing the database"):
            await self._reading.dispose()
            await self._writing.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A connection for one query: there is no transaction around it."""
        async with _store_errors("reading"), self._reading.connect() as connection:
            yield connection

    async def hold(self) -> AsyncConnection:
        """A connection to keep, for a lock that lives as long as it does."""
        async with _store_errors("connecting"):
            return await self._writing.connect()

    async def write_on(
        self, connection: AsyncConnection, work: Callable[[AsyncConnection], Awaitable[_Result]]
    ) -> _Result:
        """Runs `work` in one transaction on a kept connection."""
        async with _store_errors("writing"), connection.begin():
            return await work(connection)

    async def is_connected(self, connection: AsyncConnection) -> bool:
        """Whether a kept PostgreSQL connection is still open, as far as this side knows."""
        async with _store_errors("reading"):
            driver = (await connection.get_raw_connection()).driver_connection
        return isinstance(driver, asyncpg.Connection) and not driver.is_closed()

    async def drop(self, connection: AsyncConnection) -> None:
        """Closes a kept connection for good, which frees its locks."""
        async with _store_errors("closing a connection"):
            await connection.invalidate()
            await connection.close()

    async def write(self, work: Callable[[AsyncConnection], Awaitable[_Result]]) -> _Result:
        """Runs `work` in one transaction, to its end even if the caller is cancelled meanwhile.

        `work` may run more than once, each time on a clean slate.
        """
        return await asyncio.shield(asyncio.ensure_future(self._write(work)))

    async def _write(self, work: Callable[[AsyncConnection], Awaitable[_Result]]) -> _Result:
        async with _store_errors("writing"):
            for _ in range(_ATTEMPTS - 1):
                try:
                    return await self._attempt(work)
                except DBAPIError as error:
                    if getattr(error.orig, "sqlstate", None) not in _TRANSIENT_CODES:
                        raise
            return await self._attempt(work)

    async def _attempt(self, work: Callable[[AsyncConnection], Awaitable[_Result]]) -> _Result:
        async with self._writing.begin() as connection:
            return await work(connection)


@asynccontextmanager
async def _store_errors(doing: str) -> AsyncGenerator[None]:
    try:
        yield
    except DRIVER_ERRORS as error:
        raise StoreError(f"{doing} failed: {type(error).__name__}: {error}") from error


def _with_driver(url: str) -> URL:
    """The URL with the driver that is installed; raises ValueError when it names no store."""
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        raise ValueError(f"expected `sqlite:///PATH` or `postgresql://…`, got {url!r}") from error
    match parsed.get_backend_name():
        case "sqlite" if parsed.database:
            return parsed.set(drivername="sqlite+aiosqlite")
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+asyncpg")
        case _:
            raise ValueError(f"expected `sqlite:///PATH` or `postgresql://…`, got {url!r}")


def _prepare_sqlite(engine: AsyncEngine, begin: str | None) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _: object) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # the driver begins no transaction of its own
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing: the system has what was written
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    if begin is not None:

        @event.listens_for(engine.sync_engine, "begin")
        def on_begin(connection: Any) -> None:  # pyright: ignore[reportUnusedFunction]
            connection.exec_driver_sql(begin)  # at once a writer: an upgrade from reader could fail
