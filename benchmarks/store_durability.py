"""What a stored turn costs with SQLite's `synchronous` at NORMAL and at FULL, one at a time and in a burst.

A turn is one begin and one end, as the server saves them, of 2 kB in and 2 kB out. Both settings run in turn, on the same disk.
Run it in a folder on the disk that is meant: `python benchmarks/store_durability.py FOLDER`.
"""

import asyncio
import json
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from landline.stores import make_store
from landline.stores.sql.sqlite import Synchronous
from landline.stores.store import NewResponse, Store
from landline.wire.items import decode_item

ROUNDS = 5
TURNS = 200
BURST = 100
TEXT = "x" * 2000


async def _turn(store: Store, name: str) -> None:
    item = decode_item(json.dumps({"type": "message", "id": f"msg_{name}", "role": "user", "content": TEXT}).encode())
    answer = decode_item(
        json.dumps({"type": "message", "id": f"out_{name}", "role": "assistant", "content": TEXT}).encode()
    )
    body = b'{"object":"response"}'
    await store.begin_response(
        NewResponse(response_id=name, tenant="", created_at=0.0, parent_id=None, body=body, items=(item,))
    )
    await store.finish_response("", name, status="completed", body=body, output=(answer,))


async def _measure(folder: Path, synchronous: Synchronous) -> tuple[list[float], float]:
    """The seconds of each turn, one after the other, and those of a burst at once."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store = make_store(f"sqlite:///{place}/store.db", synchronous=synchronous)
        await store.open()
        single = [await _time(lambda number=number: _turn(store, f"one{number}")) for number in range(TURNS)]
        burst = await _time(lambda: _burst(store))
        await store.close()
        return single, burst


async def _burst(store: Store) -> None:
    await asyncio.gather(*(_turn(store, f"burst{number}") for number in range(BURST)))


async def _time(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.gettempdir())
    print(f"{platform.machine()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}")
    single: dict[Synchronous, list[float]] = {"normal": [], "full": []}
    burst: dict[Synchronous, list[float]] = {"normal": [], "full": []}
    for _ in range(ROUNDS):
        for synchronous in single:
            each, together = await _measure(folder, synchronous)
            single[synchronous] += each
            burst[synchronous].append(together)
    for name, each in single.items():
        times = sorted(each)
        print(
            f"{name:6}: one turn, median of {len(times)}: {1000 * statistics.median(times):.2f} ms, "
            f"p99 {1000 * times[len(times) * 99 // 100]:.2f} ms; {BURST} turns at once, median of {ROUNDS}: "
            f"{1000 * statistics.median(burst[name]):.0f} ms, best {1000 * min(burst[name]):.0f} ms"
        )


if __name__ == "__main__":
    asyncio.run(main())
