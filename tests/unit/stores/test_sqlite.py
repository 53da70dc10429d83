"""The writing thread of a SQLite file: writes that come together are one transaction."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url

from landline.stores.sql.sqlite import SqliteDatabase
from landline.stores.store import StoreError, StoreUnavailableError


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[SqliteDatabase]:
    database = SqliteDatabase(make_url(f"sqlite:///{tmp_path / 'file.db'}"))
    await database.write(lambda connection: _run(connection, "CREATE TABLE numbers (number INTEGER UNIQUE)"))
    yield database
    await database.close()


def _run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)


async def _add(database: SqliteDatabase, number: int) -> object:
    """Writes the number; the transaction in which it was written."""

    def work(connection: Connection) -> object:
        _run(connection, f"INSERT INTO numbers VALUES ({number})")
        return connection.get_transaction()

    return await database.write(work)


async def _numbers(database: SqliteDatabase) -> list[int]:
    query = "SELECT number FROM numbers ORDER BY rowid"
    return await database.read(lambda connection: list(connection.exec_driver_sql(query).scalars()))


async def test_writes_that_come_together_are_written_in_few_transactions_in_their_order(
    database: SqliteDatabase,
) -> None:
    transactions = await asyncio.gather(*(_add(database, number) for number in range(100)))
    assert await _numbers(database) == list(range(100))
    assert len(set(map(id, transactions))) <= 4, "the first alone, then as many as one may hold"


async def test_a_write_that_is_at_fault_takes_no_other_with_it(database: SqliteDatabase) -> None:
    numbers = [1, 2, 3, 2, 4]
    results = await asyncio.gather(*(_add(database, number) for number in numbers), return_exceptions=True)
    assert [isinstance(each, StoreError) for each in results] == [False, False, False, True, False]
    assert await _numbers(database) == [1, 2, 3, 4]


async def test_what_waits_when_it_is_closed_is_written(tmp_path: Path) -> None:
    url = make_url(f"sqlite:///{tmp_path / 'file.db'}")
    database = SqliteDatabase(url)
    await database.write(lambda connection: _run(connection, "CREATE TABLE numbers (number INTEGER UNIQUE)"))
    writes = [asyncio.create_task(_add(database, number)) for number in range(200)]
    await asyncio.sleep(0)
    await database.close()
    await asyncio.gather(*writes)
    with pytest.raises(StoreUnavailableError):
        await _add(database, 1000)
    again = SqliteDatabase(url)
    assert await _numbers(again) == list(range(200))
    await again.close()


async def test_a_caller_that_is_cancelled_waits_for_its_write(database: SqliteDatabase) -> None:
    await asyncio.gather(*(_add(database, number) for number in range(3)))
    writing = asyncio.create_task(_add(database, 3))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait({writing})
    assert writing.cancelled()
    assert await _numbers(database) == [0, 1, 2, 3]
