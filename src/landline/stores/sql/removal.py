"""Giving content up: a link goes as soon as no living response and no conversation has it in its lineage."""

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, and_, bindparam, delete, exists, func, select

from landline.stores.sql.lineages import drop_output, first_key, load_paths, load_ranges, trunk_of
from landline.stores.sql.tables import TRUNK_SIZE, conversations, items, links, paths, responses, trunks

_DELETION_LOCK = 1_279_869_452
"""PostgreSQL advisory lock; a number of our own ("LILL")."""


def begin_removal(connection: Connection) -> None:
    """One removal at a time: two that run at once would each keep content for the other's sake."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_DELETION_LOCK)))


def release_response(connection: Connection, key: int, *, lists_history: bool) -> None:
    """Deletes what only the response with this link, deleted just now, still needed."""
    if lists_history and not _is_listed_behind(connection, key):
        for low, high in load_ranges(connection, key):
            unindex(connection, low, high)
    release_lineage(connection, key)
    if connection.execute(_HAS_UNUSED_OUTPUT, {"of_key": key, "of_first": first_key(key)}).scalar_one():
        drop_output(connection, key)


def release_lineage(connection: Connection, tip: int) -> None:
    """Deletes what only this link's response or conversation, deleted just now, still needed."""
    low, high = first_key(tip), first_key(tip) + TRUNK_SIZE - 1
    trunk = trunk_of(tip)
    unindex(connection, tip, tip)
    before = [] if _has_heads(connection, low, high) else load_paths(connection, trunk)
    if before:
        connection.execute(delete(paths).where(paths.c.trunk == trunk))
    for first in dict.fromkeys([low, *(first_key(each) for each, _ in reversed(before))]):
        _trim(connection, first)


def unindex(connection: Connection, low: int, high: int) -> None:
    """Makes items of these links unfindable that neither a living response nor a conversation shows."""
    connection.execute(
        delete(items).where(
            items.c.key.between(low, high),
            ~exists().where(responses.c.key == items.c.key),
            ~_is_in_conversation(items.c.key),
            ~_is_listed(items.c.key),
        )
    )


def _is_listed_behind(connection: Connection, key: int) -> bool:
    """Whether a response further up the same trunk lists all that this one did."""
    behind = responses.c.key.between(key + 1, first_key(key) + TRUNK_SIZE - 1)
    return bool(connection.execute(select(exists().where(responses.c.lists_history, behind))).scalar_one())


def _has_heads(connection: Connection, low: int, high: int) -> bool:
    """Whether a response or conversation has its newest link in this range."""
    query = select(
        exists().where(responses.c.key.between(low, high)) | exists().where(conversations.c.tip.between(low, high))
    )
    return bool(connection.execute(query).scalar_one())


def _trim(connection: Connection, low: int) -> None:
    """Deletes the links of a trunk that nothing needs, and the trunk with the last of them."""
    high = low + TRUNK_SIZE - 1
    connection.execute(
        delete(links).where(
            links.c.key.between(low, high),
            ~exists().where(responses.c.key.between(links.c.key, high)),
            ~exists().where(conversations.c.tip.between(links.c.key, high)),
            ~exists().where(paths.c.low.between(low, links.c.key), paths.c.high >= links.c.key),
        )
    )
    connection.execute(
        delete(trunks).where(trunks.c.number == trunk_of(low), ~exists().where(links.c.key.between(low, high)))
    )


def _is_in_conversation(key: ColumnElement[int]) -> ColumnElement[bool]:
    first = key - key % TRUNK_SIZE
    is_own = exists().where(conversations.c.tip.between(key, first + (TRUNK_SIZE - 1)))
    is_before = exists().where(
        _is_on_path(key), conversations.c.tip.between(paths.c.trunk * TRUNK_SIZE, _last_key(paths.c.trunk))
    )
    return is_own | is_before


def _is_listed(key: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a response that lists its history has the link in it."""
    first = key - key % TRUNK_SIZE
    is_own = exists().where(responses.c.lists_history, responses.c.key.between(key, first + (TRUNK_SIZE - 1)))
    is_before = exists().where(
        _is_on_path(key),
        responses.c.lists_history,
        responses.c.key.between(paths.c.trunk * TRUNK_SIZE, _last_key(paths.c.trunk)),
    )
    return is_own | is_before


def _is_on_path(key: ColumnElement[int]) -> ColumnElement[bool]:
    return and_(paths.c.low.between(key - key % TRUNK_SIZE, key), paths.c.high >= key)


def _last_key(trunk: ColumnElement[int]) -> ColumnElement[int]:
    return trunk * TRUNK_SIZE + (TRUNK_SIZE - 1)


def _has_unused_output() -> Select[bool]:
    """Whether a link without a response has an output that every lineage through it passes over."""
    key = bindparam("of_key", type_=BigInteger)
    follower, next_path = links.alias("follower"), paths.alias("next_path")
    continues = exists().where(follower.c.key == key + 1, follower.c.key % TRUNK_SIZE != 0, ~follower.c.follows_input)
    next_low = (
        select(next_path.c.low)
        .where(next_path.c.trunk == paths.c.trunk, next_path.c.seq == paths.c.seq + 1)
        .correlate(paths)  # of the statement around the one around this: SQLAlchemy looks no further than one by itself
        .scalar_subquery()
    )
    forked = links.alias("forked")
    passes_over = exists().where(
        forked.c.key == func.coalesce(next_low, paths.c.trunk * TRUNK_SIZE), forked.c.follows_input
    )
    forks = exists().where(
        paths.c.low.between(bindparam("of_first", type_=BigInteger), key), paths.c.high == key, ~passes_over
    )
    has_output = exists().where(links.c.key == key, links.c["count"] > links.c.input_count)
    return select(has_output & ~continues & ~forks & ~exists().where(conversations.c.tip == key))


_HAS_UNUSED_OUTPUT = _has_unused_output()
