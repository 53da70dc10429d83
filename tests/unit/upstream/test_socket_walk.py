"""Random conversations over upstream sockets that forget, expire, are cut and refuse: each turn shows exactly its own."""

import asyncio
import json
import random
from contextlib import aclosing
from typing import Any

import pytest

from landline.dialects.responses import Responses, ResponsesFlags
from landline.upstream.endpoint import TargetEndpoint
from landline.upstream.socket_settings import SocketSettings
from landline.upstream.websocket import ResponsesSocketTarget
from support.fakes.responses import (
    AZURE,
    OPENAI,
    VERCEL,
    XAI,
    CutLine,
    Fail,
    FakeResponses,
    Manners,
    Received,
    Reply,
    Step,
)
from support.turns.target import Conversation

ROUNDS = 40
WAYS: dict[str, tuple[Manners, SocketSettings, ResponsesFlags]] = {
    "openai": (OPENAI, SocketSettings(lanes=3, named_lanes=5, max_sockets=3), ResponsesFlags()),
    "azure": (AZURE, SocketSettings(max_sockets=3), ResponsesFlags()),
    "xai": (XAI, SocketSettings(max_sockets=3), ResponsesFlags(instructions_with_previous="omit")),
    "vercel": (VERCEL, SocketSettings(max_sockets=3, has_one_model=True), ResponsesFlags()),
}
REFUSED = {"type": "error", "status": 429, "error": {"code": "rate_limit_exceeded", "message": "Slow down."}}


class Walk:
    """Some conversations of two tenants, and what each turn must show the model."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.expected: dict[str, list[Any]] = {}
        self.tenants: dict[int, str] = {}
        """Whose each socket is."""
        self.shown = 0
        self.wrong: list[object] = []
        """What the model saw that it should not have seen."""

    def choose(self, received: Received) -> Step:
        """Checks what the model sees, then answers or fails."""
        question = received.conversation[-1]["content"][0]["text"]
        if received.conversation != self.expected[question]:
            self.wrong.append((question, received.conversation, self.expected[question]))
        tenant = question.split(" ", 1)[0]
        if received.socket is None or self.tenants.setdefault(received.socket, tenant) != tenant:
            self.wrong.append((question, received.socket))
        self.shown += 1
        match self.chance.randrange(20):
            case 0:
                return Fail(REFUSED)
            case 1:
                return CutLine()
            case 2:
                return Reply("cut off", cut_after=5)
            case 3:
                return Reply("broken", fail_with={"code": "server_error", "message": "No."})
            case 4:
                return Reply("too long", incomplete="max_output_tokens")
            case _:
                return Reply(f"answer to {question}", reasoning="hm" if self.chance.random() < 0.3 else "")

    async def ask(self, conversation: Conversation, number: int) -> None:
        """One turn; some are given up in the middle."""
        question = f"{conversation.tenant} asks {number}"
        instructions = self.chance.choice(["a", "a", "a", "b"])
        turn = conversation.turn(question, instructions=instructions)
        assert turn.history is not None
        self.expected[question] = [json.loads(item.raw) for item in turn.history.all_items()]
        if self.chance.random() < 0.1:
            async with aclosing(conversation.stream(turn)) as batches:
                await anext(batches)
        else:
            await conversation.ask(question, instructions=instructions)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(3))
async def test_the_model_sees_each_conversation_and_nothing_else(way: str, seed: int) -> None:
    manners, settings, flags = WAYS[way]
    walk = Walk(seed)
    fake = FakeResponses(choose=walk.choose, manners=manners)
    async with fake.serving():
        target = ResponsesSocketTarget(TargetEndpoint("up", fake.base_url), Responses(flags), settings=settings)
        await target.open()
        lines = [("a", "1"), ("a", "2"), ("b", "3"), ("b", None)]
        fields: dict[str, Any] = {"include": ["reasoning.encrypted_content"]}
        conversations = [Conversation(target, tenant=tenant, line_id=line_id, **fields) for tenant, line_id in lines]
        for number in range(ROUNDS):
            chosen = walk.chance.sample(conversations, walk.chance.randint(1, 3))
            await asyncio.gather(*(walk.ask(each, number * 10 + index) for index, each in enumerate(chosen)))
            match walk.chance.randrange(12):
                case 0:
                    fake.forgets = True
                case 1:
                    fake.expire_sockets()
                case 2:
                    fake.cut_sockets()
                case 3 if len(conversations) < 8:
                    conversations.append(walk.chance.choice(conversations).fork(str(number)))
                case _:
                    pass
        await target.close()
    assert walk.wrong == []
    refusals = {each.refused for each in fake.received if each.refused}
    assert all("not found" in refusal for refusal in refusals), refusals
    assert walk.shown > ROUNDS
    assert sum(each.parent_id is not None for each in fake.received) > ROUNDS / 8
