"""kill -9 in the middle of stored turns: what was announced as completed is there afterwards, whole and once.

Each round a server process (forked from one that has everything imported) answers stored turns on several sockets; it is
killed at a random moment behind some of them; the next one opens the same store. LANDLINE_CRASH_ROUNDS sets the number of
rounds. Turns are short or long: a short one is saved in one transaction, a long one at its beginning and at its end.
"""

import asyncio
import json
import os
import random
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import aiohttp

from landline.turns.saves import HEAD_START_S
from support.servers.forked import ServerFork

ROUNDS = int(os.environ.get("LANDLINE_CRASH_ROUNDS", "50"))
SOCKETS = 3
START_TIMEOUT_S = 20.0
MOST_TURNS = 6
"""Of one round before its server is killed."""
SHORT_MS, LONG_MS = round(HEAD_START_S * 400), round(HEAD_START_S * 4000)
TRANSCRIPT = '{"after_last": "repeat"}\n' + "".join(
    f'[{{"type": "text", "text": "An answer ", "deltas": 2}}, {{"type": "delay", "ms": {delay_ms}}}, '
    '{"type": "text", "text": "in pieces."}]\n'
    for delay_ms in (SHORT_MS, LONG_MS)
)


@dataclass
class Seen:
    """What the clients were told, over all rounds."""

    created: list[str] = field(default_factory=list[str])
    completed: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    depth: dict[str, int] = field(default_factory=dict[str, int])
    """Turns in the chain up to and with the response."""
    interrupted: int = 0
    """Responses that were found incomplete."""
    wanted: int = 0
    """So many shall have been completed, over all rounds, before the next kill."""
    is_enough: asyncio.Event = field(default_factory=asyncio.Event)

    def want(self, more: int) -> None:
        self.wanted = len(self.completed) + more
        self.is_enough.clear()
        self.note_completed()

    def note_completed(self) -> None:
        if len(self.completed) >= self.wanted:
            self.is_enough.set()


async def _wait_ready(client: aiohttp.ClientSession, url: str, process: BaseProcess) -> None:
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            assert process.is_alive(), f"the server ended with {process.exitcode}"
            try:
                async with client.get(f"{url}/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.01)


async def _talk(client: aiohttp.ClientSession, url: str, seen: Seen, parent: str | None) -> None:
    """Chains stored turns on one socket until the server dies."""
    try:
        async with client.ws_connect(f"{url}/v1/responses") as line:
            while True:
                body = {"type": "response.create", "model": "demo", "input": "Go on."}
                await line.send_str(json.dumps(body | ({"previous_response_id": parent} if parent else {})))
                parent = await _read_turn(line, seen, parent)
                if parent is None:
                    return
    except aiohttp.ClientError:
        return


async def _read_turn(line: aiohttp.ClientWebSocketResponse, seen: Seen, parent: str | None) -> str | None:
    """The completed response's id; None when the line was cut."""
    async for message in line:
        event = json.loads(message.data)
        assert event["type"] != "error", event
        assert event["type"] not in ("response.failed", "response.incomplete"), event
        if event["type"] == "response.created":
            seen.created.append(event["response"]["id"])
        elif event["type"] == "response.completed":
            response = event["response"]
            seen.completed[response["id"]] = response
            seen.depth[response["id"]] = 1 + (seen.depth[parent] if parent else 0)
            seen.note_completed()
            return response["id"]
    return None


async def _check(client: aiohttp.ClientSession, url: str, seen: Seen, since: int) -> None:
    """Everything announced since the last check is as announced; what was only begun is whole in its own way."""
    for response_id in seen.created[since:]:
        async with client.get(f"{url}/v1/responses/{response_id}") as answer:
            stored = await answer.json()
            if response_id in seen.completed:
                assert answer.status == 200
                assert stored == seen.completed[response_id]
            else:
                assert answer.status == 404 or stored["status"] in ("completed", "incomplete"), stored
                seen.interrupted += stored.get("status") == "incomplete"


async def _count_items(client: aiohttp.ClientSession, url: str, response_id: str) -> int:
    """How many messages the model is shown for the next turn of this chain, asked of the store by continuing it."""
    body = {"model": "demo", "input": "Count.", "previous_response_id": response_id, "store": False}
    async with client.post(f"{url}/v1/responses", json=body) as answer:
        assert answer.status == 200, await answer.text()
    count = 0
    current: str | None = response_id
    while current is not None:
        async with client.get(f"{url}/v1/responses/{current}") as answer:
            response = await answer.json()
        async with client.get(f"{url}/v1/responses/{current}/input_items") as answer:
            count += len((await answer.json())["data"]) + len(response["output"])
        current = response["previous_response_id"]
    return count


async def _crash_rounds(config: Path) -> Seen:
    servers = ServerFork(config)
    chance = random.Random(7)
    seen = Seen()
    since = 0
    async with aiohttp.ClientSession() as client:
        for round_number in range(ROUNDS + 1):
            process, url = servers.start()
            await _wait_ready(client, url, process)
            await _check(client, url, seen, since)
            since = len(seen.created)
            if round_number == ROUNDS:
                deepest = max(seen.depth, key=lambda each: seen.depth[each])
                assert await _count_items(client, url, deepest) == 2 * seen.depth[deepest]
            parents = chance.sample(sorted(seen.completed), min(SOCKETS, len(seen.completed))) or [None] * SOCKETS
            talks = [asyncio.create_task(_talk(client, url, seen, parent)) for parent in parents]
            seen.want(chance.randint(0, MOST_TURNS))
            async with asyncio.timeout(START_TIMEOUT_S):
                await seen.is_enough.wait()
            await asyncio.sleep(chance.uniform(0.0, LONG_MS / 1000))
            process.kill()
            await asyncio.gather(*talks)
            process.join(START_TIMEOUT_S)
    return seen


def test_no_announced_response_is_lost_by_kill_9(tmp_path: Path) -> None:
    (tmp_path / "demo.jsonl").write_text(TRANSCRIPT)
    config = tmp_path / "landline.toml"
    config.write_text(
        '[store]\nurl = "sqlite:///crash.db"\n'
        '[targets.demo]\ndialect = "scripted"\ntranscript = "demo.jsonl"\n[models."demo"]\ntargets = ["demo"]\n'
    )
    seen = asyncio.run(_crash_rounds(config))
    assert len(seen.completed) > ROUNDS
    assert seen.interrupted, "no kill came between a beginning that was saved and its end"
    assert len(seen.created) > len(seen.completed) + seen.interrupted, "none came before a turn was saved"
    assert len(set(seen.created)) == len(seen.created)
    print(f"{ROUNDS} kills, {len(seen.created)} responses begun, {len(seen.completed)} announced as completed")
