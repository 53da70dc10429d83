"""PostgreSQL, through asyncpg: one database, any number of processes."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TypeVar

import asyncpg
from sqlalchemy import URL, Connection, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from landline.stores.sql.database import completed, store_errors
from landline.stores.sql.responses import interrupt
from landline.stores.sql.tables import conversations, owners, responses
from landline.stores.store import DEFAULT_TIMEOUT_S, StoreError, StoreUnavailableError

_Result = TypeVar("_Result")

_ATTEMPTS = 3
"""How often work is tried that PostgreSQL ended in favour of another's, or whose connection was dead already. That is
cheaper than asking before each use whether the connection is alive: three round trips more."""
_SETTINGS = {"application_name": "landline", "enable_seqscan": "off", "jit": "off"}
"""Every query goes by an index. The planner takes a range of keys for a ninth of the table, and would read it all."""
_TRANSIENT_CODES = frozenset(("40001", "40P01"))
"""SQLSTATE: serialization failure, deadlock."""
_GRACE_S = 1.0
"""What the server's answer to a statement that it ended for its time may take."""
_OWNER_LOCKS = 1_279_869_453
"""First key of the advisory locks that stand for processes; the second is the process's number."""


class PostgresqlDatabase:
    """A PostgreSQL database, through asyncpg."""

    def __init__(self, url: URL, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """The server ends a statement that takes longer than the timeout; one that the server itself has not answered
        a second later, because it is frozen or out of reach, is given up together with its connection."""
        self._timeout_s = timeout_s
        self._writing = create_async_engine(
            url,
            hide_parameters=True,
            pool_timeout=timeout_s,
            connect_args={
                "timeout": timeout_s,
                "command_timeout": timeout_s + _GRACE_S,
                "server_settings": {**_SETTINGS, "statement_timeout": str(round(timeout_s * 1000))},
            },
        )
        self._reading = self._writing.execution_options(isolation_level="AUTOCOMMIT")
        self._is_closed = False

    async def read(self, work: Callable[[Connection], _Result]) -> _Result:
        with _errors("reading"):
            return await self._repeat(partial(self._read, work))

    async def write(self, work: Callable[[Connection], _Result]) -> _Result:
        return await completed(asyncio.ensure_future(self._write(work)))

    async def close(self) -> None:
        self._is_closed = True
        with _errors("closing the database"), suppress(TimeoutError):  # a frozen server never closes its side
            async with asyncio.timeout(self._timeout_s):
                await self._writing.dispose()

    async def hold(self) -> AsyncConnection:
        """A connection to keep, for a lock that lives as long as it does."""
        self._check_open()
        with _errors("connecting"):
            return await self._writing.connect()

    async def write_on(self, connection: AsyncConnection, work: Callable[[Connection], _Result]) -> _Result:
        """Runs `work` in one transaction on a kept connection."""
        with _errors("writing"):
            async with _given_up_in_time(connection), connection.begin():
                return await connection.run_sync(work)

    def is_connected(self, connection: AsyncConnection) -> bool:
        """Whether a kept connection is still open, as far as this side knows."""
        if connection.invalidated:
            return False
        driver = _driver_of(connection)
        return driver is not None and not driver.is_closed()

    async def drop(self, connection: AsyncConnection) -> None:
        """Closes a kept connection for good, which frees its locks."""
        with _errors("closing a connection"):
            await connection.invalidate()
            await connection.close()

    async def _write(self, work: Callable[[Connection], _Result]) -> _Result:
        with _errors("writing"):
            return await self._repeat(partial(self._attempt, work))

    async def _repeat(self, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
        for _ in range(_ATTEMPTS - 1):
            with suppress(_TryAgainError):
                return await attempt()
        try:
            return await attempt()
        except _TryAgainError as error:
            raise error.error from error

    async def _read(self, work: Callable[[Connection], _Result]) -> _Result:
        self._check_open()
        async with self._reading.connect() as connection, _given_up_in_time(connection):
            with _worth_repeating():
                return await connection.run_sync(work)

    async def _attempt(self, work: Callable[[Connection], _Result]) -> _Result:
        self._check_open()
        async with self._writing.connect() as connection, _given_up_in_time(connection):
            await connection.begin()
            with _worth_repeating():  # what fails in the commit, behind this, may have been done
                result = await connection.run_sync(work)
            await connection.commit()
            return result  # what failed is rolled back as the connection goes back to its pool

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailableError("the store is closed", "it is closed")


@asynccontextmanager
async def _given_up_in_time(connection: AsyncConnection) -> AsyncGenerator[None]:
    """Aborts a connection that gave no answer: to ask it for a rollback would take as long again."""
    # Asked for before the work: once SQLAlchemy has given the connection up itself, it is not known any more.
    driver = _driver_of(connection)
    try:
        yield
    except TimeoutError:
        if driver is not None:
            driver.terminate()
        if not connection.invalidated:
            await connection.invalidate()
        raise


def _driver_of(connection: AsyncConnection) -> "asyncpg.Connection | None":
    driver = connection.sync_connection.connection.driver_connection if connection.sync_connection is not None else None
    return driver if isinstance(driver, asyncpg.Connection) else None


class _TryAgainError(Exception):
    """The work failed for a reason that need not be there the next time."""

    def __init__(self, error: DBAPIError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def _worth_repeating() -> Generator[None]:
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _TRANSIENT_CODES:
            raise _TryAgainError(error) from error
        raise


class SharedOwnership:
    """A PostgreSQL database serves several processes: each holds an advisory lock as long as its connection lives."""

    def __init__(self, database: PostgresqlDatabase) -> None:
        self.number = 0  # nobody's
        self._database = database
        self._holder: AsyncConnection | None = None
        self._taking = asyncio.Lock()

    async def claim(self) -> None:
        """Nothing: processes share the database."""

    async def begin(self) -> None:
        await self._take()
        await self.interrupt_dead()

    async def keep(self) -> None:
        async with self._taking:
            if self._holder is None or not self._database.is_connected(self._holder):
                await self.release()
                await self._take()

    def touch(self, connection: Connection) -> None:
        """Writes this process's row as it is."""
        connection.execute(update(owners).where(owners.c.number == self.number).values(number=self.number))

    async def interrupt_dead(self) -> None:
        query = select(owners.c.number).where(owners.c.number != self.number)
        others = await self._database.read(lambda connection: connection.execute(query).scalars().all())
        for number in others:
            await self._database.write(partial(_interrupt_if_dead, number=number))

    async def release(self) -> None:
        """Leaves the row: the next process that finds its lock free ends what was left running, then deletes it."""
        holder, self._holder = self._holder, None
        if holder is not None:
            await self._database.drop(holder)

    async def _take(self) -> None:
        """Makes the row and takes the lock before anyone sees the row."""
        holder = await self._database.hold()
        try:
            self.number = await self._database.write_on(holder, partial(_register, old=self.number))
        except StoreError:
            await self._database.drop(holder)
            raise
        self._holder = holder


def _register(connection: Connection, old: int) -> int:
    """Gives the process a number, and locks that for the connection's life. What it ran under an old one is its still.

    A new number each time: a connection that broke may keep the lock on the old one for a while.
    """
    number = connection.execute(insert(owners).returning(owners.c.number)).scalar_one()
    connection.execute(select(func.pg_advisory_lock(_OWNER_LOCKS, number)))
    for table in (responses, conversations):
        connection.execute(update(table).where(table.c.owner == old).values(owner=number))
    connection.execute(delete(owners).where(owners.c.number == old))
    return number


def _interrupt_if_dead(connection: Connection, number: int) -> None:
    is_dead = connection.execute(select(func.pg_try_advisory_xact_lock(_OWNER_LOCKS, number))).scalar_one()
    if is_dead:
        interrupt(connection, number)
        connection.execute(delete(owners).where(owners.c.number == number))


def _errors(doing: str) -> AbstractContextManager[None]:
    return store_errors(doing, asyncpg.PostgresError, asyncpg.InterfaceError)
