"""What does the store keep of a client that sends its whole history with each turn, and with `store` as it is by default?

One agent run of 60 turns inside this process: each turn sends everything so far (calls, their outputs, what the model
said) and one new message of some 2 kB, until the history has about 130 kB; the model answers with a thought and a message. One
client plays all of it back, another leaves the thoughts out, as some do. Noted are the time of a turn behind its parse,
median and of the last ten turns, and what is kept in the end: the database's pages in use, or the memory that the memory
store and the prefix index hold together (tracemalloc, without what the client itself holds).

The bodies of responses are part of it: each holds its output, its settings and its tools (here none) once.

    python benchmarks/stored_history.py [--turns 60]
"""

import argparse
import gc
import itertools
import json
import logging
import sqlite3
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import structlog
import uvloop

from landline.dialects.dialect import Prompt
from landline.routing.choice import Route
from landline.routing.router import Router
from landline.session.admission import CreateOrigin, admit
from landline.session.turn import Turn, TurnEnded
from landline.stores import make_store
from landline.stores.store import Store
from landline.turns.parts import RunnerSettings
from landline.turns.runner import TurnRunner
from landline.upstream.target import Target, Traffic
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Accepted, Finished, ModelEvent, ReasoningDelta, TextDelta
from landline.wire.requests import CreateRequest, decode_create
from setting import describe_setting, write_result
from support.turns.reply import replying, updates_of

MESSAGE_BYTES = 1700
ANSWER = "Here it is, as you asked for it. " * 8
CLIENTS = {"all of it": True, "without thoughts": False}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=60)
    turns = parser.parse_args().turns
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    rows: list[str] = []
    for client, has_thoughts in CLIENTS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "store.db"
            history, times = uvloop.run(_measure(f"sqlite:///{path}", turns, has_thoughts=has_thoughts))
            rows.append(_row("SQLite", client, history, times, _database_bytes(path)))
        tracemalloc.start()
        history, times = uvloop.run(_measure("memory", turns, has_thoughts=has_thoughts, rows=rows, client=client))
        tracemalloc.stop()
    write_result("stored_history", _report(rows, turns))


async def _measure(
    url: str, turns: int, *, has_thoughts: bool, rows: list[str] | None = None, client: str = ""
) -> tuple[int, list[float]]:
    """Bytes of the history in the end, and seconds of each turn."""
    store = make_store(url)
    await store.open()
    run = _Run(store, has_thoughts=has_thoughts)
    times = [await run.turn(number) for number in range(turns)]
    history = len(json.dumps(run.items))
    if rows is not None:
        run.items.clear()
        gc.collect()
        rows.append(_row("memory", client, history, times, tracemalloc.get_traced_memory()[0]))
    await store.close()
    return history, times


class _Run:
    """An agent's run inside this process."""

    def __init__(self, store: Store, *, has_thoughts: bool) -> None:
        target: Target = _Thinking()
        ids = itertools.count()
        self.items: list[dict[str, Any]] = []
        self._has_thoughts = has_thoughts
        self._runner = TurnRunner(
            Router({"m": [Route(target, None)]}),
            store,
            new_id=lambda prefix: f"{prefix}_{next(ids):032x}",
            settings=RunnerSettings(),
        )

    async def turn(self, number: int) -> float:
        """Seconds of the next turn behind its admission."""
        text = f"Turn {number}: " + "look at this and that. " * (MESSAGE_BYTES // 23)
        self.items.append({"role": "user", "content": text})
        turn = _admit(json.dumps({"model": "m", "input": self.items}).encode(), f"resp_{number:032x}")
        output: list[dict[str, Any]] = []
        started = time.perf_counter()
        async for update in updates_of(self._runner, turn):
            assert isinstance(update, TurnEnded) or not hasattr(update, "error")
            if isinstance(update, TurnEnded):
                output = [json.loads(item.raw) for item in update.output]
        seconds = time.perf_counter() - started
        self.items += [item for item in output if self._has_thoughts or item["type"] != "reasoning"]
        return seconds


def _admit(body: bytes, response_id: str) -> Turn:
    request = decode_create(body)
    assert isinstance(request, CreateRequest)
    turn = admit(request, response_id=response_id, now=time.time(), origin=CreateOrigin(tenant="t", body=body))
    assert isinstance(turn, Turn)
    return turn


class _Thinking:
    """A target that thinks, answers, and costs nothing."""

    name = "thinking"
    compacts = False

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def is_ready(self) -> bool:
        return True

    async def count_tokens(self, prompt: Prompt, traffic: Traffic) -> int | ApiError:
        return api_error("server_error", f"{prompt.model} counts nothing.")

    @replying
    async def ask(self, prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        yield [Accepted(), ReasoningDelta("They want to see it."), TextDelta(ANSWER), Finished()]


def _database_bytes(path: Path) -> int:
    with sqlite3.connect(path) as database:
        [pages], [free], [size] = (
            database.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size


def _row(store: str, client: str, history: int, times: list[float], kept: int) -> str:
    late = statistics.median(times[-10:])
    cells = (f"{history / 1000:.0f} kB", _ms(statistics.median(times)), _ms(late), f"{kept / 1000:.0f} kB")
    return f"| {store} | {client} | " + " | ".join(cells) + " |"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"


def _report(rows: list[str], turns: int) -> list[str]:
    return [
        "# What is stored of whole histories",
        "",
        f"`python benchmarks/stored_history.py`: {turns} turns of one client, times in milliseconds. The file's head says exactly",
        "what is timed and counted.",
        "",
        *describe_setting("landline", "sqlalchemy", "msgspec"),
        "",
        "| store | the client plays back | history in the end | turn, median | last ten | kept |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        "The times in memory are with tracemalloc, which slows them. Not shown: the parse, networks, models.",
    ]


if __name__ == "__main__":
    main()
