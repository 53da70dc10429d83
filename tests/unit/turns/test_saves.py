"""Saves that an outage put off: tried again, bounded, and never given up in silence."""

import asyncio

import pytest
from structlog.testing import capture_logs

from landline.stores.store import StoreError, StoreUnavailableError
from landline.turns.saves import Saves


class Flaky:
    """A save that fails so many times; told when it was done."""

    def __init__(self, failures: int, error: StoreError | None = None) -> None:
        self.failures = failures
        self.error = error or StoreUnavailableError("away")
        self.tries = 0
        self.done = asyncio.Event()

    async def __call__(self) -> None:
        self.tries += 1
        if self.tries <= self.failures:
            raise self.error
        self.done.set()


async def test_save_is_tried_until_the_store_takes_it() -> None:
    save = Flaky(3)
    await Saves(60.0).insist(save)
    assert save.tries == 4


async def test_patience_ends_and_the_outage_is_told() -> None:
    save = Flaky(10**6)
    with pytest.raises(StoreUnavailableError):
        await Saves(0.0).insist(save)
    assert save.tries == 1


async def test_patient_save_outlasts_the_others_patience() -> None:
    save = Flaky(3)
    await Saves(0.0).insist(save, is_patient=True)
    assert save.done.is_set()


async def test_fault_is_not_tried_again() -> None:
    save = Flaky(10**6, StoreError("a fault"))
    with pytest.raises(StoreError, match="a fault"):
        await Saves(60.0).insist(save)
    assert save.tries == 1


async def test_what_was_put_off_is_done_by_itself_and_runs_until_then() -> None:
    saves, save = Saves(), Flaky(2)
    saves.enter("r")
    saves.put_off("r", save)
    saves.leave("r")
    assert saves.is_running("r")
    await asyncio.wait_for(save.done.wait(), 10)
    await saves.close()
    assert not saves.is_running("r")
    assert saves.waiting_count == 0


async def test_store_that_is_back_is_given_everything_in_order() -> None:
    saves, done = Saves(), list[str]()

    def save(name: str) -> None:
        async def work() -> None:
            done.append(name)

        saves.put_off(name, work)

    for name in ("a", "b", "c"):
        save(name)
    await saves.catch_up()
    assert done == ["a", "b", "c"]
    await saves.close()


async def test_catching_up_stops_at_the_next_outage() -> None:
    saves, first, second = Saves(), Flaky(1), Flaky(0)
    saves.put_off("a", first)
    saves.put_off("b", second)
    with pytest.raises(StoreUnavailableError):
        await saves.catch_up()
    assert (first.tries, second.tries) == (1, 0)
    await saves.catch_up()
    assert second.done.is_set()
    await saves.close()


async def test_fault_does_not_hold_up_the_others() -> None:
    saves, broken, other = Saves(), Flaky(10**6, StoreError("a fault")), Flaky(0)
    saves.put_off("a", broken)
    saves.put_off("b", other)
    with capture_logs() as logs:
        await saves.catch_up()
    assert other.done.is_set()
    assert [entry["response_id"] for entry in logs if entry["event"] == "response_not_saved"] == ["a"]
    await saves.close()


async def test_memory_is_bounded_and_what_does_not_fit_runs_no_more() -> None:
    saves = Saves(max_bytes=100)
    saves.put_off("a", Flaky(10**6), size_bytes=60)
    saves.put_off("b", Flaky(10**6), size_bytes=60)
    saves.put_off("a", Flaky(10**6), size_bytes=40)
    saves.put_off("c", Flaky(10**6), size_bytes=60)
    assert [saves.is_running(name) for name in "abc"] == [True, False, True]


async def test_close_is_bounded_and_says_what_was_lost() -> None:
    saves, never = Saves(), asyncio.Event()

    async def hang() -> None:
        await never.wait()

    saves.enter("r")
    saving = saves.start(hang())
    with capture_logs() as logs:
        await saves.close(wait_s=0.01)
    assert [(entry["event"], entry["response_ids"]) for entry in logs] == [("responses_not_saved", ["r"])]
    await asyncio.wait({saving})
    assert saving.cancelled()


async def test_process_that_ends_says_nothing_when_all_is_saved() -> None:
    saves = Saves()
    with capture_logs() as logs:
        await saves.close()
    assert logs == []


async def test_failed_save_that_nobody_waits_for_is_no_noise() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    saving = Saves().start(Flaky(1)())
    await asyncio.wait({saving})
    del saving
    await asyncio.sleep(0)
    assert told == []
