"""What does a turn cost whose client sends its whole history, with and without the prefix index?

One client plays an agent run over kept-alive HTTP: each request brings everything so far (tool calls and their outputs, as a
client spells them that prints arguments again), the answer of the turn before among it, and one new message. Timed is what
the client sees: from the write of the request to the end of the streamed answer (64 text deltas), from an upstream
that costs nothing. The two servers differ in one setting: `[prefixes] budget_bytes = 0` turns the index off.

The second table is the work of one process without any sockets: the same bodies decoded and admitted ("parse"), then run
by the turn runner against a target that only builds its chat-completions request ("behind the parse").

    python benchmarks/full_history.py [--turns 60]
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import logging
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import structlog
import uvloop

from landline.bench.processes import started_upstream
from landline.dialects.chat_completions import ChatCompletions
from landline.dialects.dialect import Prompt
from landline.routing.choice import Route
from landline.routing.router import Router
from landline.session.admission import CreateOrigin, admit
from landline.session.turn import Turn
from landline.stores.memory import MemoryStore
from landline.turns.parts import RunnerSettings
from landline.turns.prefixes import PrefixIndex, PrefixSettings
from landline.turns.runner import TurnMemory, TurnRunner
from landline.upstream.target import Target, Traffic
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Accepted, Finished, ModelEvent, TextDelta
from landline.wire.requests import CreateRequest, decode_create
from setting import describe_setting, write_result
from support.servers.running import RunningServer
from support.turns.reply import replying, updates_of

SIZES = {"100 kB": 100_000, "1 MB": 1_000_000}
OUTPUT_BYTES = 3600
"""A tool's answer: about what Codex CLI gets from a shell command."""
WARM_UP_TURNS = 5
INDEXES = {"off": 0, "on": PrefixSettings().budget_bytes}
"""Measured in turn, so that whatever else the machine does is shared."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=60, help="timed turns for each row")
    turns = parser.parse_args().turns
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    seen = [row for name, size in SIZES.items() for row in uvloop.run(_measure_servers(name, size, turns))]
    inside = [row for name, size in SIZES.items() for row in asyncio.run(_measure_runner(name, size, turns))]
    write_result("full_history", _report(seen, inside, turns))


def _history(size: int) -> list[dict[str, Any]]:
    """A task, then calls and outputs, of about so many bytes of JSON together."""
    items: list[dict[str, Any]] = [{"role": "user", "content": "Look through these files."}]
    while size > 0:
        call_id = f"call_{len(items)}"
        arguments = json.dumps({"cmd": f"sed -n 1,200p src/file_{len(items)}.py"}, separators=(",", ":"))
        text = "".join(f"def function_{line}(value):\n    return value * {line}\n" for line in range(90))[:OUTPUT_BYTES]
        items.append({"type": "function_call", "call_id": call_id, "name": "shell", "arguments": arguments})
        items.append({"type": "function_call_output", "call_id": call_id, "output": text})
        size -= len(json.dumps(items[-1])) + len(json.dumps(items[-2]))
    return items


async def _measure_servers(name: str, size: int, turns: int) -> list[str]:
    with started_upstream() as upstream, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        times: dict[str, list[float]] = {}
        clients: dict[str, _Client] = {}
        async with aiohttp.ClientSession() as http:
            for index, budget_bytes in INDEXES.items():
                home = Path(folder) / index
                home.mkdir()
                landline = stack.enter_context(RunningServer(_config(upstream.base_url, budget_bytes), home))
                clients[index] = _Client(http, landline.base_url, _history(size))
            for number in range(WARM_UP_TURNS + turns):
                for index, client in clients.items():
                    times.setdefault(index, []).append(await client.turn(number))
    return [_row(name, index, each[WARM_UP_TURNS:]) for index, each in times.items()]


def _config(upstream_url: str, budget_bytes: int) -> str:
    return f"""
[prefixes]
budget_bytes = {budget_bytes}
[targets.costless]
dialect = "chat_completions"
base_url = "{upstream_url}"
[models."*"]
targets = ["costless"]
"""


class _Client:
    """An agent's run against one server."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str, items: list[dict[str, Any]]) -> None:
        self._http = http
        self._base_url = base_url
        self._items = items

    async def turn(self, number: int) -> float:
        """Seconds of the next turn."""
        self._items.append({"role": "user", "content": f"And file {number}?"})
        body = json.dumps({"model": "costless", "store": False, "stream": True, "input": self._items}).encode()
        started = time.perf_counter()
        async with self._http.post(f"{self._base_url}/responses", data=body) as reply:
            answer = await reply.read()
        seconds = time.perf_counter() - started
        end = json.loads(answer.rpartition(b"event: response.completed\ndata: ")[2].partition(b"\n")[0])
        [message] = end["response"]["output"]
        self._items.append({"role": "assistant", "content": message["content"][0]["text"]})
        return seconds


async def _measure_runner(name: str, size: int, turns: int) -> list[str]:
    runs = {index: _Run(_history(size), budget_bytes) for index, budget_bytes in INDEXES.items()}
    times: dict[str, list[tuple[float, float]]] = {}
    for number in range(WARM_UP_TURNS + turns):
        for index, run in runs.items():
            times.setdefault(index, []).append(await run.turn(number))
    rows: list[str] = []
    for index, each in times.items():
        parsed, ran = zip(*each[WARM_UP_TURNS:], strict=True)
        rows.append(f"| {name} | {index} | {_ms(statistics.median(parsed))} | {_ms(statistics.median(ran))} |")
    return rows


class _Run:
    """An agent's run inside this process."""

    def __init__(self, items: list[dict[str, Any]], budget_bytes: int) -> None:
        target: Target = _Building()
        ids = itertools.count()
        self._items = items
        self._runner = TurnRunner(
            Router({"m": [Route(target, None)]}),
            MemoryStore(),
            new_id=lambda prefix: f"{prefix}_{next(ids)}",
            settings=RunnerSettings(),
            memory=TurnMemory(prefixes=PrefixIndex(PrefixSettings(budget_bytes=budget_bytes))),
        )

    async def turn(self, number: int) -> tuple[float, float]:
        """Seconds of the next turn: up to its admission, and behind it."""
        self._items.append({"role": "user", "content": f"And file {number}?"})
        body = json.dumps({"model": "m", "store": False, "input": self._items}).encode()
        started = time.perf_counter()
        turn = _admit(body, f"resp_{number}")
        admitted = time.perf_counter()
        async for _ in updates_of(self._runner, turn):
            pass
        ended = time.perf_counter()
        self._items.append({"role": "assistant", "content": _Building.answer})
        return admitted - started, ended - admitted


def _admit(body: bytes, response_id: str) -> Turn:
    request = decode_create(body)
    assert isinstance(request, CreateRequest)
    turn = admit(request, response_id=response_id, now=time.time(), origin=CreateOrigin(tenant="t", body=body))
    assert isinstance(turn, Turn)
    return turn


class _Building:
    """A target that builds its request and sends it nowhere."""

    name = "building"
    compacts = False
    answer = "Here it is."

    def __init__(self) -> None:
        self._dialect = ChatCompletions()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def is_ready(self) -> bool:
        return True

    async def count_tokens(self, prompt: Prompt, traffic: Traffic) -> int | ApiError:
        return api_error("server_error", f"{prompt.model} counts nothing.")

    @replying
    async def ask(self, prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        self._dialect.build_request(prompt)
        yield [Accepted(), TextDelta(self.answer), Finished()]


def _row(name: str, index: str, times: list[float]) -> str:
    values = (statistics.median(times), min(times), statistics.quantiles(times, n=20)[18])
    return f"| {name} | {index} | " + " | ".join(_ms(each) for each in values) + " |"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"


def _report(seen: list[str], inside: list[str], turns: int) -> list[str]:
    return [
        "# What a whole history costs",
        "",
        "`python benchmarks/full_history.py`: a client that sends everything with every request, over HTTP, to a",
        f"chat-completions upstream that costs nothing; unstored; n = {turns} for each row, milliseconds. The file's head says",
        "exactly what is timed.",
        "",
        *describe_setting("landline", "uvicorn", "uvloop", "aiohttp", "msgspec"),
        "",
        "As the client sees a turn:",
        "",
        "| history | prefix index | turn, median | best | p95 |",
        "| --- | --- | --- | --- | --- |",
        *seen,
        "",
        "Inside the process, medians:",
        "",
        "| history | prefix index | parse | behind the parse |",
        "| --- | --- | --- | --- |",
        *inside,
        "",
        "The client's turn also holds the way of a body of that size through two sockets, its parse on both sides of Landline,",
        "and the client's own work. Not shown: real networks, models, stored responses (whose items are saved as they came).",
    ]


if __name__ == "__main__":
    main()
