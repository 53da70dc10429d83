"""What the store asks of a database, whichever it is.

The work inside a transaction is written once, for SQLAlchemy's plain `Connection`. For SQLite it runs in a thread, the
whole transaction in one go; for PostgreSQL it runs on the event loop, in a greenlet that waits for asyncpg.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import SQLAlchemyError

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
