"""A sidecar in front of a second Landline, with a relay between them that counts, and the clients that are run through it."""

import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agents
import openai

from support.fakes.chat import FakeChatServer
from support.fakes.scenario import Scenario
from support.scripts.chat import Answer, call
from support.servers.byte_relay import ByteRelay
from support.servers.running import RunningServer

CALLS = 20
DIGITS = 3600
"""What a tool prints: hexadecimal digits, as compressible as code."""
ANSWER = "All found."


@dataclass(frozen=True)
class SidecarChain:
    """client → sidecar → relay → Landline → scripted model"""

    sidecar: RunningServer
    relay: ByteRelay
    """Its upstream leg."""
    server: RunningServer


@contextmanager
def sidecar_chain(fake: FakeChatServer, folder: Path) -> Generator[SidecarChain]:
    """Both Landlines are processes of their own, with folders of their own."""
    (folder / "server").mkdir()
    (folder / "sidecar").mkdir()
    with RunningServer(_config(fake), folder / "server") as server, ByteRelay(server.port) as relay:
        command = ("sidecar", "--upstream", relay.base_url, "--profile", "landline")
        with RunningServer(None, folder / "sidecar", command) as sidecar:
            yield SidecarChain(sidecar, relay, server)


def _config(fake: FakeChatServer) -> str:
    return f"""
[targets.fake]
dialect = "chat_completions"
base_url = "{fake.base_url}"
[models."*"]
targets = ["fake"]
"""


def lookup_steps() -> list[Answer]:
    """What the model says: one lookup after the other, then the answer."""
    return [*(call("lookup", key=f"item-{number}") for number in range(CALLS)), Answer(ANSWER)]


async def run_agent(base_url: str, model: str, *, is_streamed: bool = False) -> None:
    """The Agents SDK for Python as it is by default: HTTP, the whole history with every request."""
    agents.set_tracing_disabled(True)
    async with openai.AsyncOpenAI(base_url=base_url, api_key="test-key", max_retries=0) as client:
        asked = agents.OpenAIResponsesModel(model, client)
        agent = agents.Agent(name="Finder", instructions="Look things up.", tools=[_lookup()], model=asked)
        if is_streamed:
            result = agents.Runner.run_streamed(agent, "Find all.", max_turns=CALLS + 5)
            async for _ in result.stream_events():
                pass
        else:
            result = await agents.Runner.run(agent, "Find all.", max_turns=CALLS + 5)
    assert result.final_output == ANSWER


def _lookup() -> Any:
    @agents.function_tool
    def lookup(key: str) -> str:
        """Looks a key up."""
        return f"{random.Random(key).getrandbits(4 * DIGITS):0{DIGITS}x}"

    return lookup


def conversation(scenario: Scenario) -> list[Any]:
    """Every request as the model saw it, with its call ids told by their order: servers make them anew for each run."""
    names: dict[str, str] = {}
    seen: list[Any] = []
    for received in scenario.received:
        assert received.refused is None
        seen.append([_named(message, names) for message in received.messages])
    return seen


def _named(message: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    told = dict(message)
    if "tool_calls" in message:
        told["tool_calls"] = [{**each, "id": _name(each["id"], names)} for each in message["tool_calls"]]
    if "tool_call_id" in message:
        told["tool_call_id"] = _name(message["tool_call_id"], names)
    return told


def _name(call_id: str, names: dict[str, str]) -> str:
    return names.setdefault(call_id, f"call {len(names)}")
