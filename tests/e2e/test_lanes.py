"""Many lanes of one socket at once, forking at random: the model sees each lineage whole, and nothing of another."""

import random
from dataclasses import dataclass
from typing import Any

from support.clients.responses import ResponsesSocket
from support.fakes.chat import Script
from support.fakes.scenario import Received
from support.scripts.chat import Answer
from support.servers.running import RunningServer

LANES = 20
TURNS_PER_LANE = 6


@dataclass(frozen=True)
class Known:
    """A completed response and the conversation that it ends."""

    response_id: str
    texts: tuple[str, ...]


async def test_forking_lanes_never_mix_histories(landline: RunningServer, scripted: Script) -> None:
    chance = random.Random(7)
    scenario = scripted.choosing(lambda received: Answer(f"answer to {_last_text(received)}"))
    asked: dict[str, tuple[str, ...]] = {}
    known: list[Known] = []
    turns_left = {f"lane-{number}": TURNS_PER_LANE for number in range(LANES)}
    async with ResponsesSocket(landline.base_url) as socket:

        async def ask(lane: str) -> None:
            """Starts the lane's next turn: afresh, or after any response of any lane."""
            turns_left[lane] -= 1
            question = f"{lane} has {turns_left[lane]} left"
            parent = chance.choice([None, *known]) if known else None
            asked[question] = (*(parent.texts if parent else ()), question)
            fields: dict[str, Any] = {"previous_response_id": parent.response_id} if parent else {}
            await socket.create(model=scenario.model, store=False, stream_id=lane, input=question, **fields)

        for lane in turns_left:
            await ask(lane)
        for _ in range(LANES * TURNS_PER_LANE):
            done = (await socket.receive_until("response.completed", "response.failed", "error"))[-1]
            assert done["type"] == "response.completed", done
            answer = done["response"]["output"][0]["content"][0]["text"]
            known.append(Known(done["response"]["id"], (*asked[answer.removeprefix("answer to ")], answer)))
            if turns_left[done["stream_id"]]:
                await ask(done["stream_id"])
    assert len(scenario.received) == LANES * TURNS_PER_LANE
    for received in scenario.received:
        assert tuple(_text(message) for message in received.messages) == asked[_last_text(received)]


def _last_text(received: Received) -> str:
    return _text(received.messages[-1])


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
