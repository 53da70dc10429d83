"""What does a compaction cost and save, with the embedded model, against going on with a warm history?

One conversation over HTTP, chained by id: a long history is read cold, continued warm, compacted by a trigger, and
continued twice behind the compaction. Each row is one response; the time is until its first event of output.

    make model && python benchmarks/compaction_cost.py [--exchanges 45]
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from setting import describe_setting, write_result
from support.servers.running import RunningServer

TRIGGER = [{"type": "compaction_trigger"}]
ANSWER_TOKENS = 16


class Row(msgspec.Struct):
    """One response."""

    name: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    first_s: float
    whole_s: float

    def __str__(self) -> str:
        numbers = f"{self.input_tokens} | {self.cached_tokens} | {self.output_tokens} | {self.first_s:.2f} | {self.whole_s:.2f}"
        return f"| {self.name} | {numbers} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--exchanges", type=int, default=45)
    rows = asyncio.run(_measure(parser.parse_args().exchanges))
    write_result(
        "compaction_cost",
        [
            "# What a compaction costs and saves",
            "",
            "`python benchmarks/compaction_cost.py`: the embedded model, one conversation chained by id, one run. Seconds until",
            f"the first output and until the end; answers have at most {ANSWER_TOKENS} tokens.",
            "",
            *describe_setting("landline", "xllamacpp"),
            "",
            "| response | input tokens | of them cached | output tokens | first output, s | whole, s |",
            "| --- | --- | --- | --- | --- | --- |",
            *map(str, rows),
            "",
            "Not shown: what a summary loses, which the quality of the model decides; a longer history, where every warm",
            "token is still attended to at each step.",
        ],
    )


async def _measure(exchanges: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, RunningServer(None, Path(folder)) as server:
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{server.base_url}/models") as reply:
                model = (await reply.json())["data"][0]["id"]
            rows: list[Row] = []
            parent: str | None = None
            for name, new in (
                ("the history, cold", _history(exchanges)),
                ("its continuation, warm", "And what is 3 plus 4?"),
                ("another, warm", "And what is 4 plus 5?"),
                ("the compaction", TRIGGER),
                ("its continuation, the window read anew", "And what is 5 plus 6?"),
                ("the next one, warm", "And what is 6 plus 7?"),
            ):
                body: dict[str, Any] = {"model": model, "input": new, "previous_response_id": parent, "stream": True}
                if new is not TRIGGER:
                    body["max_output_tokens"] = ANSWER_TOKENS
                row, parent = await _ask(http, server.base_url, name, body)
                rows.append(row)
            return rows


async def _ask(http: aiohttp.ClientSession, base_url: str, name: str, body: dict[str, Any]) -> tuple[Row, str]:
    """The row of one response and its id."""
    began = time.perf_counter()
    first_s = 0.0
    ended: dict[str, Any] = {}
    async with http.post(f"{base_url}/responses", json=body) as reply:
        assert reply.status == 200, await reply.text()
        async for line in reply.content:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if not first_s and (event["type"].endswith(".delta") or event["type"] == "response.output_item.done"):
                first_s = time.perf_counter() - began
            ended = event.get("response", ended)
    assert ended["status"] in ("completed", "incomplete"), ended
    usage = ended["usage"]
    cached = usage["input_tokens_details"]["cached_tokens"]
    whole_s = time.perf_counter() - began
    return Row(name, usage["input_tokens"], cached, usage["output_tokens"], first_s, whole_s), ended["id"]


def _history(exchanges: int) -> list[dict[str, str]]:
    items: list[dict[str, str]] = []
    for number in range(exchanges):
        items.append({"role": "user", "content": f"What is {number} plus {number + 1}, and why is that so?"})
        told = f"It is {2 * number + 1}: one counts {number} and then {number + 1} more, which makes {2 * number + 1}."
        items.append({"role": "assistant", "content": told})
    return [*items, {"role": "user", "content": "What is 2 plus 3?"}]


if __name__ == "__main__":
    main()
