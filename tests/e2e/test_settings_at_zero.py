"""Every setting that may be 0 at 0: it switches something off, and nothing spins or fails for it."""

import asyncio
import json
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from support.fakes.chat import FakeChatServer, Script
from support.scripts.chat import Answer
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

TIMEOUT_S = 20
SILENCE_S = 0.5
ZEROS = """
[server]
drain_s = 0
compression_bytes = 0
[limits]
max_age_s = 0
age_grace_s = 0
keepalive_s = 0
[store]
url = "memory"
retention_days = 0
[background]
max_queued = 0
[prefixes]
budget_bytes = 0
"""


async def test_a_turn_runs_with_every_setting_at_0(fake_chat: FakeChatServer, scripted: Script, tmp_path: Path) -> None:
    scenario = scripted(Answer("Said at last.", pause_after=1), Answer("Again."))
    config = f'{ZEROS}[targets.fake]\ndialect = "chat_completions"\nbase_url = "{fake_chat.base_url}"\n'
    with RunningServer(f'{config}[models."*"]\ntargets = ["fake"]\n', tmp_path) as server:
        async with connect(f"ws://127.0.0.1:{server.port}/v1/responses") as line:
            types = await ask(line, scenario.model)
            asyncio.get_running_loop().call_later(SILENCE_S, scenario.release)
            while types[-1] != "response.completed":
                types.append(await next_type(line))
            assert "keepalive" not in types
            types = await ask(line, scenario.model)
            while types[-1] != "response.completed":
                types.append(await next_type(line))


async def ask(line: ClientConnection, model: str) -> list[str]:
    await line.send(json.dumps({"type": "response.create", "model": model, "input": "Say it."}))
    return [await next_type(line)]


async def next_type(line: ClientConnection) -> str:
    return json.loads(await asyncio.wait_for(line.recv(), TIMEOUT_S))["type"]
