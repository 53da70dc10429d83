"""A turn goes to the next target while nothing was said, and to no other afterwards."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from msgspec import Raw
from structlog.testing import capture_logs

from landline.dialects.dialect import Prompt
from landline.ledger.report import Service
from landline.routing.choice import Route
from landline.routing.health import FAILURES_IN_A_ROW
from landline.routing.router import Router
from landline.session.admission import CreateOrigin, admit
from landline.session.lineage import Link
from landline.session.turn import Turn, TurnEnded, TurnProgressed, TurnRefused, TurnUpdate
from landline.stores.memory import MemoryStore
from landline.turns.parts import RunnerSettings
from landline.turns.runner import TurnMemory, TurnRunner
from landline.turns.running import RunningTurn
from landline.upstream.target import Target
from landline.wire.errors import ApiError, api_error
from landline.wire.events import event_type
from landline.wire.items import encode_item
from landline.wire.model_events import Accepted, Failed, Finished, ModelEvent, Relayed, TextDelta
from landline.wire.requests import CreateRequest, decode_create
from landline.wire.responses import Sampling
from support.stores.items import message
from support.turns.fake_target import DOWN, SEALER, Clock, FakeTarget, router_of, runner_of, turn
from support.turns.reply import batches_heard, heard_by, updates_of, updates_of_running


async def attempt(router: Router[Target], asked: Turn | None = None, clock: Clock | None = None) -> list[ModelEvent]:
    return await heard_by(runner_of(router, clock or Clock()), asked or turn())


def said(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize(
    "code",
    [
        "upstream_unavailable",
        "upstream_error",
        "server_is_overloaded",
        "upstream_auth_error",
        "insufficient_quota",
        "rate_limit_exceeded",
        "model_not_found",
    ],
)
async def test_refusal_that_another_target_may_not_share_is_not_told(code: str) -> None:
    first, second = FakeTarget("a", api_error(code, "why")), FakeTarget("b")
    events = await attempt(router_of(first, second))
    assert events == [Accepted(), TextDelta("b"), Finished()]
    assert len(first.prompts) == 1


@pytest.mark.parametrize("code", ["context_length_exceeded", "invalid_prompt", "invalid_value", "model_error"])
async def test_refusal_of_the_turn_itself_is_told_at_once(code: str) -> None:
    second = FakeTarget("b")
    error = api_error(code, "why")
    router = router_of(FakeTarget("a", error), second)
    assert await attempt(router) == [Failed(error)]
    assert second.prompts == []
    for _ in range(2 * FAILURES_IN_A_ROW):
        await attempt(router)
    assert {each.state for each in router.target_health(0.0)} == {"closed"}


async def test_every_target_that_failed_a_try_is_charged_with_it() -> None:
    limited = FakeTarget("limited", api_error("rate_limit_exceeded", "slow down"))
    odd = FakeTarget("odd", ApiError("teapot", "a code of a vendor's own", status=503))
    router = router_of(limited, odd)
    with capture_logs() as log:
        await attempt(router)
        await attempt(router)  # the one asked for a rest: only the other one is tried
    failures = {each.target: each.failures for each in router.target_health(0.0)}
    assert failures == {"limited": {"rate_limit_exceeded": 1}, "odd": {"other": 2}}
    told = {(line["target"], line["code"], line["status"]) for line in log if line["event"] == "target_failed"}
    assert told == {("limited", "rate_limit_exceeded", 429), ("odd", "teapot", 503)}


async def test_a_target_whose_answer_breaks_off_is_charged_with_it() -> None:
    target = FakeTarget("a")

    async def break_off(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        yield [Accepted()]
        yield [Failed(api_error("upstream_error", "broke off"))]

    target.answer = break_off
    router = router_of(target, FakeTarget("b"))
    await attempt(router)
    assert {each.target: each.failures for each in router.target_health(0.0)} == {"a": {"upstream_error": 1}, "b": {}}


async def test_nothing_is_tried_again_after_the_first_event() -> None:
    first, second = FakeTarget("a"), FakeTarget("b")

    async def break_off(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        yield [Accepted()]
        yield [Failed(api_error("upstream_error", "broke off"))]

    first.answer = break_off
    events = await attempt(router_of(first, second))
    assert [type(event) for event in events] == [Accepted, Failed]
    assert second.prompts == []


async def test_when_all_fail_the_most_useful_error_is_told() -> None:
    limits = [api_error("rate_limit_exceeded", "slow", retry_after_s=wait) for wait in (20, 3)]
    router = router_of(FakeTarget("a", limits[0]), FakeTarget("b", limits[1]), FakeTarget("c", DOWN))
    assert await attempt(router) == [Failed(limits[1])]


async def test_target_that_fails_is_left_alone_and_probed_when_its_wait_is_over() -> None:
    first, second, clock = FakeTarget("a", DOWN), FakeTarget("b"), Clock()
    router = router_of(first, second)
    for _ in range(3 * FAILURES_IN_A_ROW):
        assert said(await attempt(router, clock=clock)) == "b"
    assert len(first.prompts) == FAILURES_IN_A_ROW
    clock.now = 1.0
    first.error = None
    assert {said(await attempt(router, clock=clock)) for _ in range(4)} == {"a", "b"}
    assert {each.state for each in router.target_health(clock.now)} == {"closed"}


async def test_answers_that_break_off_open_the_breaker_too() -> None:
    only = FakeTarget("a")

    async def break_off(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        yield [Accepted(), Failed(api_error("upstream_error", "broke off"))]

    only.answer = break_off
    router = router_of(only, FakeTarget("b"))
    for _ in range(2 * FAILURES_IN_A_ROW):
        await attempt(router)
    assert {each.target: each.state for each in router.target_health(0.0)} == {"a": "open", "b": "closed"}


async def test_rate_limited_target_rests_and_is_not_broken() -> None:
    first, second, clock = FakeTarget("a"), FakeTarget("b"), Clock()
    first.error = api_error("rate_limit_exceeded", "slow", retry_after_s=30)
    router = router_of(first, second)
    for _ in range(3):
        assert said(await attempt(router, clock=clock)) == "b"
    assert len(first.prompts) == 1
    [health] = [each for each in router.target_health(0.0) if each.target == "a"]
    assert (health.state, health.wait_s) == ("closed", 30.0)


async def test_turn_that_is_aborted_says_nothing_of_its_target() -> None:
    only = FakeTarget("a")
    released = asyncio.Event()

    async def hang(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        try:
            yield [Accepted()]
            await asyncio.Event().wait()
        finally:
            released.set()

    only.answer = hang
    router = router_of(only)
    for _ in range(2 * FAILURES_IN_A_ROW):
        stream = batches_heard(runner_of(router).start(turn()))
        await anext(stream)
        [health] = router.target_health(0.0)
        assert health.in_flight == 1
        await stream.aclose()
    [health] = router.target_health(0.0)
    assert (health.state, health.in_flight) == ("closed", 0)
    assert released.is_set()


async def test_aborted_probe_leaves_its_place() -> None:
    first, clock = FakeTarget("a", DOWN), Clock()
    router = router_of(first)
    for _ in range(FAILURES_IN_A_ROW):
        await attempt(router, clock=clock)
    clock.now = 1.0

    asked = asyncio.Event()

    async def hang(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        asked.set()
        await asyncio.Event().wait()
        yield []

    first.answer = hang
    pending = asyncio.ensure_future(anext(batches_heard(runner_of(router, clock).start(turn()))))
    await asked.wait()
    assert router.target_health(1.0)[0].state == "probing"
    pending.cancel()
    await asyncio.wait({pending})
    assert router.target_health(1.0)[0].state == "half_open"


async def test_warm_up_that_is_answered_proves_nothing() -> None:
    first, clock = FakeTarget("a", DOWN), Clock()
    router = router_of(first)
    for _ in range(FAILURES_IN_A_ROW):
        await attempt(router, clock=clock)
    clock.now, first.error = 1.0, None
    assert said(await attempt(router, turn(generate=False), clock)) == "a"
    assert router.target_health(1.0)[0].state == "half_open"


async def test_conversation_without_a_key_gets_one_that_stays() -> None:
    targets = [FakeTarget("a"), FakeTarget("b")]
    router = router_of(*targets)
    question = encode_item({"type": "message", "role": "user", "content": "do it"})
    answer = encode_item({"type": "message", "role": "assistant", "content": "done, in other words"})
    await attempt(router, turn(Link(None, [question])))
    await attempt(router, turn(Link(None, [question, answer, question])))
    [(first, second)] = [each.prompts for each in targets if each.prompts]
    assert first.affinity_key is not None
    assert first.affinity_key == second.affinity_key
    assert router.served_turns()[0].reason == "key"


async def test_report_says_where_a_turn_went_and_why() -> None:
    running = runner(FakeTarget("a", DOWN), FakeTarget("b")).start(turn())
    with capture_logs() as logs:
        assert [update async for update in updates_of_running(running)]
    assert [(each["event"], each["target"]) for each in logs] == [("target_failed", "a")]
    report = running.report()
    assert report.service == Service("b", "m", "fail_over", "none", 0)
    assert report.tries == 2


async def test_tokens_are_counted_by_a_target_that_can() -> None:
    assert await runner_of(router_of(FakeTarget("a", DOWN), FakeTarget("b"))).count_tokens(turn()) == 7
    assert await runner_of(router_of(FakeTarget("a", DOWN))).count_tokens(turn()) == DOWN
    error = api_error("unsupported_parameter", "no")
    assert await runner_of(router_of(FakeTarget("a", error), FakeTarget("b"))).count_tokens(turn()) == error


async def test_history_that_no_target_reads_is_refused_and_nobody_asked() -> None:
    compaction = encode_item({"type": "compaction", "encrypted_content": "elsewhere"})
    targets = [FakeTarget("a"), FakeTarget("b")]
    [refused] = await attempt(router_of(*targets), turn(Link(None, [compaction])))
    assert isinstance(refused, Failed)
    assert refused.error.code == "invalid_encrypted_content"
    reader = FakeTarget("c", compacts=True)
    assert said(await attempt(router_of(*targets, reader), turn(Link(None, [compaction])))) == "c"
    assert [each.prompts for each in targets] == [[], []]


def runner(*targets: FakeTarget, **settings: Any) -> TurnRunner:
    return runner_of(router_of(*targets), **settings)


async def run(made: TurnRunner, response_id: str, **fields: Any) -> list[TurnUpdate]:
    request = decode_create(json.dumps({"model": "m"} | fields))
    assert isinstance(request, CreateRequest), request
    admitted = admit(request, response_id=response_id, now=1.0, origin=CreateOrigin(tenant="t"))
    assert isinstance(admitted, Turn), admitted
    return await run_turn(made, admitted)


async def run_turn(made: TurnRunner, admitted: Turn) -> list[TurnUpdate]:
    return [update async for update in updates_of(made, admitted)]


def text_of(updates: list[TurnUpdate]) -> str:
    last = updates[-1]
    assert isinstance(last, TurnEnded), last
    return json.loads(bytes(last.response.output[0]))["content"][0]["text"]


async def test_chain_stays_where_it_is_warm() -> None:
    made = runner(FakeTarget("a"), FakeTarget("b"))
    homes = [text_of(await run(made, f"resp_{n}", input=f"start {n}")) for n in range(4)]
    assert set(homes) == {"a", "b"}
    for n, home in enumerate(homes):
        updates = await run(made, f"resp_{n}_2", input="go on", previous_response_id=f"resp_{n}")
        assert text_of(updates) == home


def served(running: RunningTurn) -> tuple[str, str]:
    service = running.report().service
    assert service is not None
    return service.target, service.reason


async def test_turn_that_starts_with_the_end_of_the_one_before_is_warm() -> None:
    """As the successor of a steered response and a create that waited in its lane do."""
    made = runner(FakeTarget("a"), FakeTarget("b"))
    first = turn(Link(None, [message("msg_1", "start")]))

    async def go_on(ended: TurnEnded) -> tuple[str, str]:
        following = turn(Link(ended.history, [message("msg_2", "go on")]), response_id="resp_2")
        running = made.start(following)
        assert [update async for update in updates_of_running(running)]
        return served(running)

    going_on: list[asyncio.Task[tuple[str, str]]] = []
    beginning = made.start(first)
    async with aclosing(updates_of_running(beginning)) as updates:
        async for update in updates:
            if isinstance(update, TurnEnded):
                going_on.append(asyncio.create_task(go_on(update)))
                await asyncio.sleep(0)
    assert [await each for each in going_on] == [(served(beginning)[0], "warm")]


async def test_announcement_made_while_waiting_does_not_end_the_tries() -> None:
    first, second = FakeTarget("a"), FakeTarget("b")
    gate = asyncio.Event()

    async def fail_late(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        await gate.wait()
        yield [Failed(DOWN)]

    first.answer = fail_late
    updates = updates_of(
        runner(first, second, announce_after_s=0.01), Turn("resp_1", turn().request, None, created_at=1.0, tenant="t")
    )
    announced = await anext(updates)
    assert isinstance(announced, TurnProgressed)
    gate.set()
    rest = [update async for update in updates]
    assert text_of(rest) == "b"
    events = [event for update in [announced, *rest] if not isinstance(update, TurnRefused) for event in update.events]
    assert [event_type(event).removeprefix("response.") for event in events][:3] == [
        "created",
        "in_progress",
        "output_item.added",
    ]
    assert event_type(events[-1]) == "response.completed"


async def test_compaction_is_made_where_the_turn_can_be_served() -> None:
    first, second = FakeTarget("a", DOWN), FakeTarget("b")
    items = [{"role": "user", "content": "one"}, {"type": "compaction_trigger"}]
    [last] = (await run(runner(first, second), "resp_1", input=items))[-1:]
    assert isinstance(last, TurnEnded)
    assert last.error is None
    assert (len(first.prompts), len(second.prompts)) == (1, 1)


def relayed(kind: str, **members: Any) -> Relayed:
    return Relayed(kind, {name: Raw(json.dumps(each).encode()) for name, each in {"type": kind, **members}.items()})


async def compact_upstream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
    """An upstream that answers everything with a compaction of its own."""
    item = {"type": "compaction", "id": "cmp_1", "encrypted_content": "for my eyes only"}
    told = {"id": "resp_up", "object": "response", "model": "m", "output": [item], "status": "completed"}
    yield [relayed("response.created", response={**told, "status": "in_progress"})]
    yield [
        relayed("response.output_item.added", output_index=0, item=item),
        relayed("response.output_item.done", output_index=0, item=item),
        relayed("response.completed", response=told),
        Finished(),
    ]


async def test_conversation_that_a_target_compacted_is_that_targets_alone() -> None:
    targets = [FakeTarget("a", compacts=True), FakeTarget("b", compacts=True)]
    for each in targets:
        each.answer = compact_upstream
    made = runner(*targets)
    items = [{"role": "user", "content": "one"}, {"type": "compaction_trigger"}]
    await run(made, "resp_1", input=items)
    [maker] = [each for each in targets if each.prompts]
    [other] = [each for each in targets if each is not maker]
    for number in range(2, 6):
        await run(made, f"resp_{number}", input="go on", previous_response_id="resp_1")
    assert len(maker.prompts) == 5
    maker.answer, maker.error = None, DOWN
    for number in range(6, 10):
        [refused] = await run(made, f"resp_{number}", input="go on", previous_response_id="resp_1")
        assert isinstance(refused, TurnRefused)
        assert refused.error.code == "upstream_unavailable"
    assert other.prompts == []


async def test_background_turn_that_nobody_can_serve_is_refused_before_it_is_queued() -> None:
    compaction = {"type": "compaction", "encrypted_content": "elsewhere"}
    items = [compaction, {"role": "user", "content": "two"}]
    [only] = await run(runner(FakeTarget("a")), "resp_1", input=items, background=True)
    assert isinstance(only, TurnRefused)


async def test_background_turn_fails_over() -> None:
    updates = await run(runner(FakeTarget("a", DOWN), FakeTarget("b")), "resp_1", input="hi", background=True)
    assert text_of(updates) == "b"


async def test_stopped_turn_lets_go_of_its_target_and_is_no_failure() -> None:
    only = FakeTarget("a")
    released = asyncio.Event()

    async def talk(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        try:
            yield [Accepted()]
            await asyncio.Event().wait()
        finally:
            released.set()

    only.answer = talk
    router = router_of(only)
    ids = itertools.count(1)
    made = TurnRunner(
        router,
        MemoryStore(),
        new_id=lambda prefix: f"{prefix}_{next(ids)}",
        settings=RunnerSettings(),
        memory=TurnMemory(sealer=SEALER),
    ).start(turn())
    updates = updates_of_running(made)
    await anext(updates)
    made.stop()
    last = await anext(updates)
    assert isinstance(last, TurnEnded)
    assert [update async for update in updates] == []
    assert released.is_set()
    [health] = router.target_health(0.0)
    assert (health.state, health.in_flight) == ("closed", 0)


@pytest.mark.parametrize("background", [False, True])
async def test_response_says_what_the_target_that_served_it_takes(background: bool) -> None:
    broken, good = FakeTarget("a", DOWN), FakeTarget("b")
    routes = [Route[Target](broken, None, 2.0, Sampling(0.1, 0.2)), Route[Target](good, None, 1.0, Sampling(0.3))]
    made = TurnRunner(
        Router[Target]({"m": routes}),
        MemoryStore(),
        new_id=lambda prefix: f"{prefix}_1",
        settings=RunnerSettings(),
        memory=TurnMemory(sealer=SEALER),
    )
    updates = await run(made, "resp_1", input="hi", background=background, store=background, top_p=0.7)
    ended = updates[-1]
    assert isinstance(ended, TurnEnded)
    assert (ended.response.temperature, ended.response.top_p) == (0.3, 0.7)
