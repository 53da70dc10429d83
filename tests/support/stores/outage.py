"""Databases that can be taken away for a while, as they are in the field."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from support.stores.postgres import PostgresServer

Kind = Literal["stopped", "frozen", "locked"]
KINDS: tuple[Kind, ...] = ("stopped", "frozen", "locked")
"""PostgreSQL that is not there, or does not answer; SQLite whose write lock another process holds."""
_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


class Outage:
    """One database, which may be away."""

    def __init__(self, kind: Kind, folder: Path, server: PostgresServer | None) -> None:
        self.kind = kind
        self._path = folder / "store.db"
        self._server = server
        self._holder: asyncio.subprocess.Process | None = None
        self._is_away = False
        self.url = server.create_database() if server is not None else f"sqlite:///{self._path}"

    @property
    def stops_reading(self) -> bool:
        """SQLite reads while somebody else writes."""
        return self.kind != "locked"

    async def begin(self) -> None:
        self._is_away = True
        if self._server is None:
            command = (sys.executable, "-c", _HOLD, str(self._path))
            pipe = asyncio.subprocess.PIPE
            self._holder = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
            assert self._holder.stdout is not None
            assert await self._holder.stdout.readline() == b"held\n"
        else:
            await asyncio.to_thread(self._server.stop if self.kind == "stopped" else self._server.freeze)

    async def cut(self) -> None:
        """Ends every connection of a PostgreSQL server that goes on."""
        assert self._server is not None
        await asyncio.to_thread(self._server.cut_connections)

    async def end(self) -> None:
        """Brings the database back; nothing happens if it is there."""
        if not self._is_away:
            return
        self._is_away = False
        if self._holder is not None:
            await self._holder.communicate(b"")
            self._holder = None
        elif self._server is not None:
            await asyncio.to_thread(self._server.start if self.kind == "stopped" else self._server.thaw)


class Place:
    """Where databases are made that may be taken away. Their PostgreSQL server has no other users."""

    def __init__(self, folder: Path, find_server: Callable[[], PostgresServer]) -> None:
        self._folder = folder
        self._find_server = find_server

    @asynccontextmanager
    async def database(self, kind: Kind) -> AsyncGenerator[Outage]:
        """A new database, which is there again afterwards."""
        away = Outage(kind, self._folder, None if kind == "locked" else await asyncio.to_thread(self._find_server))
        try:
            yield away
        finally:
            await away.end()
