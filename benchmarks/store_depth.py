"""What does continuing a stored response cost, 2 and 200 turns deep? SQLite and PostgreSQL.

Chains of turns with about 1 kB of items each (a user's message and an answer) are saved side by side, so that their links
lie mixed on disk, until the database holds CHAINS chains of 200 turns. Then responses at both depths of all chains are continued
in random order. Timed are the three calls that a turn makes: `load_history`, with every item of the lineage decoded at
the end; `begin_response` with a new message; `finish_response` with an answer. "Continuing" is their sum. Each new
response is deleted before the next one, so nothing grows.

The store's process has everything imported and one connection warm; the database is in the system's cache. PostgreSQL
runs on the same machine, with its durability switched on; SQLite as the store sets it (WAL, synchronous NORMAL).

    python benchmarks/store_depth.py [--repeats 400] [--chains 50]
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time

import uvloop

from landline.stores import make_store
from landline.stores.store import Store
from setting import describe_setting, write_result
from support.stores.items import TENANT, body, message, new_response
from support.stores.postgres import PostgresServer

DEPTHS = (2, 200)
TEXT_BYTES = 430
"""Of each of a turn's two messages; their JSON adds what is missing to 1 kB."""
REACH = 1.5
"""The goal: continuing at the greater depth takes at most this many times as long as at the smaller one."""

Times = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=400, help="timed continuations for each depth and database")
    parser.add_argument("--chains", type=int, default=50, help="chains of 200 turns in each database")
    arguments = parser.parse_args()
    rows: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        rows += uvloop.run(_measure("SQLite", f"sqlite:///{folder}/store.db", arguments.chains, arguments.repeats))
    server = PostgresServer(is_durable=True)
    try:
        rows += uvloop.run(_measure("PostgreSQL", server.create_database(), arguments.chains, arguments.repeats))
    finally:
        server.remove()
    write_result("store_depth", _report(rows, arguments.chains, arguments.repeats))


async def _measure(name: str, url: str, chains: int, repeats: int) -> list[str]:
    store = make_store(url)
    await store.open()
    for number in range(max(DEPTHS)):
        await asyncio.gather(*(_save_turn(store, chain, number) for chain in range(chains)))
    times: dict[int, Times] = {depth: {"load": [], "begin": [], "finish": []} for depth in DEPTHS}
    for repeat in range(repeats):
        for depth in random.sample(DEPTHS, len(DEPTHS)):
            await _continue(store, f"{random.randrange(chains)}-{depth - 1}", f"new-{repeat}-{depth}", times[depth])
    await store.close()
    return _rows(name, times)


async def _save_turn(store: Store, chain: int, number: int) -> None:
    parent = f"{chain}-{number - 1}" if number else None
    await _begin(store, f"{chain}-{number}", parent)
    await _finish(store, f"{chain}-{number}")


async def _begin(store: Store, response_id: str, parent: str | None) -> None:
    items = [message(f"msg_{response_id}_in", "a" * TEXT_BYTES)]
    await store.begin_response(new_response(response_id, parent=parent, items=items, created_at=time.time()))


async def _finish(store: Store, response_id: str) -> None:
    output = [message(f"msg_{response_id}_out", "b" * TEXT_BYTES, role="assistant")]
    ended = body("completed", output="c" * TEXT_BYTES)
    await store.finish_response(TENANT, response_id, status="completed", body=ended, output=output)


async def _continue(store: Store, parent: str, response_id: str, times: Times) -> None:
    started = time.perf_counter()
    history = await store.load_history(TENANT, parent)
    loaded = time.perf_counter()
    await _begin(store, response_id, parent)
    begun = time.perf_counter()
    await _finish(store, response_id)
    finished = time.perf_counter()
    depth = int(parent.rpartition("-")[2]) + 1
    assert history is not None
    assert history.link is not None
    assert history.link.item_count == 2 * depth
    times["load"].append(loaded - started)
    times["begin"].append(begun - loaded)
    times["finish"].append(finished - begun)
    await store.delete_response(TENANT, response_id)


def _rows(name: str, times: dict[int, Times]) -> list[str]:
    rows: list[str] = []
    sums = {depth: [sum(each, 0.0) for each in zip(*times[depth].values(), strict=True)] for depth in DEPTHS}
    for depth in DEPTHS:
        cells = [*times[depth].values(), sums[depth]]
        rows.append(f"| {name} | {depth} | " + " | ".join(_milliseconds(each) for each in cells) + " |")
    small, great = DEPTHS
    ratios = [
        f"{statistics.median(at_great) / statistics.median(at_small):.2f} ({min(at_great) / min(at_small):.2f})"
        for at_small, at_great in zip(
            [*times[small].values(), sums[small]], [*times[great].values(), sums[great]], strict=True
        )
    ]
    return [*rows, f"| {name} | {great} : {small} | " + " | ".join(ratios) + " |"]


def _milliseconds(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.2f} ({min(seconds) * 1000:.2f})"


def _report(rows: list[str], chains: int, repeats: int) -> list[str]:
    return [
        "# Continuing a stored response, 2 and 200 turns deep",
        "",
        f"`python benchmarks/store_depth.py`: {chains} chains of 200 turns with 1 kB of items each, n = {repeats} for each row,",
        "milliseconds: median (best). The file's head says exactly what is timed; continuing is load + begin + finish.",
        f"Reach: continuing 200 turns deep takes at most {REACH} times the time of 2 turns deep, with one query for the load.",
        "",
        *describe_setting("landline", "sqlalchemy", "asyncpg", "msgspec"),
        "",
        "| database | turns deep | load | begin | finish | continuing |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        "A load 200 turns deep brings 400 items, 220 kB, into Python objects; that, not the search, is what it costs more.",
        "Not shown: databases on other machines, many writers at once, cold disks.",
    ]


if __name__ == "__main__":
    main()
