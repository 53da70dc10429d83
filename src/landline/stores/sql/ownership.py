"""Which process runs what: so that what a dead one left behind is told from what a living one is doing."""

import sqlite3
from functools import partial
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from landline.stores.sql.database import PostgresqlDatabase, SqliteDatabase
from landline.stores.sql.responses import interrupt
from landline.stores.sql.tables import owners
from landline.stores.store import StoreError

_OWNER_LOCKS = 1_279_869_453
"""First key of the advisory locks that stand for processes; the second is the process's number."""

_SOLE_OWNER = 1


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

    async def interrupt_dead(self) -> None:
        """Ends what processes left running that died since."""
        ...

    async def release(self) -> None: ...


class FileOwnership:
    """A SQLite file belongs to one process at a time, which holds an exclusive lock on a file beside it.

    The lock is SQLite's own, on an empty database: it works wherever SQLite does and dies with the process.
    """

    def __init__(self, database: SqliteDatabase, path: str) -> None:
        self.number = _SOLE_OWNER
        self._database = database
        self._path = Path(f"{path}.lock")
        self._lock: sqlite3.Connection | None = None

    async def claim(self) -> None:
        """Raises `StoreError` when another process has the file."""
        try:
            self._lock = _lock_file(self._path)
        except sqlite3.Error as error:
            raise StoreError(
                f"{str(self._path)!r} cannot be locked ({error}). One process at a time may use a SQLite store: stop "
                "the other one, name another file, or use PostgreSQL."
            ) from error

    async def begin(self) -> None:
        """Nobody else lives here, so whatever runs was interrupted."""
        await self._database.write(lambda connection: interrupt(connection, None))

    async def keep(self) -> None:
        """A file lock is not lost while the process lives."""

    async def interrupt_dead(self) -> None:
        """There are no other processes."""

    async def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def is_claimed(path: str) -> bool:
    """Whether a SQLite file cannot be claimed now: another process has it, or nothing can be written beside it."""
    try:
        _lock_file(Path(f"{path}.lock")).close()
    except sqlite3.Error:
        return True
    return False


def _lock_file(path: Path) -> sqlite3.Connection:
    """The lock, as long as the connection lives. Raises sqlite3.Error when it cannot be had."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


class SharedOwnership:
    """A PostgreSQL database serves several processes: each holds an advisory lock as long as its connection lives."""

    def __init__(self, database: PostgresqlDatabase) -> None:
        self.number = 0
        self._database = database
        self._holder: AsyncConnection | None = None

    async def claim(self) -> None:
        """Nothing: processes share the database."""

    async def begin(self) -> None:
        await self._take(None)
        await self.interrupt_dead()

    async def keep(self) -> None:
        if self._holder is None or not await self._database.is_connected(self._holder):
            await self.release()
            await self._take(self.number)

    async def interrupt_dead(self) -> None:
        query = select(owners.c.number).where(owners.c.number != self.number)
        others = await self._database.read(lambda connection: connection.execute(query).scalars().all())
        for number in others:
            await self._database.write(partial(_interrupt_if_dead, number=number))

    async def release(self) -> None:
        """Leaves the row to whoever finds the lock free, so that nothing is left running that nobody ends."""
        holder, self._holder = self._holder, None
        if holder is not None:
            await self._database.drop(holder)

    async def _take(self, number: int | None) -> None:
        """Makes the row and takes the lock before anyone sees the row."""
        self._holder = await self._database.hold()
        self.number = await self._database.write_on(self._holder, partial(_register, number=number))


def _register(connection: Connection, number: int | None) -> int:
    """Gives the process a number, or its old one again, and locks it for the connection's life."""
    taken = connection.execute(select(owners.c.number).where(owners.c.number == number)).scalar()
    if taken is None:
        row = {} if number is None else {"number": number}
        taken = connection.execute(insert(owners).values(row).returning(owners.c.number)).scalar_one()
    connection.execute(select(func.pg_advisory_lock(_OWNER_LOCKS, taken)))
    return taken


def _interrupt_if_dead(connection: Connection, number: int) -> None:
    is_dead = connection.execute(select(func.pg_try_advisory_xact_lock(_OWNER_LOCKS, number))).scalar_one()
    if is_dead:
        interrupt(connection, number)
        connection.execute(delete(owners).where(owners.c.number == number))
