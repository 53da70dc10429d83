"""The pump: deadlines, merging, interruption and backpressure around a target's stream."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from landline.turns.pump import MAX_BUFFERED_EVENTS, Pump
from landline.wire.model_events import Finished, ModelEvent, TextDelta

LONG_S = 30.0


async def test_batches_arrive_in_order_and_then_none() -> None:
    async def stream() -> AsyncGenerator[list[ModelEvent], None]:
        yield [TextDelta("a")]
        yield [TextDelta("b"), Finished()]

    pump = Pump(stream())
    got: list[ModelEvent] = []
    while (batch := await pump.next_batch(LONG_S)) is not None:
        got += batch
    assert got == [TextDelta("a"), TextDelta("b"), Finished()]
    await pump.close()


async def test_silence_gives_an_empty_batch_and_loses_nothing() -> None:
    gate = asyncio.Event()

    async def stream() -> AsyncGenerator[list[ModelEvent], None]:
        await gate.wait()
        yield [TextDelta("late")]

    pump = Pump(stream())
    assert await pump.next_batch(0.01) == []
    gate.set()
    assert await pump.next_batch(LONG_S) == [TextDelta("late")]
    assert await pump.next_batch(LONG_S) is None
    await pump.close()


async def test_interruption_hands_over_what_came_and_closes_the_stream() -> None:
    closed = asyncio.Event()

    async def stream() -> AsyncGenerator[list[ModelEvent], None]:
        try:
            yield [TextDelta("a")]
            await asyncio.Event().wait()
        finally:
            closed.set()

    pump = Pump(stream())
    assert await pump.next_batch(LONG_S) == [TextDelta("a")]
    pump.interrupt()
    assert await pump.next_batch(LONG_S) is None
    await asyncio.wait_for(closed.wait(), LONG_S)
    await pump.close()


async def test_closing_waits_until_the_target_let_go() -> None:
    let_go: list[bool] = []

    async def stream() -> AsyncGenerator[list[ModelEvent], None]:
        try:
            yield [TextDelta("a")]
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            let_go.append(True)

    pump = Pump(stream())
    await pump.next_batch(LONG_S)
    await pump.close()
    assert let_go == [True]


async def test_slow_reader_leaves_the_upstream_waiting() -> None:
    read = 0

    async def stream() -> AsyncGenerator[list[ModelEvent], None]:
        nonlocal read
        while read < 10 * MAX_BUFFERED_EVENTS:
            read += 1
            yield [TextDelta("x")]
            await asyncio.sleep(0)

    pump = Pump(stream())
    first = await pump.next_batch(LONG_S)
    assert first is not None
    for _ in range(3 * MAX_BUFFERED_EVENTS):
        await asyncio.sleep(0)
    assert read <= len(first) + MAX_BUFFERED_EVENTS + 2
    got = len(first)
    while (batch := await pump.next_batch(LONG_S)) is not None:
        got += len(batch)
    assert got == 10 * MAX_BUFFERED_EVENTS
    await pump.close()


async def test_a_targets_bug_reaches_the_reader() -> None:
    async def stream() -> AsyncGenerator[list[ModelEvent], None]:
        yield [TextDelta("a")]
        raise RuntimeError("bug")

    pump = Pump(stream())
    await pump.next_batch(LONG_S)
    with pytest.raises(RuntimeError, match="bug"):
        await pump.next_batch(LONG_S)
    await pump.close()
