"""Lineages in the database: their items packed into links, and links read and added on trunks.

A lineage is the head of a trunk behind ranges of other trunks (`tables`). Statements on the way of every turn are built
once: building one costs more than SQLite takes to run it.
"""

import struct
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

import msgspec
import structlog
from sqlalchemy import (
    Connection,
    LargeBinary,
    Row,
    Select,
    Table,
    bindparam,
    cast,
    delete,
    insert,
    literal,
    select,
    type_coerce,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import NullType

from landline.session.lineage import extend
from landline.stores.sql.prepared import Prepared
from landline.stores.sql.tables import TRUNK_SIZE, items, links, paths, trunks
from landline.stores.store import StoredHistory
from landline.stores.stored_items import readable_items
from landline.wire.items import Item, Signed
from landline.wire.readable import UNREADABLE

_log = structlog.stdlib.get_logger(__name__)


class _SavedItem(msgspec.Struct, omit_defaults=True):
    """The fields of `Item` that are kept. The opened content of a sealed item is not among them: it is stored as it came."""

    raw: bytes
    type: str
    id: str | None = None
    role: str | None = None
    call_id: str | None = None
    signed: Signed | None = None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[list[Item]] = msgspec.msgpack.Decoder(list[Item])


def pack(items: Sequence[Item]) -> bytes:
    """The items, one behind another."""
    saved = (_SavedItem(item.raw, item.type, item.id, item.role, item.call_id, item.signed) for item in items)
    return b"".join([_ENCODER.encode(each) for each in saved])


def unpack(links: Sequence[tuple[int, bytes]]) -> list[Item]:
    """The items of links, each given as their number and how they lie packed. A link that cannot be read has none."""
    try:
        return _unpack(sum([count for count, _ in links]), [content for _, content in links])
    except UNREADABLE as error:
        if len(links) == 1:
            _log.error("stored_link_unreadable", error=str(error), items=links[0][0])
            return []
        return [item for link in links for item in unpack([link])]


def _unpack(count: int, pieces: Iterable[bytes]) -> list[Item]:
    header = b"\xdd" + struct.pack(">I", count)  # MessagePack's array of that many elements
    return _DECODER.decode(b"".join([header, *pieces]))


LineageQuery = Select[int, int, int, bytes, int, bool]
_LineageRow = Row[int, int, int, bytes, int, bool]

_OWN_SEQ = 2**31 - 1
"""A trunk's own links come behind all its paths."""
_AS_IT_COMES: Any = NullType()
"""The type of bytes that are left as the driver gives them: SQLAlchemy would make bytes of each value again."""


def trunk_of(key: int) -> int:
    """The number of the trunk that a link is on."""
    return key // TRUNK_SIZE


def first_key(key: int) -> int:
    """The first key of the trunk that a link is on."""
    return key - key % TRUNK_SIZE


def lineage_query(head: Select[int]) -> LineageQuery:
    """The links of the lineage that ends with the link whose key `head` selects: `seq`, key, count, content, how many of
    them are input, and whether it follows the input of the link before.

    They come in any order: to sort them, the database would move all content once more. No rows mean no such head.
    """
    tip = head.subquery("tip")
    key = tip.c[0]
    own = select(literal(_OWN_SEQ).label("seq"), (key - key % TRUNK_SIZE).label("low"), key.label("high"))
    before = select(paths.c.seq, paths.c.low, paths.c.high).join(tip, paths.c.trunk == key // TRUNK_SIZE)
    ranges = union_all(own, before).subquery("ranges")
    content = type_coerce(links.c.content, _AS_IT_COMES)
    return select(
        ranges.c.seq, links.c.key, links.c["count"], content, links.c.input_count, links.c.follows_input
    ).join(ranges, links.c.key.between(ranges.c.low, ranges.c.high))


def load_items(connection: Connection, query: LineageQuery, parameters: dict[str, str]) -> list[Item] | None:
    """The items of a lineage; None when its head is not there."""
    rows = sorted(connection.execute(query, parameters), key=itemgetter(0, 1))
    return _unpack_rows(rows, is_input_only=False) if rows else None


def load_input(connection: Connection, query: LineageQuery, parameters: dict[str, str]) -> list[Item]:
    """The items of a lineage up to the input of its head; none when that is not there."""
    return _unpack_rows(sorted(connection.execute(query, parameters), key=itemgetter(0, 1)), is_input_only=True)


def _unpack_rows(rows: Sequence[_LineageRow], *, is_input_only: bool) -> list[Item]:
    """The items of a lineage without the outputs that a link behind them passed over, and perhaps without the last one."""
    if not is_input_only and not any(row[5] for row in rows):
        return unpack([(row[2], row[3]) for row in rows])
    kept: list[Item] = []
    passes_over = [*(row[5] for row in rows[1:]), is_input_only]
    for row, is_passed_over in zip(rows, passes_over, strict=True):
        every = unpack([(row[2], row[3])])
        kept += every[: row[4]] if is_passed_over else every
    return kept


def load_history(connection: Connection, query: LineageQuery, parameters: dict[str, str]) -> StoredHistory | None:
    """The whole lineage as one link; None when its head is not there."""
    found = load_items(connection, query, parameters)
    return None if found is None else StoredHistory(extend(None, readable_items(found)))


_NEW_TRUNK = Prepared(insert(trunks).returning(trunks.c.number), [])
_INSERT_PATHS = insert(paths)
_LOAD_PATHS = select(paths.c.low, paths.c.high).where(paths.c.trunk == bindparam("of_trunk")).order_by(paths.c.seq)
_LINK_COLUMNS = [column.name for column in links.c]
_INSERT_LINK = Prepared(insert(links), _LINK_COLUMNS)


def new_trunk(connection: Connection, ranges: Sequence[tuple[int, int]] = ()) -> int:
    """The first key of a new trunk that goes on from these ranges of keys."""
    [(number,)] = _NEW_TRUNK.run(connection, {})
    if ranges:
        rows = [{"trunk": number, "seq": seq, "low": low, "high": high} for seq, (low, high) in enumerate(ranges)]
        connection.execute(_INSERT_PATHS, rows)
    return number * TRUNK_SIZE


def load_ranges(connection: Connection, tip: int) -> list[tuple[int, int]]:
    """The ranges of keys of the lineage that ends with a link, oldest first."""
    return [*load_paths(connection, trunk_of(tip)), (first_key(tip), tip)]


def load_paths(connection: Connection, trunk: int) -> list[tuple[int, int]]:
    """The ranges of keys before a trunk's own links, oldest first."""
    return [(low, high) for low, high in connection.execute(_LOAD_PATHS, {"of_trunk": trunk})]


class NewLink(msgspec.Struct, frozen=True):
    """What a link is made of."""

    input: Sequence[Item]
    output: Sequence[Item] = ()
    """Of a response that has ended."""
    follows_input: bool = False
    """Whether it goes on from the input of the link before it."""
    is_indexed: bool = True
    """Whether its items are found by their ids."""


def append_link(connection: Connection, tip: int, tenant: str, link: NewLink) -> int:
    """Adds a link behind another one, on its trunk if the place is free, else on a new one; returns its key."""
    key = tip + 1
    if trunk_of(key) == trunk_of(tip) and _claim(connection, key, link):
        _index_link(connection, tenant, key, link)
        return key
    return fork_link(connection, tip, tenant, link)


def fork_link(connection: Connection, tip: int, tenant: str, link: NewLink) -> int:
    """Adds a link behind another one on a new trunk; returns its key."""
    key = new_trunk(connection, load_ranges(connection, tip))
    insert_link(connection, key, tenant, link)
    return key


def insert_link(connection: Connection, key: int, tenant: str, link: NewLink) -> None:
    """Puts a link where no other is."""
    _INSERT_LINK.run(connection, _link_row(key, link))
    _index_link(connection, tenant, key, link)


def save_output(connection: Connection, key: int, tenant: str, output: Sequence[Item]) -> None:
    """Gives a response's link its output."""
    if output:
        _ADD_OUTPUT.run(connection, {"at_key": key, "more_count": len(output), "more_content": pack(output)})
        _index(connection, tenant, key, output)


def drop_output(connection: Connection, key: int) -> None:
    """Takes a link's output out of it."""
    row = connection.execute(
        select(links.c["count"], links.c.content, links.c.input_count).where(links.c.key == key)
    ).one()
    every = unpack([(row[0], row[1])])
    if len(every) != row[0]:  # it cannot be read, and so cannot be cut
        return
    kept = every[: row[2]]
    connection.execute(update(links).where(links.c.key == key).values(count=len(kept), content=pack(kept)))
    kept_ids = {item.id for item in kept}
    gone = [item.id for item in every[row[2] :] if item.id is not None and item.id not in kept_ids]
    if gone:
        connection.execute(_UNINDEX_ITEM, [{"at_key": key, "of_id": item_id} for item_id in gone])


def _claim(connection: Connection, key: int, link: NewLink) -> bool:
    """Puts a link at a place unless it is taken: of two that race for it, one gets it."""
    return bool(_CLAIM_LINK[connection.dialect.name].run(connection, _link_row(key, link)))


def _link_row(key: int, link: NewLink) -> dict[str, int | bytes]:
    every = [*link.input, *link.output]
    return {
        "key": key,
        "input_count": len(link.input),
        "count": len(every),
        "content": pack(every),
        "follows_input": link.follows_input,
    }


def _index_link(connection: Connection, tenant: str, key: int, link: NewLink) -> None:
    if link.is_indexed:
        _index(connection, tenant, key, [*link.input, *link.output])


def _index(connection: Connection, tenant: str, key: int, content: Sequence[Item]) -> None:
    """Makes a link's items findable by their ids."""
    found = sorted({item.id for item in content if item.id is not None})
    if found:
        rows = [{"tenant": tenant, "item_id": item_id, "key": key} for item_id in found]
        _INSERT_ITEMS[connection.dialect.name].run_each(connection, rows)


def _insert_or_ignore(table: Table) -> dict[str, Any]:
    """The statement for each database."""
    return {
        "sqlite": sqlite.insert(table).on_conflict_do_nothing(),
        "postgresql": postgresql.insert(table).on_conflict_do_nothing(),
    }


_INSERT_ITEMS = {
    name: Prepared(statement, ["tenant", "item_id", "key"]) for name, statement in _insert_or_ignore(items).items()
}
_UNINDEX_ITEM = delete(items).where(items.c.key == bindparam("at_key"), items.c.item_id == bindparam("of_id"))
_CLAIM_LINK = {
    name: Prepared(statement.returning(links.c.key), _LINK_COLUMNS)
    for name, statement in _insert_or_ignore(links).items()
}
_ADD_OUTPUT = Prepared(
    update(links)
    .where(links.c.key == bindparam("at_key"))
    .values(
        count=links.c["count"] + bindparam("more_count"),
        content=cast(links.c.content.concat(bindparam("more_content", type_=LargeBinary)), LargeBinary),
    )
)
