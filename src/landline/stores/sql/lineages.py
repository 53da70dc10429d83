"""Reading and growing lineages: the head of a trunk behind ranges of other trunks."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    CompoundSelect,
    LargeBinary,
    Select,
    Table,
    cast,
    insert,
    literal,
    select,
    union_all,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from landline.session.lineage import Link, extend
from landline.stores.sql.content import pack, unpack
from landline.stores.sql.tables import TRUNK_SIZE, items, links, paths, trunks
from landline.stores.store import StoredHistory
from landline.wire.items import Item

_OWN_SEQ = 2**31 - 1
"""A trunk's own links come behind all its paths."""


def trunk_of(key: int) -> int:
    """The number of the trunk that a link is on."""
    return key // TRUNK_SIZE


def first_key(key: int) -> int:
    """The first key of the trunk that a link is on."""
    return key - key % TRUNK_SIZE


class joined(GenericFunction[bytes]):  # noqa: N801 - SQLAlchemy names the SQL function after the class
    """All values of a column of bytes, one after another, in the order of the rows."""

    type = LargeBinary()
    inherit_cache = True


@compiles(joined, "sqlite")
def _joined_sqlite(element: joined, compiler: Any, **options: Any) -> str:
    return f"CAST(group_concat({compiler.process(element.clauses, **options)}, '') AS BLOB)"


@compiles(joined, "postgresql")
def _joined_postgresql(element: joined, compiler: Any, **options: Any) -> str:
    return f"string_agg({compiler.process(element.clauses, **options)}, ''::bytea)"


def ranges_to(head: Select[int]) -> CompoundSelect[int, int, int]:
    """Rows `seq`, `low`, `high` of the lineage that ends with the link whose key `head` selects."""
    tip = head.subquery("tip")
    own = select(
        literal(_OWN_SEQ).label("seq"), (tip.c.key - tip.c.key % TRUNK_SIZE).label("low"), tip.c.key.label("high")
    )
    before = select(paths.c.seq, paths.c.low, paths.c.high).join(tip, paths.c.trunk == tip.c.key // TRUNK_SIZE)
    return union_all(own, before)


def lineage_query(head: Select[int]) -> Select[int | None, bytes | None, bytes | None]:
    """One row: the tip's key (null when `head` selects nothing), and the lineage's items as heads and raws."""
    ranges = ranges_to(head).subquery("ranges")
    rows = (
        select(links.c.heads, links.c.raws)
        .join(ranges, links.c.key.between(ranges.c.low, ranges.c.high))
        .order_by(ranges.c.seq, links.c.key)
        .subquery("rows")
    )
    return select(head.scalar_subquery(), joined(rows.c.heads), joined(rows.c.raws))


async def load_lineage(connection: AsyncConnection, head: Select[int]) -> StoredHistory | None:
    """The whole lineage as one link; None when `head` selects nothing."""
    found = await load_items(connection, head)
    if found is None:
        return None
    link: Link | None = extend(None, found)
    return StoredHistory(link)


async def load_items(connection: AsyncConnection, head: Select[int]) -> list[Item] | None:
    """The items of a lineage; None when `head` selects nothing."""
    tip, heads, raws = (await connection.execute(lineage_query(head))).one()
    return None if tip is None else unpack(heads, raws)


async def new_trunk(connection: AsyncConnection, ranges: Sequence[tuple[int, int]] = ()) -> int:
    """The first key of a new trunk that goes on from these ranges of keys."""
    number: int = (await connection.execute(insert(trunks).returning(trunks.c.number))).scalar_one()
    if ranges:
        rows = [{"trunk": number, "seq": seq, "low": low, "high": high} for seq, (low, high) in enumerate(ranges)]
        await connection.execute(insert(paths), rows)
    return number * TRUNK_SIZE


async def load_ranges(connection: AsyncConnection, tip: int) -> list[tuple[int, int]]:
    """The ranges of keys of the lineage that ends with a link, oldest first."""
    return [*await load_paths(connection, trunk_of(tip)), (first_key(tip), tip)]


async def load_paths(connection: AsyncConnection, trunk: int) -> list[tuple[int, int]]:
    """The ranges of keys before a trunk's own links, oldest first."""
    query = select(paths.c.low, paths.c.high).where(paths.c.trunk == trunk).order_by(paths.c.seq)
    return [(low, high) for low, high in await connection.execute(query)]


async def append_link(connection: AsyncConnection, tip: int, tenant: str, content: Sequence[Item]) -> int:
    """Adds a link behind another one, on its trunk if the place is free, else on a new one; returns its key."""
    key = tip + 1
    if trunk_of(key) == trunk_of(tip) and await _claim(connection, key, content):
        await index_items(connection, tenant, key, content)
        return key
    return await fork_link(connection, tip, tenant, content)


async def fork_link(connection: AsyncConnection, tip: int, tenant: str, content: Sequence[Item]) -> int:
    """Adds a link behind another one on a new trunk; returns its key."""
    key = await new_trunk(connection, await load_ranges(connection, tip))
    await insert_link(connection, key, tenant, content)
    return key


async def insert_link(
    connection: AsyncConnection, key: int, tenant: str, content: Sequence[Item], *, is_indexed: bool = True
) -> None:
    """Puts a link where no other is."""
    await connection.execute(insert(links).values(_link_row(key, content)))
    if is_indexed:
        await index_items(connection, tenant, key, content)


async def _claim(connection: AsyncConnection, key: int, content: Sequence[Item]) -> bool:
    """Puts a link at a place unless it is taken: of two that race for it, one gets it."""
    statement = _insert_into(connection, links).values(_link_row(key, content)).on_conflict_do_nothing()
    return (await connection.execute(statement.returning(links.c.key))).first() is not None


def _link_row(key: int, content: Sequence[Item]) -> dict[str, int | bytes]:
    heads, raws = pack(content)
    return {"key": key, "input_count": len(content), "heads": heads, "raws": raws}


async def index_items(connection: AsyncConnection, tenant: str, key: int, content: Sequence[Item]) -> None:
    """Makes a link's items findable by their ids."""
    found = sorted({item.id for item in content if item.id is not None})
    if found:
        rows = [{"tenant": tenant, "item_id": item_id, "key": key} for item_id in found]
        await connection.execute(_insert_into(connection, items).on_conflict_do_nothing(), rows)


async def extend_link(connection: AsyncConnection, key: int, tenant: str, output: Sequence[Item]) -> None:
    """Adds a response's output to its link."""
    if not output:
        return
    heads, raws = pack(output)
    await connection.execute(
        links.update()
        .where(links.c.key == key)
        .values(heads=_concatenated(links.c.heads, heads), raws=_concatenated(links.c.raws, raws))
    )
    await index_items(connection, tenant, key, output)


def _insert_into(connection: AsyncConnection, table: Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def _concatenated(column: Column[bytes], more: bytes) -> ColumnElement[bytes]:
    return cast(column.concat(literal(more, LargeBinary)), LargeBinary)
