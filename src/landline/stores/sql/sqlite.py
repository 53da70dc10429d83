"""SQLite: one file, one process.

One thread writes. What is asked of it while it is busy waits, and is then written in one transaction: a commit takes longer
than all that a turn writes, and whoever waits for one need not know of the others.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event

from landline.stores.private_files import make_private_file, tighten_file
from landline.stores.sql.database import completed, store_errors
from landline.stores.sql.responses import interrupt
from landline.stores.store import (
    DEFAULT_SYNCHRONOUS,
    DEFAULT_TIMEOUT_S,
    StoreError,
    StoreUnavailableError,
    Synchronous,
)

_Result = TypeVar("_Result")

_READERS = 2
"""Threads that read; one more writes. Reads are short and share the processor with the event loop."""
_MOST_WRITES = 64
"""Of one transaction: what comes behind them need not wait for more."""
_LEAST_WAIT_S = 0.1
"""How long even work that stood behind other work waits for another program's lock."""
_CACHE_KB = 16 * 1024
"""Pages that each connection keeps; the default of 2 MB is ten long conversations."""
_SOLE_OWNER = 1


_Outcome = tuple[Any, Exception | None]
"""What a write gave, or why it failed."""


class _Write(Generic[_Result]):
    """One piece of work that waits for the writing thread."""

    __slots__ = ("asked_at", "done", "work")

    def __init__(self, work: Callable[[Connection], _Result], done: asyncio.Future[_Result]) -> None:
        self.work = work
        self.done = done
        self.asked_at = time.monotonic()


class SqliteDatabase:
    """A SQLite file: one thread writes, a few read."""

    def __init__(
        self, url: URL, timeout_s: float = DEFAULT_TIMEOUT_S, synchronous: Synchronous = DEFAULT_SYNCHRONOUS
    ) -> None:
        """`timeout_s` is how long a lock that another program (a backup, a shell) holds is waited for."""
        self._timeout_s = timeout_s
        self._writer_waits_s = timeout_s
        self._writing = create_engine(url, hide_parameters=True, pool_size=1, max_overflow=0)
        self._reading = create_engine(url, hide_parameters=True, pool_size=_READERS, isolation_level="AUTOCOMMIT")
        self._writer = ThreadPoolExecutor(1, "sqlite-write")
        self._waiting: list[_Write[Any]] = []
        """What the next transaction is made of."""
        self._is_writing = False
        self._readers = ThreadPoolExecutor(_READERS, "sqlite-read")
        self._is_closed = False
        _prepare(self._writing, timeout_s, synchronous)
        _prepare(self._reading, timeout_s, synchronous)
        event.listen(self._writing, "begin", _begin_writing)

    async def read(self, work: Callable[[Connection], _Result]) -> _Result:
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def write(self, work: Callable[[Connection], _Result]) -> _Result:
        self._check_open()
        loop = asyncio.get_running_loop()
        write = _Write(work, loop.create_future())
        self._waiting.append(write)
        if not self._is_writing:
            self._write_waiting(loop)
        return await completed(write.done)

    async def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            if self._waiting:
                await asyncio.wait([write.done for write in self._waiting])
            await asyncio.get_running_loop().run_in_executor(self._writer, self._dispose)
            self._readers.shutdown(wait=False)
            self._writer.shutdown(wait=False)

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailableError("the store is closed", "it is closed")

    def _read(self, work: Callable[[Connection], _Result]) -> _Result:
        with store_errors("reading", sqlite3.Error), self._reading.connect() as connection:
            return work(connection)

    def _write_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        """Writes what waits, and after that what has come meanwhile."""
        batch, self._waiting = self._waiting[:_MOST_WRITES], self._waiting[_MOST_WRITES:]
        self._is_writing = bool(batch)
        if batch:
            writing = loop.run_in_executor(self._writer, self._write_all, batch)
            writing.add_done_callback(partial(self._end_batch, loop, batch))

    def _end_batch(
        self, loop: asyncio.AbstractEventLoop, batch: "list[_Write[Any]]", writing: "asyncio.Future[list[_Outcome]]"
    ) -> None:
        for write, (result, error) in zip(batch, writing.result(), strict=True):
            if write.done.done():
                continue
            if error is not None:
                write.done.set_exception(error)
            else:
                write.done.set_result(result)
        self._write_waiting(loop)

    def _write_all(self, batch: "list[_Write[Any]]") -> "list[_Outcome]":
        """Writes them in one transaction, or each in one of its own where one of them is at fault."""
        if len(batch) > 1:
            try:
                return [(result, None) for result in self._write(batch)]
            except StoreUnavailableError as error:
                return [(None, error)] * len(batch)
            except Exception:  # noqa: BLE001 - whose it is will show
                pass
        return [self._write_one(write) for write in batch]

    def _write_one(self, write: "_Write[Any]") -> "_Outcome":
        try:
            [result] = self._write([write])
        except Exception as error:  # noqa: BLE001 - raised again where the write was asked for
            return None, error
        return result, None

    def _write(self, batch: "list[_Write[Any]]") -> list[Any]:
        with store_errors("writing", sqlite3.Error), self._writing.connect() as connection:
            self._limit_wait(connection, time.monotonic() - batch[0].asked_at)
            with connection.begin():
                return [write.work(connection) for write in batch]

    def _limit_wait(self, connection: Connection, waited_s: float) -> None:
        """Work that stood in line while other work waited for a lock does not wait for it as long once more."""
        wait_s = self._timeout_s if waited_s < _LEAST_WAIT_S else max(self._timeout_s - waited_s, _LEAST_WAIT_S)
        if wait_s != self._writer_waits_s:
            _set_busy_timeout(connection.connection.driver_connection, wait_s)
            self._writer_waits_s = wait_s

    def _dispose(self) -> None:
        self._reading.dispose()
        self._writing.dispose()


class FileOwnership:
    """A SQLite file belongs to one process at a time, which holds an exclusive lock on a file beside it.

    The lock is SQLite's own, on an empty database: it works wherever SQLite does and dies with the process.
    All its files are for this user only.
    """

    def __init__(self, database: SqliteDatabase, path: str) -> None:
        self.number = _SOLE_OWNER
        self._database = database
        self._file = Path(path)
        self._path = Path(f"{path}.lock")
        self._lock: sqlite3.Connection | None = None

    async def claim(self) -> None:
        """Raises `StoreError` when another process has the file."""
        try:
            self._lock = _lock_file(self._path)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"{str(self._path)!r} cannot be locked ({error}). One process at a time may use a SQLite store: stop "
                "the other one, name another file, or use PostgreSQL."
            ) from error
        with store_errors("making the database's file"):
            _make_private(self._file)

    async def begin(self) -> None:
        """Nobody else lives here, so whatever runs was interrupted."""
        await self._database.write(lambda connection: interrupt(connection, None))

    async def keep(self) -> None:
        """A file lock is not lost while the process lives."""

    def touch(self, connection: Connection) -> None:
        """Writes a page: whether the lock can be had does not tell whether the disk is full."""
        connection.exec_driver_sql("PRAGMA user_version = 0")

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
    except (OSError, sqlite3.Error):
        return True
    return False


def _lock_file(path: Path) -> sqlite3.Connection:
    """The lock, as long as the connection lives. Raises OSError or sqlite3.Error when it cannot be had."""
    make_private_file(path)
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _make_private(path: Path) -> None:
    """SQLite gives the files beside the database, `-wal` and `-shm`, the database's own mode when it makes them."""
    make_private_file(path)
    for suffix in ("-wal", "-shm", "-journal"):
        tighten_file(path.with_name(path.name + suffix))


def _set_busy_timeout(connection: Any, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")


def _prepare(engine: Engine, timeout_s: float, synchronous: Synchronous) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _: object) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # the driver begins no transaction of its own
        _set_busy_timeout(connection, timeout_s)
        connection.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing either way: the system has what was written. A power cut takes what NORMAL has not
        # given to the disk yet.
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")


def _begin_writing(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # a reader that becomes a writer may be refused
