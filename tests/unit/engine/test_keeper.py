"""The keeper with slots that are only written down."""

import asyncio
from pathlib import Path

import pytest

from landline.engine.keeper import SlotKeeper
from landline.engine.prefixes import Lineage, seed_of
from landline.engine.slots import MIN_KEEP_BYTES, SlotBook
from landline.session.lineage import Link, extend
from landline.wire.items import encode_item


class WrittenSlots:
    """Saves empty files and remembers what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, int]] = []
        self.is_down = False
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.was_asked = asyncio.Event()

    async def save(self, slot: int, file: str) -> bool:
        self.asked.append(("save", slot))
        self.was_asked.set()
        await self.may_go_on.wait()
        if not self.is_down:
            (self.folder / file).write_bytes(bytes(100))
        return not self.is_down

    async def restore(self, slot: int, file: str) -> bool:
        self.asked.append(("restore", slot))
        return not self.is_down and (self.folder / file).exists()


@pytest.fixture
def slots(tmp_path: Path) -> WrittenSlots:
    return WrittenSlots(tmp_path)


def keeper_of(slots: WrittenSlots, count: int, park_bytes: int = 10_000) -> SlotKeeper:
    keeper = SlotKeeper(SlotBook(count, park_bytes), slots)
    keeper.slot_dir = slots.folder
    return keeper


def history(text: str, before: Link | None = None) -> Link | None:
    return extend(before, [encode_item({"type": "message", "role": "user", "content": text.ljust(MIN_KEEP_BYTES)})])


def lineage(text: str) -> Lineage:
    return Lineage(seed_of([]), 0, history(text))


async def run(keeper: SlotKeeper, asked: Lineage) -> int:
    async with keeper.acquire(asked) as seat:
        return seat.slot


async def test_a_turn_waits_until_a_slot_is_free(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1)
    async with keeper.acquire(lineage("one")):
        second = asyncio.create_task(run(keeper, lineage("two")))
        await asyncio.sleep(0)
        assert keeper.queue_length == 1
    assert await second == 0


async def test_a_waiting_turn_that_is_cancelled_leaves_the_queue(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1)
    async with keeper.acquire(lineage("one")):
        waiting = asyncio.create_task(run(keeper, lineage("two")))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert keeper.queue_length == 0
    assert await run(keeper, lineage("three")) == 0


async def test_a_turn_that_is_cancelled_as_it_gets_its_slot_gives_it_back(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1)
    async with keeper.acquire(lineage("one")):
        waiting = asyncio.create_task(run(keeper, lineage("two")))
        await asyncio.sleep(0)
    waiting.cancel()  # its slot was granted a moment ago
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await run(keeper, lineage("three")) == 0


async def test_a_turn_that_is_cancelled_while_a_state_is_saved_frees_its_slot_after_that(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1)
    await run(keeper, lineage("one"))
    slots.may_go_on.clear()
    second = asyncio.create_task(run(keeper, lineage("two")))
    await slots.was_asked.wait()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    third = asyncio.create_task(run(keeper, lineage("one")))
    await asyncio.sleep(0)
    assert keeper.queue_length == 1
    slots.may_go_on.set()
    assert await third == 0
    assert slots.asked == [("save", 0), ("restore", 0)]


async def test_a_parked_file_is_deleted_when_it_was_woken(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1)
    for text in ("one", "two", "one"):
        await run(keeper, lineage(text))
    assert slots.asked == [("save", 0), ("save", 0), ("restore", 0)]
    assert [path.name for path in slots.folder.iterdir()] == ["lineage-2.kv"]


async def test_files_over_the_budget_are_deleted(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1, park_bytes=250)
    for number in range(6):
        await run(keeper, lineage(str(number)))
    assert len(list(slots.folder.iterdir())) == 2


async def test_a_save_that_fails_parks_nothing(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1)
    slots.is_down = True
    await run(keeper, lineage("one"))
    await run(keeper, lineage("two"))
    slots.is_down = False
    await run(keeper, lineage("one"))
    assert ("restore", 0) not in slots.asked


async def test_after_a_reset_slots_are_free_and_the_old_turn_takes_none(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1)
    async with keeper.acquire(lineage("one")):
        keeper.reset()
        async with keeper.acquire(lineage("two")) as seat:
            assert seat.slot == 0
