"""`landline sidecar` as a real process: clients that send everything become delta senders, and the model sees the same."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.clients.codex import run_codex
from support.fakes.chat import FakeChatServer, Script
from support.scripts.chat import Answer, call
from support.servers.byte_relay import ByteRelay, client_messages
from support.servers.running import RunningServer
from support.servers.sidecar_chain import CALLS, SidecarChain, conversation, lookup_steps, run_agent, sidecar_chain

pytestmark = pytest.mark.client


@pytest.fixture(scope="module")
def chain(fake_chat: FakeChatServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarChain]:
    with sidecar_chain(fake_chat, tmp_path_factory.mktemp("sidecar")) as made:
        yield made


def frames_since(relay: ByteRelay, known: int) -> list[dict[str, Any]]:
    """The messages of the sockets that were opened behind the first so many connections."""
    opened = [each for each in relay.connections[known:] if each.is_websocket]
    return [json.loads(message) for connection in opened for message in client_messages(connection)]


async def saved_share(sidecar: RunningServer, model: str) -> float:
    """What the monitor shows as saved of one model's uploads, once all its turns are entered."""
    address = f"{sidecar.base_url.removesuffix('/v1')}/monitor/state"
    async with aiohttp.ClientSession() as http, asyncio.timeout(10):
        while True:
            async with http.get(address) as answer:
                state = await answer.json()
            for row in state["models"]:
                if row["name"] == model and row["turns"] == CALLS + 1:
                    return row["saved_bytes"] / row["stateless_bytes"]


async def test_agent_run_goes_upstream_as_deltas(chain: SidecarChain, scripted: Script) -> None:
    direct = scripted(*lookup_steps())
    with ByteRelay(chain.server.port) as relay:
        await run_agent(relay.base_url, direct.model)
        direct_bytes = relay.sent_bytes
    through = scripted(*lookup_steps())
    known, before = len(chain.relay.connections), chain.relay.sent_bytes
    await run_agent(chain.sidecar.base_url, through.model)
    sidecar_bytes = chain.relay.sent_bytes - before
    shown = await saved_share(chain.sidecar, through.model)

    saved = 1 - sidecar_bytes / direct_bytes
    print(f"bytes to the server: {direct_bytes:,} over HTTP, {sidecar_bytes:,} through the sidecar: -{saved:.1%}")
    assert saved >= 0.9
    assert shown == pytest.approx(saved, abs=0.02)
    through.assert_conversation()
    assert conversation(through) == conversation(direct)
    first, *deltas = frames_since(chain.relay, known)
    assert "previous_response_id" not in first
    assert len(deltas) == CALLS
    assert all(frame["previous_response_id"] and len(frame["input"]) == 1 for frame in deltas)


async def test_agents_at_once_do_not_mix(chain: SidecarChain, scripted: Script) -> None:
    direct = scripted(*lookup_steps())
    await run_agent(chain.server.base_url, direct.model)
    scenarios = [scripted(*lookup_steps()) for _ in range(4)]
    before = chain.relay.sent_bytes
    async with asyncio.TaskGroup() as group:
        for scenario in scenarios:
            group.create_task(run_agent(chain.sidecar.base_url, scenario.model))
    for scenario in scenarios:
        scenario.assert_conversation()
        assert conversation(scenario) == conversation(direct)
    whole = sum(len(json.dumps(received.messages)) for scenario in scenarios for received in scenario.received)
    assert chain.relay.sent_bytes - before < 0.1 * whole


def test_codex_over_http_goes_upstream_as_deltas(chain: SidecarChain, scripted: Script, tmp_path: Path) -> None:
    calls = 5
    scenario = scripted(
        *(call("exec_command", cmd=f"echo number {number}") for number in range(calls)), Answer("All done.")
    )
    known = len(chain.relay.connections)
    (tmp_path / "work").mkdir()
    run = run_codex(
        "Print the numbers.",
        base_url=chain.sidecar.base_url,
        model=scenario.model,
        home=tmp_path / "home",
        work_folder=tmp_path / "work",
        websockets=False,
    )
    assert run.answer == "All done.", run.report
    scenario.assert_conversation()
    assert len(scenario.received) == calls + 1
    first, *deltas = frames_since(chain.relay, known)
    assert "previous_response_id" not in first
    assert [[item["type"] for item in frame["input"]] for frame in deltas] == [["function_call_output"]] * calls
    assert all(frame["previous_response_id"] for frame in deltas)
