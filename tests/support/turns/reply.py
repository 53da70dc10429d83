"""Targets whose replies are async generators, and turns whose updates are."""

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable
from typing import Any

from landline.dialects.dialect import Prompt
from landline.session.turn import Turn, TurnEnded, TurnRefused, TurnUpdate
from landline.turns.runner import TurnRunner
from landline.turns.running import RunningTurn
from landline.upstream.target import Target, Traffic, batches_of
from landline.wire.model_events import ModelEvent

Batches = AsyncGenerator[list[ModelEvent], None]


class GeneratedReply:
    """A reply whose batches a generator gives: it is driven in a task, so that a wait may be given up and taken up again."""

    def __init__(self, batches: Batches) -> None:
        self.traffic = Traffic()
        self.has_more = False
        self._batches = batches
        self._next: asyncio.Task[list[ModelEvent]] | None = None

    async def open(self) -> list[ModelEvent]:
        return await self.read()

    async def read(self) -> list[ModelEvent]:
        if self._next is None:
            self._next = asyncio.create_task(_next_of(self._batches))
        batch = await asyncio.shield(self._next)
        self._next = None
        return batch

    async def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait({self._next})
            self._next = None
        await self._batches.aclose()


def replying(stream: Callable[[Any, Prompt], Batches]) -> Any:
    """A target's `ask` made of a method that streams."""

    @functools.wraps(stream)
    def ask(self: Any, prompt: Prompt) -> GeneratedReply:
        return GeneratedReply(stream(self, prompt))

    return ask


def stream_of(target: Target, prompt: Prompt) -> Batches:
    """The batches of a target's reply."""
    return batches_of(target.ask(prompt))


def updates_of(runner: TurnRunner, turn: Turn) -> AsyncGenerator[TurnUpdate, None]:
    """The updates of a turn; the turn goes on when the next one is asked for. Closing the generator aborts it."""
    return updates_of_running(runner.start(turn))


async def updates_of_running(running: RunningTurn) -> AsyncGenerator[TurnUpdate, None]:
    """The same of a turn that is at hand."""
    listener = _Listener()
    task = asyncio.create_task(running.run(listener))
    task.add_done_callback(lambda _: listener.come.put_nowait(None))
    try:
        while (update := await listener.come.get()) is not None:
            yield update
            listener.go_on.release()
            if isinstance(update, TurnRefused | TurnEnded):
                break
        await task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def heard_by(runner: TurnRunner, turn: Turn) -> list[ModelEvent]:
    """The model events that a turn was made of, those of targets that took nothing left out."""
    return [event async for batch in batches_heard(runner.start(turn)) for event in batch]


async def batches_heard(running: RunningTurn) -> Batches:
    """The same batch by batch. Closing the generator aborts the turn."""
    come: asyncio.Queue[list[ModelEvent] | None] = asyncio.Queue()
    hear: Callable[[list[ModelEvent]], Any] = getattr(running, "_hear")  # noqa: B009 - a turn tells only what is made of it

    async def hear_and_tell(batch: list[ModelEvent]) -> None:
        if batch:
            come.put_nowait(batch)
        await hear(batch)

    setattr(running, "_hear", hear_and_tell)  # noqa: B010
    listener = _Listener()
    listener.go_on = asyncio.Semaphore(10_000)
    task = asyncio.create_task(running.run(listener))
    task.add_done_callback(lambda _: come.put_nowait(None))
    try:
        while (batch := await come.get()) is not None:
            yield batch
        await task
    finally:
        task.cancel()
        await asyncio.wait({task})


class _Listener:
    def __init__(self) -> None:
        self.come: asyncio.Queue[TurnUpdate | None] = asyncio.Queue()
        self.go_on = asyncio.Semaphore(0)

    async def hear(self, update: TurnUpdate) -> None:
        self.come.put_nowait(update)
        await self.go_on.acquire()

    async def hear_fault(self, ended: TurnRefused | TurnEnded) -> None:
        await self.hear(ended)


async def _next_of(batches: Batches) -> list[ModelEvent]:
    return await anext(batches, [])
