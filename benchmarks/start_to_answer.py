"""How long from the start of `landline serve` to its first answer, with the embedded model?

Each run starts a new server process on a free port, waits for the line that says where it listens, and asks one short
question over HTTP. Timed from the start of the process: to that line, to the first text delta, and to the end of the
answer (16 tokens at most). The model's file is there already; the first run of a machine reads it from disk.

    make model && python benchmarks/start_to_answer.py [--runs 5]
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp

from setting import describe_setting, write_result
from support.servers.running import RunningServer

REACH_S = 5.0
"""The goal for the whole way to the first answer."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = [asyncio.run(_run_once()) for _ in range(parser.parse_args().runs)]
    names = ("listening", "first delta", "answer complete")
    rows = [
        f"| {name} | {statistics.median(times):.2f} | {min(times):.2f} | {max(times):.2f} |"
        for name, times in zip(names, zip(*runs, strict=True), strict=True)
    ]
    write_result(
        "start_to_answer",
        [
            "# From the start of the process to the first answer",
            "",
            f"`python benchmarks/start_to_answer.py`: `landline serve` with the embedded model, n = {len(runs)}, seconds since",
            f"the process started. Reach: an answer within {REACH_S:.0f} s.",
            "",
            *describe_setting("landline", "xllamacpp"),
            "",
            "| | median | best | worst |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            "Not shown: installation, the download of the model, a cold page cache.",
        ],
    )


async def _run_once() -> tuple[float, float, float]:
    """Seconds from the start of the process to the three moments."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, RunningServer(None, Path(folder)) as server:
        listening = time.perf_counter() - started
        first_delta = 0.0
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{server.base_url}/models") as reply:
                model = (await reply.json())["data"][0]["id"]
            body = {"model": model, "input": "Say hello.", "max_output_tokens": 16, "stream": True}
            async with http.post(f"{server.base_url}/responses", json=body) as reply:
                assert reply.status == 200, await reply.text()
                async for line in reply.content:
                    if not first_delta and line.startswith(b"event: response.output_text.delta"):
                        first_delta = time.perf_counter() - started
        return listening, first_delta, time.perf_counter() - started


if __name__ == "__main__":
    main()
