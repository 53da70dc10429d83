"""The runner and steers: their answers among the turn's events, and a turn that makes way for its successor."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator

from landline.dialects.dialect import Prompt
from landline.routing.choice import Route
from landline.routing.router import Router
from landline.session.turn import Turn, TurnEnded, TurnRefused, TurnUpdate
from landline.stores.memory import MemoryStore
from landline.turns.parts import RunnerSettings
from landline.turns.runner import TurnRunner
from landline.upstream.target import Target, Traffic
from landline.wire.events import AcceptedSteer, ServerEvent, SteerAccepted, event_sequence, event_type
from landline.wire.model_events import Accepted, Finished, ModelEvent, TextDelta, ToolCallDelta, ToolCallStarted
from landline.wire.requests import CreateRequest, decode_create
from support.turns.reply import replying, updates_of_running

ACCEPTED = SteerAccepted(sequence_number=0, steer=AcceptedSteer("steer_1", "resp_1"))


class Model:
    """A target that says what the test puts in, and tells when it was let go."""

    name = "model"

    def __init__(self) -> None:
        self.says: asyncio.Queue[list[ModelEvent]] = asyncio.Queue()
        self.is_released = asyncio.Event()

    @replying
    async def ask(self, prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        try:
            while True:
                yield await self.says.get()
        finally:
            self.is_released.set()

    async def count_tokens(self, prompt: Prompt, traffic: Traffic) -> int:
        return 0

    compacts = False

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def is_ready(self) -> bool:
        return True


class SlowStore(MemoryStore):
    """A store whose turns are finished when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_finishing = asyncio.Event()
        self.may_finish = asyncio.Event()

    async def finish_response(self, *arguments: object, **fields: object) -> None:
        self.is_finishing.set()
        await self.may_finish.wait()
        await super().finish_response(*arguments, **fields)  # type: ignore[arg-type]


def runner(model: Model, store: MemoryStore | None = None, *, keepalive_s: float = 25.0) -> TurnRunner:
    ids = itertools.count()
    target: Target = model
    return TurnRunner(
        Router({"m": [Route(target, "m")]}),
        store or MemoryStore(),
        new_id=lambda prefix: f"{prefix}_{next(ids)}",
        settings=RunnerSettings(keepalive_s=keepalive_s),
    )


def turn() -> Turn:
    request = decode_create(json.dumps({"model": "m", "input": "hi"}))
    assert isinstance(request, CreateRequest)
    return Turn(response_id="resp_1", request=request, history=None, created_at=1.0)


def events_of(*updates: TurnUpdate) -> list[ServerEvent]:
    return [event for update in updates if not isinstance(update, TurnRefused) for event in update.events]


def names(*updates: TurnUpdate) -> list[str]:
    return [event_type(event).removeprefix("response.") for event in events_of(*updates)]


def numbers(*updates: TurnUpdate) -> list[int]:
    return [event_sequence(event)[0] for event in events_of(*updates)]


async def test_answer_comes_at_once_while_the_model_is_silent() -> None:
    model = Model()
    made = runner(model).start(turn())
    updates = updates_of_running(made)
    model.says.put_nowait([Accepted(), TextDelta("a")])
    first = await anext(updates)
    waiting = asyncio.ensure_future(anext(updates))
    await asyncio.sleep(0)
    made.answer_steer(ACCEPTED)
    second = await waiting
    assert names(second) == ["steer.accepted"]
    model.says.put_nowait([TextDelta("b"), Finished()])
    rest = [update async for update in updates]
    assert names(*rest)[-1] == "completed"
    assert numbers(first, second, *rest) == list(range(len(events_of(first, second, *rest))))


async def test_answer_that_comes_between_two_waits_is_not_kept_back() -> None:
    model = Model()
    made = runner(model).start(turn())
    updates = updates_of_running(made)
    model.says.put_nowait([Accepted(), TextDelta("a")])
    await anext(updates)
    made.answer_steer(ACCEPTED)
    assert names(await anext(updates)) == ["steer.accepted"]
    await updates.aclose()


async def test_turn_makes_way_and_its_model_is_let_go_before_it_ends() -> None:
    model = Model()
    made = runner(model).start(turn())
    updates = updates_of_running(made)
    model.says.put_nowait([Accepted()])
    await anext(updates)
    made.answer_steer(ACCEPTED)
    last = await anext(updates)
    assert names(last) == ["steer.accepted", "incomplete"]
    assert isinstance(last, TurnEnded)
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "steered"
    assert model.is_released.is_set()
    assert [update async for update in updates] == []


async def test_steer_in_a_call_lets_the_call_finish() -> None:
    model = Model()
    made = runner(model).start(turn())
    updates = updates_of_running(made)
    model.says.put_nowait([Accepted(), ToolCallStarted(0, "call_1", "look")])
    await anext(updates)
    made.answer_steer(ACCEPTED)
    assert names(await anext(updates)) == ["steer.accepted"]
    model.says.put_nowait([ToolCallDelta(0, "{}"), Finished()])
    assert names(*[update async for update in updates])[-1] == "completed"


async def test_answer_while_the_turn_is_saved_comes_after_its_terminal_event() -> None:
    model, store = Model(), SlowStore()
    made = runner(model, store).start(turn())
    updates = updates_of_running(made)
    model.says.put_nowait([Accepted(), TextDelta("a")])
    first = await anext(updates)
    model.says.put_nowait([Finished()])
    waiting = asyncio.ensure_future(anext(updates))
    await store.is_finishing.wait()
    made.answer_steer(ACCEPTED)
    store.may_finish.set()
    last = await waiting
    assert names(last)[-2:] == ["completed", "steer.accepted"]
    assert numbers(first, last) == list(range(len(events_of(first, last))))
    await updates.aclose()
