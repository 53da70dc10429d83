"""Targets that answer with their name, and runners over them."""

import itertools
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from landline.dialects.dialect import Prompt
from landline.routing.choice import Route
from landline.routing.router import Router
from landline.sealing import Sealer
from landline.session.lineage import Link
from landline.session.turn import Turn
from landline.stores.memory import MemoryStore
from landline.turns.parts import RunnerSettings
from landline.turns.prefixes import PrefixIndex
from landline.turns.runner import TurnMemory, TurnRunner
from landline.upstream.target import Target, Traffic
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Accepted, Failed, Finished, ModelEvent, TextDelta
from landline.wire.requests import CreateRequest, decode_create
from support.turns.reply import replying

SEALER = Sealer(["a secret of enough characters"])
DOWN = api_error("upstream_unavailable", "down")
Answerer = Callable[[Prompt], AsyncGenerator[list[ModelEvent], None]]


class FakeTarget:
    """Answers with its name, or as it is told."""

    def __init__(self, name: str, error: ApiError | None = None, *, compacts: bool = False) -> None:
        self.name = name
        self.error = error
        self.compacts = compacts
        self.prompts: list[Prompt] = []
        self.answer: Answerer | None = None

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def is_ready(self) -> bool:
        return True

    async def count_tokens(self, prompt: Prompt, traffic: Traffic) -> int | ApiError:
        return self.error or 7

    @replying
    async def ask(self, prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        self.prompts.append(prompt)
        if self.answer is not None:
            async with aclosing(self.answer(prompt)) as batches:
                async for batch in batches:
                    yield batch
        elif self.error is not None:
            yield [Failed(self.error)]
        else:
            yield [Accepted()]
            yield [TextDelta(self.name), Finished()]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def router_of(*targets: FakeTarget) -> Router[Target]:
    as_targets: list[Target] = list(targets)
    return Router({"m": [Route(each, None) for each in as_targets]}, jitter=lambda: 0.0)


def turn(history: Link | None = None, *, response_id: str = "resp_1", **fields: Any) -> Turn:
    request = decode_create(json.dumps({"model": "m", "input": "hi"} | fields))
    assert isinstance(request, CreateRequest), request
    return Turn(response_id, request, history, created_at=1.0, tenant="t")


def runner_of(
    router: Router[Target],
    clock: Callable[[], float] = time.monotonic,
    *,
    store: MemoryStore | None = None,
    prefixes: PrefixIndex | None = None,
    **settings: Any,
) -> TurnRunner:
    ids = itertools.count(1)
    return TurnRunner(
        router,
        store or MemoryStore(),
        new_id=lambda prefix: f"{prefix}_{next(ids)}",
        settings=RunnerSettings(**settings),
        memory=TurnMemory(sealer=SEALER, prefixes=prefixes or PrefixIndex()),
        clock=clock,
    )
