"""What a store keeps when its process dies, and how processes share it."""

import asyncio
import json
import multiprocessing
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import Connection, Engine, event, select

from landline.stores import is_claimed, make_store
from landline.stores.sql.database import parse_url
from landline.stores.sql.postgresql import PostgresqlDatabase
from landline.stores.sql.sqlite import SqliteDatabase
from landline.stores.sql.tables import links
from landline.stores.store import ResponseEndedError, Store, StoredConversation, StoreError, StoreUnavailableError
from support.stores.items import TENANT, body, ids, message, new_response, save
from support.stores.postgres import PostgresServer
from support.stores.writer import WRITERS, write_until_killed

KILLS = 15
CONVERSATION = StoredConversation(conversation_id="conv", created_at=5.0, metadata={})

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    [f"landline.stores.sql.{name}" for name in ("migrate", "postgresql", "sqlite")] + ["pytest"]
)


async def _opened(url: str) -> Store:
    store = make_store(url)
    await store.open()
    return store


async def test_what_was_saved_is_there_in_the_next_process(durable_url: str) -> None:
    first = await _opened(durable_url)
    await save(first, new_response("a"))
    await first.close()
    second = await _opened(durable_url)
    await save(second, new_response("b", parent="a"))
    assert ids(await second.load_history(TENANT, "b")) == ["a.in", "a.out", "b.in", "b.out"]
    await second.close()


@pytest.mark.parametrize("status", ["in_progress", "queued"])
async def test_interrupted_response_is_incomplete_and_can_be_continued(durable_url: str, status: str) -> None:
    first = await _opened(durable_url)
    await save(first, new_response("a"))
    await first.begin_response(new_response("b", parent="a", status="queued" if status == "queued" else "in_progress"))
    await first.close()
    second = await _opened(durable_url)
    stored = await second.load_response(TENANT, "b")
    assert stored is not None
    assert stored.status == "incomplete"
    assert json.loads(stored.body) == {
        "object": "response",
        "status": "incomplete",
        "incomplete_details": {"reason": "interrupted"},
    }
    assert ids(await second.load_history(TENANT, "b")) == ["a.in", "a.out", "b.in"]
    await second.close()


async def test_interrupted_turn_frees_its_conversation_and_adds_nothing_to_it(durable_url: str) -> None:
    first = await _opened(durable_url)
    await first.create_conversation(TENANT, CONVERSATION, [message("k")])
    await first.lock_conversation(TENANT, "conv", "r")
    await first.begin_response(new_response("r", conversation="conv"))
    await first.close()
    second = await _opened(durable_url)
    assert ids(await second.load_conversation_history(TENANT, "conv")) == ["k"]
    assert ids(await second.load_history(TENANT, "r")) == ["k", "r.in"]
    assert await second.lock_conversation(TENANT, "conv", "s") == "locked"
    await save(second, new_response("s", conversation="conv"))
    assert ids(await second.load_conversation_history(TENANT, "conv")) == ["k", "s.in", "s.out"]
    await second.close()


async def test_lock_without_a_response_is_freed_when_its_process_dies(durable_url: str) -> None:
    first = await _opened(durable_url)
    await first.create_conversation(TENANT, CONVERSATION, [])
    await first.lock_conversation(TENANT, "conv", "never begun")
    await first.close()
    second = await _opened(durable_url)
    assert await second.lock_conversation(TENANT, "conv", "r") == "locked"
    await second.close()


async def test_one_query_loads_a_history_of_any_shape(durable_url: str) -> None:
    store = await _opened(durable_url)
    parent: str | None = None
    for number in range(20):  # every other turn is a fork
        await save(store, new_response(f"r{number}", parent=parent))
        if number % 2:
            await save(store, new_response(f"other{number}", parent=parent))
            parent = f"other{number}"
        else:
            parent = f"r{number}"
    statements: list[str] = []

    def count(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", count)
    history = await store.load_history(TENANT, "other19")
    event.remove(Engine, "before_cursor_execute", count)
    assert len(ids(history) or []) == 40
    assert len(statements) == 1
    await store.close()


async def test_output_that_every_lineage_passes_over_goes_with_its_response(durable_url: str) -> None:
    store = await _opened(durable_url)
    for name in ("a", "b", "kept"):
        await save(store, new_response(name))
    await save(store, new_response("behind a", parent="a", follows_input=True))
    await save(store, new_response("fork of b", parent="b", follows_input=True))
    await save(store, new_response("other fork of b", parent="b", follows_input=True))
    await save(store, new_response("behind kept", parent="kept"))
    await save(store, new_response("fork of kept", parent="kept", follows_input=True))
    for name in ("a", "b", "kept"):
        await store.delete_response(TENANT, name)
    assert ids(await store.load_history(TENANT, "other fork of b")) == [
        "b.in",
        "other fork of b.in",
        "other fork of b.out",
    ]
    assert ids(await store.load_history(TENANT, "behind kept")) == [
        "kept.in",
        "kept.out",
        "behind kept.in",
        "behind kept.out",
    ]
    await store.close()
    content = await _content(durable_url)
    assert b"a.in" in content
    assert b"a.out" not in content.replace(b"behind a.out", b"")
    assert b"b.out" not in content.replace(b"fork of b.out", b"")
    assert b"kept.out" in content.replace(b"behind kept.out", b"").replace(b"fork of kept.out", b"")


async def _content(url: str) -> bytes:
    """Everything that all links hold."""
    parsed = parse_url(url)
    database = SqliteDatabase(parsed) if parsed.drivername == "sqlite" else PostgresqlDatabase(parsed)
    rows = await database.read(lambda connection: connection.execute(select(links.c.content)).all())
    await database.close()
    return b"".join(row[0] for row in rows)


async def test_failed_transaction_leaves_nothing(durable_url: str) -> None:
    store = await _opened(durable_url)
    await save(store, new_response("a"))
    with pytest.raises(StoreError):
        await store.begin_response(new_response("a", items=[message("of the second")]))
    assert await store.find_items(TENANT, ["of the second"]) == {}
    await store.close()


async def test_finish_finds_what_a_cancelled_begin_saved(durable_url: str) -> None:
    store = await _opened(durable_url)
    await save(store, new_response("a"))
    for turn in range(20):
        name = f"b{turn}"
        saving = asyncio.create_task(store.begin_response(new_response(name, parent="a")))
        for _ in range(turn):
            await asyncio.sleep(0)
        saving.cancel()
        await asyncio.wait({saving})
        is_begun = await store.load_response(TENANT, name) is not None
        await store.finish_response(TENANT, name, status="completed", body=body("completed"), output=[])
        assert ids(await store.load_history(TENANT, name)) == (["a.in", "a.out", f"{name}.in"] if is_begun else None)
    await store.close()


async def test_closed_store_says_so(durable_url: str) -> None:
    store = await _opened(durable_url)
    await store.close()
    with pytest.raises(StoreError):
        await store.load_response(TENANT, "a")
    with pytest.raises(StoreError):
        await store.begin_response(new_response("a"))


async def test_sqlite_file_serves_one_process(new_url: Callable[[str], str]) -> None:
    url = new_url("sqlite")
    first = await _opened(url)
    second = make_store(url)
    with pytest.raises(StoreError, match="One process at a time"):
        await second.open()
    await save(first, new_response("a"))
    await first.close()
    await second.open()
    assert ids(await second.load_history(TENANT, "a")) == ["a.in", "a.out"]
    await second.close()


async def test_file_that_is_no_database_is_a_store_error_and_is_let_go(new_url: Callable[[str], str]) -> None:
    url = new_url("sqlite")
    path = url.removeprefix("sqlite:///")
    _spoil(Path(path))
    for _ in range(2):
        with pytest.raises(StoreError, match="not a database"):
            await make_store(url).open()
    assert not is_claimed(path)


def _spoil(path: Path) -> None:
    path.write_bytes(b"no database " * 100)


async def test_sqlite_folder_that_is_missing_is_a_store_error(new_url: Callable[[str], str]) -> None:
    store = make_store(new_url("sqlite").replace("store.db", "no/such/folder/store.db"))
    with pytest.raises(StoreError):
        await store.open()


async def test_postgresql_that_is_away_is_a_store_error() -> None:
    store = make_store("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailableError):
        await store.open()
    await store.close()


@pytest.mark.parametrize("url", ["sqlite://", "mysql://host/name", "nonsense", "sqlite+pysqlite:///x"])
def test_url_of_no_known_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        make_store(url)


async def test_processes_share_a_postgresql_database(new_url: Callable[[str], str]) -> None:
    url = new_url("postgresql")
    one, two = await _opened(url), await _opened(url)
    await save(one, new_response("a"))
    await one.begin_response(new_response("b", parent="a"))
    assert await two.sweep(0.0) == 0
    await save(two, new_response("c", parent="a"))
    running = await two.load_response(TENANT, "b")
    assert running is not None
    assert running.status == "in_progress"
    await one.finish_response(TENANT, "b", status="completed", body=body("completed"), output=[])
    assert ids(await two.load_history(TENANT, "b")) == ["a.in", "a.out", "b.in"]
    await one.close()
    await two.close()


async def test_living_process_ends_what_a_dead_one_left(new_url: Callable[[str], str]) -> None:
    url = new_url("postgresql")
    one, two = await _opened(url), await _opened(url)
    await one.begin_response(new_response("a"))
    await one.close()
    await two.sweep(0.0)
    left = await two.load_response(TENANT, "a")
    assert left is not None
    assert left.status == "incomplete"
    await two.close()


async def test_racing_processes_continue_one_response(new_url: Callable[[str], str]) -> None:
    url = new_url("postgresql")
    stores = [await _opened(url) for _ in range(3)]
    await save(stores[0], new_response("a"))
    names = [f"child{number}" for number in range(18)]
    await asyncio.gather(*(save(stores[place % 3], new_response(name, parent="a")) for place, name in enumerate(names)))
    for name in names:
        assert ids(await stores[0].load_history(TENANT, name)) == ["a.in", "a.out", f"{name}.in", f"{name}.out"]
    await asyncio.gather(*(stores[place % 3].delete_response(TENANT, name) for place, name in enumerate(names)))
    assert ids(await stores[0].load_history(TENANT, "a")) == ["a.in", "a.out"]
    for store in stores:
        await store.close()


async def test_processes_that_start_at_once_migrate_once(new_url: Callable[[str], str]) -> None:
    url = new_url("postgresql")
    stores = [make_store(url) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    await save(stores[3], new_response("a"))
    for store in stores:
        await store.close()


async def test_lost_connection_is_made_anew() -> None:
    server = PostgresServer()
    try:
        store = await _opened(server.create_database())
        await save(store, new_response("a"))
        await store.begin_response(new_response("b", parent="a"))
        server.stop()
        with pytest.raises(StoreError):
            await store.load_response(TENANT, "a")
        with pytest.raises(StoreError):
            await store.begin_response(new_response("c", parent="a"))
        server.start()
        assert ids(await store.load_history(TENANT, "a")) == ["a.in", "a.out"]
        await store.finish_response(TENANT, "b", status="completed", body=body("completed"), output=[])
        await save(store, new_response("c", parent="b"))
        assert ids(await store.load_history(TENANT, "c")) == ["a.in", "a.out", "b.in", "c.in", "c.out"]
        await store.close()
    finally:
        server.remove()


async def test_response_that_was_taken_for_dead_cannot_be_finished(new_url: Callable[[str], str]) -> None:
    store = await _opened(new_url("sqlite"))
    await save(store, new_response("a"))
    with pytest.raises(ResponseEndedError, match="ended already"):
        await store.finish_response(TENANT, "a", status="failed", body=body("failed"), output=[message("x")])
    assert ids(await store.load_history(TENANT, "a")) == ["a.in", "a.out"]
    await store.close()


async def _catch_up() -> None:
    """Nothing was put off."""


async def test_lock_of_a_turn_that_runs_no_more_is_freed_for_whoever_wants_it(durable_url: str) -> None:
    store = await _opened(durable_url)
    await store.create_conversation(TENANT, CONVERSATION, [message("k")])
    running = {"r"}
    store.watch_turns(running.__contains__, _catch_up)
    await store.lock_conversation(TENANT, "conv", "r")
    await store.begin_response(new_response("r", conversation="conv"))
    assert await store.lock_conversation(TENANT, "conv", "s") == "busy"
    assert await store.add_conversation_items(TENANT, "conv", [message("x")]) == "busy"
    running.clear()
    assert await store.add_conversation_items(TENANT, "conv", [message("x")]) == "locked"
    assert await store.lock_conversation(TENANT, "conv", "s") == "locked"
    await save(store, new_response("s", conversation="conv"))
    assert ids(await store.load_conversation_history(TENANT, "conv")) == ["k", "x", "s.in", "s.out"]
    left = await store.load_response(TENANT, "r")
    assert left is not None
    assert left.status == "incomplete"
    await store.close()


@pytest.mark.parametrize("status", ["in_progress", "queued"])
async def test_response_that_runs_no_more_is_incomplete_when_somebody_asks(durable_url: str, status: str) -> None:
    store = await _opened(durable_url)
    running = {"a", "b"}
    store.watch_turns(running.__contains__, _catch_up)
    for name in ("a", "b"):
        await store.begin_response(new_response(name, status="queued" if status == "queued" else "in_progress"))
    running.discard("a")
    ended, runs = await store.load_response(TENANT, "a"), await store.load_response(TENANT, "b")
    assert ended is not None
    assert runs is not None
    assert (ended.status, runs.status) == ("incomplete", status)
    assert json.loads(ended.body)["incomplete_details"] == {"reason": "interrupted"}
    await store.finish_response(TENANT, "b", status="completed", body=body("completed"), output=[])
    await store.close()


async def test_what_another_process_runs_is_left_alone(new_url: Callable[[str], str]) -> None:
    url = new_url("postgresql")
    one, two = await _opened(url), await _opened(url)
    two.watch_turns(lambda _: False, _catch_up)
    await one.create_conversation(TENANT, CONVERSATION, [])
    await one.lock_conversation(TENANT, "conv", "r")
    await one.begin_response(new_response("r", conversation="conv"))
    assert await two.lock_conversation(TENANT, "conv", "s") == "busy"
    running = await two.load_response(TENANT, "r")
    assert running is not None
    assert running.status == "in_progress"
    await two.sweep(0.0)
    await one.finish_response(TENANT, "r", status="completed", body=body("completed"), output=[])
    assert ids(await two.load_conversation_history(TENANT, "conv")) == ["r.in"]
    await one.close()
    await two.close()


async def test_full_disk_is_an_outage_and_a_wrong_statement_is_not(new_url: Callable[[str], str]) -> None:
    store = await _opened(new_url("sqlite"))
    database = SqliteDatabase(parse_url(new_url("sqlite")))
    await database.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1"))
    with pytest.raises(StoreUnavailableError) as full:
        await database.write(
            lambda connection: connection.exec_driver_sql("CREATE TABLE big AS SELECT zeroblob(1000000) AS content")
        )
    assert full.value.reason == "database or disk is full"
    with pytest.raises(StoreError) as wrong:
        await database.write(lambda connection: connection.exec_driver_sql("SELECT nothing FROM nowhere"))
    assert not isinstance(wrong.value, StoreUnavailableError)
    await store.begin_response(new_response("a"))
    with pytest.raises(StoreError) as taken:
        await store.begin_response(new_response("a"))
    assert not isinstance(taken.value, StoreUnavailableError)
    await database.close()
    await store.close()


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1)])
async def test_sqlite_waits_for_its_disk_as_it_is_told(
    synchronous: Literal["full", "normal"], level: int, new_url: Callable[[str], str]
) -> None:
    database = SqliteDatabase(parse_url(new_url("sqlite")), synchronous=synchronous)

    def read_level(connection: Connection) -> int:
        return connection.exec_driver_sql("PRAGMA synchronous").scalar_one()

    assert await database.write(read_level) == level
    await database.close()


async def test_end_that_is_saved_once_more_is_saved_once(durable_url: str) -> None:
    store = await _opened(durable_url)
    await store.create_conversation(TENANT, CONVERSATION, [])
    await store.lock_conversation(TENANT, "conv", "r")
    await save(store, new_response("r", conversation="conv"))
    await store.finish_response(TENANT, "r", status="completed", body=body("completed"), output=[message("r.out")])
    assert ids(await store.load_history(TENANT, "r")) == ["r.in", "r.out"]
    assert ids(await store.load_conversation_history(TENANT, "conv")) == ["r.in", "r.out"]
    await store.close()


async def test_killed_writer_leaves_whole_or_incomplete_responses(durable_url: str) -> None:
    """kill -9 at random moments: what was reported finished is there and whole, everything else is incomplete."""
    moments = random.Random(7)
    reports = [
        await asyncio.to_thread(
            _write_and_kill, durable_url, f"round{number}", moments.randint(1, 30), moments.uniform(0.0, 0.004)
        )
        for number in range(KILLS)
    ]
    store = await _opened(durable_url)
    finished = [name for report in reports for what, name in report if what == "finished"]
    begun = [name for report in reports for what, name in report if what == "begins"]
    assert len(finished) > KILLS
    for name in finished:
        assert ids(await store.load_history(TENANT, name)) == _whole(name)
    for name in set(begun) - set(finished):
        await _check_unfinished(store, name)
    for number in range(KILLS):
        await _check_conversation(store, f"round{number}-{WRITERS - 1}", finished)
    await store.close()


def _whole(name: str) -> list[str]:
    """The history of the numbered turns up to and with this one."""
    prefix, _, last = name.rpartition("-")
    return [f"{prefix}-{number}.{end}" for number in range(int(last) + 1) for end in ("in", "out")]


async def _check_unfinished(store: Store, name: str) -> None:
    """Killed before the begin was saved, behind it, or behind the end but before that was reported."""
    stored = await store.load_response(TENANT, name)
    if stored is None:
        return
    whole = _whole(name)
    assert stored.status in ("incomplete", "completed")
    assert json.loads(stored.body)["status"] == stored.status
    expected = whole if stored.status == "completed" else whole[:-1]
    assert ids(await store.load_history(TENANT, name)) == expected


async def _check_conversation(store: Store, name: str, finished: list[str]) -> None:
    history = ids(await store.load_conversation_history(TENANT, name))
    turns = len([each for each in finished if each.startswith(f"{name}-")])
    if history is None:
        assert turns == 0
        return
    assert len(history) // 2 in (turns, turns + 1)
    assert history == [f"{name}-{number}.{end}" for number in range(len(history) // 2) for end in ("in", "out")]
    assert await store.lock_conversation(TENANT, name, "next") == "locked"


def _write_and_kill(url: str, prefix: str, reports: int, then_s: float) -> list[tuple[str, str]]:
    """What a writer reported before it was killed, some moment after so many reports."""
    reading, writing = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=write_until_killed, args=(url, prefix, writing), daemon=True)
    process.start()
    writing.close()
    seen = [reading.recv() for _ in range(reports)]
    time.sleep(then_s)  # a random moment is the point
    process.kill()
    with suppress(EOFError, OSError):  # the last report may be cut off
        while True:
            seen.append(reading.recv())
    process.join()
    return seen
