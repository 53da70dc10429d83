"""What does Landline add to a turn? 64 text deltas per turn, from an upstream that costs nothing, over one socket.

One chain of unstored turns on one WebSocket, without compression. The first turn brings a history of the given size;
each later one sends a short message and the id of the response before. Timed is what the client sees: from the write of
the `response.create` frame to the arrival of the frame `response.completed`, all 64 deltas before it. For comparison the
same client asks the same upstream directly, over kept-alive HTTP, with the equivalent full history as its body: from the
write of the request to the end of its body. "Added" is the difference of the two medians.

A chat-completions server holds no state: each of its requests has the whole history. A Responses server is reached over
its own socket, which is sent what is new; the same client asks it directly with the same deltas.

So the number holds everything between the client's socket and the upstream's: frame in, session, the upstream's request
(with its whole history as the body, or a frame with what is new), the upstream's bytes in, events out. It
also holds the client's own cost of reading some 70 frames, which is Landline's to answer for only in part. The upstream,
Landline and the client are three processes on one machine: on two cores they take turns.

    python benchmarks/turn_overhead.py [--turns 200]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from setting import describe_setting, write_result
from support.servers.running import RunningServer

SIZES = {"10 kB": 10_000, "100 kB": 100_000, "1 MB": 1_000_000}
MESSAGE_BYTES = 1000
WARM_UP_TURNS = 10
NEW_INPUT = "And what comes next?"
_NEW_MESSAGE = {"role": "user", "content": NEW_INPUT}
REACH_MS = 3.0
"""The goal for the median of a turn at every size."""
REACH_GROWTH = 1.2
"""The goal for how many times the smallest history's median the largest one's may be, where the upstream holds it."""
MODES = {"one": "one write", "many": "65 writes"}
CHAT = "costless_upstream.py"
SOCKET = "costless_responses.py"
LABELS = {CHAT: "chat, HTTP", SOCKET: "Responses, socket"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=200, help="timed turns for each size and mode")
    turns = parser.parse_args().turns
    rows = [row for kind in (CHAT, SOCKET) for mode in MODES for row in uvloop.run(_measure(kind, mode, turns))]
    write_result("turn_overhead", _report(rows, turns))


async def _measure(kind: str, mode: str, turns: int) -> list[str]:
    with (
        tempfile.TemporaryDirectory() as folder,
        upstream(mode, kind) as port,
        RunningServer(_config(kind, port), Path(folder)) as landline,
    ):
        lines = await _time_lines(landline.port, turns)
        directs = await (_time_lines(port, turns) if kind == SOCKET else _time_direct(port, turns))
        smallest = statistics.median(lines[0])
        label = f"{LABELS[kind]}, {MODES[mode]}"
        return [
            _row(label, name, line, direct, smallest) for name, line, direct in zip(SIZES, lines, directs, strict=True)
        ]


@contextmanager
def upstream(mode: str, server: str = CHAT) -> Generator[int]:
    """The port of an upstream in a process of its own."""
    command = [sys.executable, str(Path(__file__).parent / server), mode]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def _config(kind: str, upstream: int) -> str:
    dialect = "chat_completions" if kind == CHAT else 'responses"\ntransport = "websocket'
    return f"""
[targets.costless]
dialect = "{dialect}"
base_url = "http://127.0.0.1:{upstream}/v1"
[models."*"]
targets = ["costless"]
"""


def _history(size: int) -> list[dict[str, str]]:
    """Messages of user and assistant in turn, of about so many bytes of JSON together."""
    messages: list[dict[str, str]] = []
    while size > 0:
        role = "assistant" if len(messages) % 2 else "user"
        messages.append(
            {"role": role, "content": f"message {len(messages):6d} ".ljust(min(size, MESSAGE_BYTES) - 60, "x")}
        )
        size -= MESSAGE_BYTES
    return messages


async def _time_lines(port: int, turns: int) -> list[list[float]]:
    """Seconds of each turn, for each size on a socket of its own; the first turn, which brings the history, and the
    warm-up turns left out. The sizes take turns, so that a machine that is busy for a while is so for all."""
    times: list[list[float]] = [[] for _ in SIZES]
    async with aiohttp.ClientSession() as http, AsyncExitStack() as stack:
        url = f"http://127.0.0.1:{port}/v1/responses"
        sockets = [await stack.enter_async_context(http.ws_connect(url, max_msg_size=0)) for _ in SIZES]
        response_ids = [
            (await _turn(socket, {"input": _history(size)}))[0]
            for socket, size in zip(sockets, SIZES.values(), strict=True)
        ]
        for _ in range(WARM_UP_TURNS + turns):
            for index, socket in enumerate(sockets):
                fields = {"input": NEW_INPUT, "previous_response_id": response_ids[index]}
                response_ids[index], seconds = await _turn(socket, fields)
                times[index].append(seconds)
    return [each[WARM_UP_TURNS:] for each in times]


async def _turn(socket: aiohttp.ClientWebSocketResponse, fields: dict[str, Any]) -> tuple[str, float]:
    """One turn: its response's id, and the seconds from the frame's write to the terminal frame's arrival."""
    frame = json.dumps({"type": "response.create", "model": "costless", "store": False, **fields})
    deltas = 0
    started = time.perf_counter()
    await socket.send_str(frame)
    while True:
        data = (await socket.receive()).data
        head = data[:60]
        if "output_text.delta" in head:
            deltas += 1
        elif "response.completed" in head:
            break
        elif '"error"' in head or "response.failed" in head:
            raise RuntimeError(data[:500])
    seconds = time.perf_counter() - started
    assert deltas == 64, f"expected 64 deltas, got {deltas}"
    return json.loads(data)["response"]["id"], seconds


async def _time_direct(port: int, turns: int) -> list[list[float]]:
    """Seconds of each request to the upstream itself with the equivalent history, for each size."""
    bodies = [
        json.dumps({"model": "costless", "messages": [*_history(size), _NEW_MESSAGE], "stream": True}).encode()
        for size in SIZES.values()
    ]
    times: list[list[float]] = [[] for _ in SIZES]
    async with aiohttp.ClientSession() as http:
        for _ in range(WARM_UP_TURNS + turns):
            for body, each in zip(bodies, times, strict=True):
                started = time.perf_counter()
                async with http.post(f"http://127.0.0.1:{port}/v1/chat/completions", data=body) as reply:
                    while await reply.content.readany():
                        pass
                each.append(time.perf_counter() - started)
    return [each[WARM_UP_TURNS:] for each in times]


def _row(label: str, name: str, line: list[float], direct: list[float], smallest: float) -> str:
    median = statistics.median(line)
    values = [median, min(line), statistics.quantiles(line, n=100)[98], statistics.median(direct)]
    figures = [each * 1000 for each in [*values, median - statistics.median(direct)]] + [median / smallest]
    return f"| {label} | {name} | " + " | ".join(f"{each:.2f}" for each in figures) + " |"


def _report(rows: list[str], turns: int) -> list[str]:
    return [
        "# What Landline adds to a turn",
        "",
        "`python benchmarks/turn_overhead.py`: 64 text deltas a turn from an upstream that costs nothing, one socket, unstored",
        f"chained turns, n = {turns} for each row, milliseconds. The file's head says exactly what is timed.",
        f"Reach: a median turn of {REACH_MS:.0f} ms or less at each size, and at 1 MB at most {REACH_GROWTH} times that at 10 kB",
        "where the upstream holds the history.",
        "",
        *describe_setting("landline", "uvicorn", "uvloop", "aiohttp", "msgspec"),
        "",
        "| upstream | history | turn, median | best | p99 | upstream alone, median | added | times 10 kB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        "Not shown: real networks, compression, many sockets at once, models that take time.",
    ]


if __name__ == "__main__":
    main()
