"""FairShare, alone and between turns whose answers have come whole."""

import asyncio

from landline.dialects.dialect import Prompt
from landline.turns.fair_share import FairShare
from landline.upstream.target import Traffic
from landline.wire.model_events import Accepted, Finished, ModelEvent, TextDelta
from support.turns.fake_target import FakeTarget, router_of, runner_of, turn
from support.turns.reply import heard_by


async def _wait(share: FairShare, name: str, gone: list[str]) -> None:
    await share.wait()
    gone.append(name)


async def test_one_goes_on_in_each_step_the_longest_waiting_first() -> None:
    share, gone = FairShare(), list[str]()
    waiting = [asyncio.create_task(_wait(share, name, gone)) for name in "abc"]
    seen: list[str] = []
    while len(gone) < len(waiting):
        await asyncio.sleep(0)
        seen.append("".join(gone))
    assert [text for text in dict.fromkeys(seen) if text] == ["a", "ab", "abc"]


async def test_what_is_new_comes_between_two_that_wait() -> None:
    share, gone = FairShare(), list[str]()
    waiting = [asyncio.create_task(_wait(share, name, gone)) for name in "abcdefgh"]
    await waiting[0]
    asyncio.get_running_loop().call_soon(gone.append, "new")
    await asyncio.wait(waiting)
    assert gone.index("new") < gone.index("h")


async def test_one_that_was_cancelled_holds_up_nobody() -> None:
    share, gone = FairShare(), list[str]()
    waiting = [asyncio.create_task(_wait(share, name, gone)) for name in "abc"]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[1].cancel()
    async with asyncio.timeout(10):
        await asyncio.wait(waiting)
    assert gone == ["c"]


async def test_it_serves_again_after_nobody_waited() -> None:
    share, gone = FairShare(), list[str]()
    async with asyncio.timeout(10):
        await _wait(share, "a", gone)
        await asyncio.sleep(0)
        await _wait(share, "b", gone)
    assert gone == ["a", "b"]


class _WholeReply:
    """An answer that is here whole, in pieces."""

    def __init__(self, name: str, told: list[tuple[str, int]]) -> None:
        self.traffic = Traffic()
        self._name, self._told = name, told
        self._pieces: list[list[ModelEvent]] = [[Accepted()], [TextDelta("a")], [TextDelta("b")], [Finished()]]

    @property
    def has_more(self) -> bool:
        return bool(self._pieces)

    async def open(self) -> list[ModelEvent]:
        return await self.read()

    async def read(self) -> list[ModelEvent]:
        self._told.append((self._name, len(self._pieces)))
        return self._pieces.pop(0)

    async def close(self) -> None: ...


class _WholeAnswers(FakeTarget):
    def __init__(self, told: list[tuple[str, int]]) -> None:
        super().__init__("whole")
        self._told = told

    def ask(self, prompt: Prompt) -> _WholeReply:
        return _WholeReply(prompt.response_id, self._told)


async def test_every_turn_hears_its_first_words_before_any_hears_its_last() -> None:
    told: list[tuple[str, int]] = []
    runner = runner_of(router_of(_WholeAnswers(told)))
    turns = [turn(response_id=f"resp_{number}") for number in range(8)]
    heard = await asyncio.gather(*[heard_by(runner, each) for each in turns])
    assert all(events == [Accepted(), TextDelta("a"), TextDelta("b"), Finished()] for events in heard)
    last_first_words = max(told.index((each.response_id, 3)) for each in turns)
    first_last_words = min(told.index((each.response_id, 1)) for each in turns)
    assert last_first_words < first_last_words
