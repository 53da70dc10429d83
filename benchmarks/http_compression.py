"""What does compressing an event stream save, and does it delay anything?

First the coders alone: 20 turns as `outbound_compression.py` makes them, each a stream of its own, every record flushed; the
share of the bytes that is left, the CPU of a turn, and the memory of one stream in use, where the library tells it. Then
whole turns through Landline over HTTP, from an upstream that costs nothing and writes 64 deltas one by one: a create with
18 kB of tools, which three events echo. Codings take turns; timed is the client's request to its first event, and to the
end. Landline, upstream and client are three processes on one machine. Bytes are counted by a relay, in requests of their
own.

    python benchmarks/http_compression.py [--turns 200]
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import aiohttp
import brotli
import zstandard

from landline.bench.processes import started_upstream
from landline.bench.upstream import Script
from landline.server.content_coding import CODINGS
from landline.wire.sse import encode_sse
from outbound_compression import codex_turns
from setting import REPOSITORY, describe_setting, write_result
from support.servers.byte_relay import ByteRelay
from support.servers.running import RunningServer

SCHEMA = REPOSITORY / "tests" / "openresponses" / "openapi.json"
TOOLS_BYTES = 18_000
TURNS = 20
WARM_UP_TURNS = 10
ACCEPTED = ("identity", *CODINGS)
Write = Callable[[bytes], bytes]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=200, help="timed turns for each coding")
    turns = parser.parse_args().turns
    write_result("http_compression", _report(_coder_rows(), asyncio.run(_turn_rows(turns)), turns))


def _coder_rows() -> list[str]:
    streams = [[encode_sse("response.output_text.delta", frame) for frame in turn] for turn in codex_turns(TURNS)]
    plain = sum(len(record) for stream in streams for record in stream)
    rows: list[str] = []
    for name, start, memory in _coders():
        size, best_s = 0, float("inf")
        for _ in range(3):
            started = time.process_time()
            size = 0
            for stream in streams:
                write = start()
                size += sum(len(write(record)) for record in stream)
            best_s = min(best_s, time.process_time() - started)
        rows.append(f"| {name} | {size / plain:.1%} | {best_s / TURNS * 1000:.2f} | {memory} |")
    return rows


def _coders() -> list[tuple[str, Callable[[], Write], str]]:
    """Name, what starts one stream, and its memory in words."""
    ours = [(f"**{name}, as Landline has it**", _ours(name), f"{each.size_bytes:,}") for name, each in CODINGS.items()]
    gzips = [(f"gzip, level {level}", _gzip(level), "150,528") for level in (1, 4, 6)]
    brotlis = [(f"br, quality {quality}, window 17", _brotli(quality), "-") for quality in (1, 4, 5)]
    return [*ours, *gzips, *brotlis, *(_zstd(level, bits) for level in (1, 3, 5) for bits in (16, 17))]


def _ours(name: str) -> Callable[[], Write]:
    return lambda: CODINGS[name].start().put


def _gzip(level: int) -> Callable[[], Write]:
    def start() -> Write:
        coder = zlib.compressobj(level, zlib.DEFLATED, 31, 5)
        return lambda data: coder.compress(data) + coder.flush(zlib.Z_SYNC_FLUSH)

    return start


def _brotli(quality: int) -> Callable[[], Write]:
    def start() -> Write:
        codec: Any = cast("Any", brotli)
        coder = codec.Compressor(quality=quality, lgwin=17, mode=codec.MODE_TEXT)
        return lambda data: coder.process(data) + coder.flush()

    return start


def _zstd(level: int, bits: int) -> tuple[str, Callable[[], Write], str]:
    settings = cast("Any", zstandard.ZstdCompressionParameters).from_level(
        level, source_size=1 << bits, window_log=bits
    )

    def start() -> Write:
        coder = zstandard.ZstdCompressor(compression_params=settings).compressobj()
        return lambda data: coder.compress(data) + coder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    return f"zstd, level {level}, window {bits}", start, f"{settings.estimated_compression_context_size():,}"


async def _turn_rows(turns: int) -> list[str]:
    with (
        tempfile.TemporaryDirectory() as folder,
        started_upstream() as upstream,
        RunningServer(_config(upstream.base_url), Path(folder)) as landline,
    ):
        times: dict[str, list[tuple[float, float]]] = {accepted: [] for accepted in ACCEPTED}
        async with aiohttp.ClientSession(auto_decompress=False) as http:
            for _ in range(WARM_UP_TURNS + turns):
                for accepted in ACCEPTED:
                    times[accepted].append(await _turn(http, landline.port, accepted))
        sizes = {accepted: await _received_bytes(landline.port, accepted) for accepted in ACCEPTED}
    return [_turn_row(accepted, sizes, times[accepted][WARM_UP_TURNS:]) for accepted in ACCEPTED]


def _config(upstream_url: str) -> str:
    return f"""
[targets.costless]
dialect = "chat_completions"
base_url = "{upstream_url}"
[models."*"]
targets = ["costless"]
"""


async def _turn(http: aiohttp.ClientSession, port: int, accepted: str) -> tuple[float, float]:
    """Seconds to the first bytes of the stream, and to its end."""
    url, headers = f"http://127.0.0.1:{port}/v1/responses", {"accept-encoding": accepted}
    started = time.perf_counter()
    async with http.post(url, data=CREATE, headers=headers) as answer:
        coding = answer.headers.get("content-encoding", "identity")
        assert coding == accepted, f"asked for {accepted}, got {coding}"
        await answer.content.readany()
        first_s = time.perf_counter() - started
        while await answer.content.readany():
            pass
    return first_s, time.perf_counter() - started


async def _received_bytes(port: int, accepted: str) -> int:
    with ByteRelay(port) as relay:
        async with aiohttp.ClientSession(auto_decompress=False) as http:
            await _turn(http, relay.port, accepted)
        return relay.received_bytes


def _turn_row(accepted: str, sizes: dict[str, int], times: list[tuple[float, float]]) -> str:
    size = sizes[accepted]
    firsts, totals = zip(*times, strict=True)
    figures = [statistics.median(firsts), statistics.median(totals), statistics.quantiles(totals, n=100)[98]]
    less = f"-{1 - size / sizes['identity']:.1%}" if accepted != "identity" else "-"
    line_ms = size * 8 / 10e6 * 1000
    return (
        f"| {accepted} | {size:,} | {less} | {' | '.join(f'{each * 1000:.2f}' for each in figures)} | {line_ms:.0f} |"
    )


def _make_create() -> bytes:
    functions: list[dict[str, Any]] = []
    for name, schema in json.loads(SCHEMA.read_text())["components"]["schemas"].items():
        if sum(len(json.dumps(each)) for each in functions) > TOOLS_BYTES:
            break
        description = str(schema.get("description", ""))
        functions.append({"type": "function", "name": name, "description": description, "parameters": schema})
    question = Script(is_split=True).sentence
    body = {"model": "costless", "input": question, "stream": True, "store": False, "tools": functions}
    return json.dumps(body).encode()


CREATE = _make_create()


def _report(coder_rows: list[str], turn_rows: list[str], turns: int) -> list[str]:
    return [
        "# Compressing event streams over HTTP",
        "",
        "`python benchmarks/http_compression.py`; the file's head says exactly what is measured.",
        "",
        *describe_setting("landline", "uvicorn", "aiohttp", "brotli", "zstandard"),
        f"- zlib {zlib.ZLIB_RUNTIME_VERSION}",
        "",
        f"The coders alone, {TURNS} turns, best of 3:",
        "",
        "| coder | bytes left | CPU ms a turn | memory of a stream |",
        "| --- | --- | --- | --- |",
        *coder_rows,
        "",
        f"Whole turns, n = {turns} for each coding, milliseconds:",
        "",
        "| coding | bytes down a turn | less | first event, median | turn, median | p99 | those bytes at 10 Mbit/s (computed) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *turn_rows,
        "",
        "Not shown: the client's time to decode, and TLS.",
    ]


if __name__ == "__main__":
    main()
