"""The event log: what is followed, in which order, and how long."""

import asyncio
from collections.abc import AsyncGenerator

from hypothesis import given
from hypothesis import strategies as st

from landline.stores.events import EventLog

DEADLINE_S = 10


def records(first: int, count: int) -> list[tuple[int, bytes]]:
    return [(number, str(number).encode()) for number in range(first, first + count)]


def follow(log: EventLog, *, after: int = -1, tenant: str = "t") -> AsyncGenerator[list[bytes], None]:
    following = log.follow(tenant, "r", after=after, silence_s=DEADLINE_S)
    assert following is not None
    return following


async def rest(following: AsyncGenerator[list[bytes], None]) -> list[int]:
    async with asyncio.timeout(DEADLINE_S):
        return [int(record) async for batch in following for record in batch]


@given(counts=st.lists(st.integers(0, 4), max_size=8), after=st.integers(-1, 20), join_at=st.integers(0, 8))
def test_followers_get_every_later_record_once_whenever_they_come(counts: list[int], after: int, join_at: int) -> None:
    async def run() -> None:
        log = EventLog()
        log.open("t", "r")
        joined: asyncio.Task[list[int]] | None = None
        written = 0
        for place, count in enumerate(counts):
            if place == join_at:
                joined = asyncio.create_task(rest(follow(log, after=after)))
            log.append("t", "r", records(written, count))
            written += count
            await asyncio.sleep(0)
        log.end("t", "r")
        expected = list(range(after + 1, written))
        assert await rest(follow(log, after=after)) == expected
        if joined is not None:
            assert await joined == expected

    asyncio.run(run())


async def test_only_its_tenant_finds_a_log() -> None:
    log = EventLog()
    log.open("t", "r")
    assert log.follow("other", "r", after=-1, silence_s=1) is None
    assert log.follow("t", "other", after=-1, silence_s=1) is None


async def test_silence_is_an_empty_batch() -> None:
    log = EventLog()
    log.open("t", "r")
    following = log.follow("t", "r", after=-1, silence_s=0.001)
    assert following is not None
    assert await anext(following) == []
    log.append("t", "r", records(0, 1))
    assert await anext(following) == [b"0"]


async def test_ended_log_is_kept_for_its_time_and_a_running_one_for_ever() -> None:
    now = 0.0
    log = EventLog(kept_s=600, clock=lambda: now)
    log.open("t", "r")
    log.append("t", "r", records(0, 2))
    now = 10_000.0
    log.end("t", "r")
    log.append("t", "r", records(2, 1))
    now = 10_599.0
    assert await rest(follow(log)) == [0, 1]
    now = 10_600.0
    assert log.follow("t", "r", after=-1, silence_s=1) is None
    assert log.size_bytes == 0


async def test_follower_of_a_forgotten_log_ends() -> None:
    log = EventLog()
    log.open("t", "r")
    log.append("t", "r", records(0, 1))
    following = follow(log)
    assert await anext(following) == [b"0"]
    log.forget("t", "r")
    assert await rest(following) == []
    assert log.follow("t", "r", after=-1, silence_s=1) is None
    assert log.size_bytes == 0
    log.forget("t", "r")


async def test_memory_is_bounded_by_the_logs_that_ended_first() -> None:
    log = EventLog(max_bytes=10)
    for name in ("a", "b"):
        log.open("t", name)
        log.append("t", name, [(0, b"12345")])
        log.end("t", name)
    log.open("t", "running")
    log.append("t", "running", [(0, b"1")])
    assert [log.follow("t", name, after=-1, silence_s=1) is not None for name in ("a", "b", "running")] == [
        False,
        True,
        True,
    ]
    log.append("t", "running", [(1, b"123456789012345")])
    assert log.follow("t", "running", after=-1, silence_s=1) is not None
    assert log.size_bytes == 16
