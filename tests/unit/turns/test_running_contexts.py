"""How a model is asked: compacted first, truncated first, or simply asked; and what the turn makes of that."""

import itertools
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from landline.dialects.dialect import Prompt
from landline.routing.choice import Route
from landline.routing.router import Router
from landline.sealing import Sealer
from landline.session.admission import CreateOrigin, admit
from landline.session.compaction import SUMMARY_ID
from landline.session.lineage import Link, extend
from landline.session.turn import Turn, TurnEnded, TurnRefused, TurnUpdate
from landline.stores.memory import MemoryStore
from landline.turns.parts import RunnerSettings
from landline.turns.runner import TurnMemory, TurnRunner
from landline.upstream.target import Target, Traffic
from landline.wire.errors import ApiError, api_error
from landline.wire.events import ServerEvent, event_type
from landline.wire.items import Item, encode_item
from landline.wire.model_events import (
    Accepted,
    Compacted,
    Failed,
    Finished,
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallStarted,
    UsageReported,
)
from landline.wire.requests import CreateRequest, decode_create
from support.turns.reply import heard_by, replying, updates_of

KEY = "a secret of enough characters"
Answerer = Callable[[Prompt], list[ModelEvent]]


class FakeTarget:
    """Answers by a function and keeps the prompts; counts a token an item unless it cannot."""

    name = "fake"

    def __init__(self, answer: Answerer, *, can_count: bool = True) -> None:
        self.answer = answer
        self.can_count = can_count
        self.prompts: list[Prompt] = []
        self.counted = 0

    compacts = False

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def is_ready(self) -> bool:
        return True

    async def count_tokens(self, prompt: Prompt, traffic: Traffic) -> int | ApiError:
        self.counted += 1
        if not self.can_count:
            return api_error("unsupported_parameter", "no counter")
        return prompt.history.item_count if prompt.history is not None else 0

    @replying
    async def ask(self, prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        self.prompts.append(prompt)
        yield self.answer(prompt)


def is_summary(prompt: Prompt) -> bool:
    assert prompt.history is not None
    return b"replaced by a summary" in prompt.history.items[-1].raw


def answering(prompt: Prompt) -> list[ModelEvent]:
    text = "it was long" if is_summary(prompt) else "answer"
    return [Accepted(), TextDelta(text), UsageReported(100, 10, 50), Finished()]


def message(role: str, text: str) -> Item:
    return encode_item({"type": "message", "role": role, "content": text})


def conversation(turns: int = 3) -> list[Item]:
    return [each for n in range(turns) for each in (message("user", f"u{n}"), message("assistant", f"a{n}"))]


def turn(history: Link | None, *, is_compaction: bool = False, **fields: object) -> Turn:
    request = decode_create(json.dumps({"model": "m"} | fields))
    assert isinstance(request, CreateRequest), request
    return Turn("resp_1", request, history, created_at=1.0, is_compaction=is_compaction, tenant="t")


async def events_of(target: FakeTarget, asked: Turn) -> list[ModelEvent]:
    return await heard_by(runner(target), asked)


def shown(prompt: Prompt) -> list[str]:
    assert prompt.history is not None
    words: list[str] = []
    for item in prompt.history.all_items():
        content: Any = json.loads(item.raw)["content"]
        words.append("summary" if item.id == SUMMARY_ID else content if isinstance(content, str) else "instruction")
    return words


THRESHOLD: dict[str, Any] = {"context_management": [{"type": "compaction", "compact_threshold": 5}]}


def long_history(*new: Item) -> Link:
    history = extend(extend(None, conversation()), new or [message("user", "go on")])
    assert history is not None
    return history


async def test_trigger_asks_for_the_summary_and_for_nothing_else() -> None:
    target = FakeTarget(answering)
    events = await events_of(target, turn(long_history(), is_compaction=True))
    assert [type(event).__name__ for event in events] == [
        "Accepted",
        "CompactionStarted",
        "UsageReported",
        "Compacted",
        "Finished",
    ]
    assert [shown(prompt)[-1] for prompt in target.prompts] == ["instruction"]


async def test_summary_is_asked_with_the_turns_tools_which_may_not_be_called() -> None:
    target = FakeTarget(answering)
    tool = {"type": "function", "name": "f", "parameters": {}}
    settings: dict[str, Any] = {"tools": [tool], "instructions": "rules", "text": {"format": {"type": "json_object"}}}
    await events_of(target, turn(long_history(), is_compaction=True, tool_choice="required", **settings))
    request = target.prompts[0].request
    assert (request.tool_choice, request.instructions, request.text) == ("none", "rules", None)
    assert request.tools is not None
    assert request.max_output_tokens == 512


async def test_over_the_threshold_the_past_is_compacted_and_the_newest_step_answered() -> None:
    target = FakeTarget(answering)
    events = await events_of(target, turn(long_history(), **THRESHOLD))
    assert [shown(prompt) for prompt in target.prompts] == [
        ["u0", "a0", "u1", "a1", "u2", "a2", "instruction"],
        ["summary", "go on"],
    ]
    assert target.prompts[0].request.max_output_tokens == 1
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["answer"]


async def test_under_the_threshold_nothing_is_compacted() -> None:
    target = FakeTarget(answering)
    management = [{"type": "compaction", "compact_threshold": 7}]
    await events_of(target, turn(long_history(), context_management=management))
    assert [shown(prompt)[-1] for prompt in target.prompts] == ["go on"]
    assert target.counted == 1


@pytest.mark.parametrize(("reported", "threshold", "prompts"), [(2000, 1000, 2), (200, 1000, 1)])
async def test_what_the_model_reported_decides_where_it_can(reported: int, threshold: int, prompts: int) -> None:
    target = FakeTarget(answering)
    history = long_history()
    assert history.parent is not None
    history.parent.context_tokens = reported
    management = [{"type": "compaction", "compact_threshold": threshold}]
    await events_of(target, turn(history, context_management=management))
    assert (len(target.prompts), target.counted) == (prompts, 0)


async def test_where_nobody_can_count_bytes_decide() -> None:
    target = FakeTarget(answering, can_count=False)
    history = long_history(message("user", "x" * 4000))
    for threshold, prompts in ((2000, 1), (1000, 3)):
        management = [{"type": "compaction", "compact_threshold": threshold}]
        await events_of(target, turn(history, context_management=management))
        assert len(target.prompts) == prompts


async def test_report_from_before_a_compaction_counts_no_more() -> None:
    target = FakeTarget(answering)
    history = long_history()
    history.context_tokens = 100_000
    made = await events_of(target, turn(history, is_compaction=True))
    [compacted] = [event for event in made if isinstance(event, Compacted)]
    item = Item(b'{"type":"compaction"}', "compaction", "cmp_1", opened=compacted.opened, covers=compacted.covers)
    longer = extend(extend(history, [item]), [message("user", "next")])
    target.prompts.clear()
    management = [{"type": "compaction", "compact_threshold": 5000}]
    await events_of(target, turn(longer, context_management=management))
    assert [shown(prompt) for prompt in target.prompts] == [["u0", "u1", "u2", "go on", "summary", "next"]]


async def test_warm_up_compacts_nothing() -> None:
    target = FakeTarget(answering)
    await events_of(target, turn(long_history(), generate=False, **THRESHOLD))
    assert [shown(prompt)[-1] for prompt in target.prompts] == ["go on"]


async def test_failed_summary_fails_the_turn_and_nothing_is_answered() -> None:
    error = api_error("context_length_exceeded", "too long by 5 tokens")
    target = FakeTarget(lambda prompt: [Failed(error)])
    assert await events_of(target, turn(long_history(), **THRESHOLD)) == [Failed(error)]
    assert len(target.prompts) == 1


async def test_model_that_writes_nothing_is_asked_again_with_more_room_and_no_tools() -> None:
    def thinking(prompt: Prompt) -> list[ModelEvent]:
        if prompt.request.tools is None:
            return answering(prompt)
        return [Accepted(), ReasoningDelta("hm"), ToolCallStarted(0, "c", "f"), UsageReported(7, 3), Finished()]

    target = FakeTarget(thinking)
    tool = {"type": "function", "name": "f", "parameters": {}}
    events = await events_of(target, turn(long_history(), is_compaction=True, tools=[tool]))
    assert [prompt.request.max_output_tokens for prompt in target.prompts] == [512, 2048]
    assert [event for event in events if isinstance(event, UsageReported)] == [UsageReported(107, 13, 50)]


async def test_model_that_never_writes_a_summary_fails_the_turn() -> None:
    target = FakeTarget(lambda prompt: [Accepted(), TextDelta(" \n"), UsageReported(7, 3), Finished()])
    events = await events_of(target, turn(long_history(), is_compaction=True))
    assert isinstance(events[-1], Failed)
    assert events[-1].error.code == "model_error"


async def test_truncation_drops_until_the_target_takes_it() -> None:
    def narrow(prompt: Prompt) -> list[ModelEvent]:
        assert prompt.history is not None
        if prompt.history.item_count > 3:
            return [Failed(api_error("context_length_exceeded", "too long"))]
        return answering(prompt)

    target = FakeTarget(narrow)
    events = await events_of(target, turn(long_history(), truncation="auto"))
    assert shown(target.prompts[-1]) == ["u2", "a2", "go on"]
    assert isinstance(events[-1], Finished)
    refused = await events_of(FakeTarget(narrow), turn(long_history()))
    assert isinstance(refused[-1], Failed)


async def test_truncation_that_cannot_help_says_why_the_target_refused() -> None:
    error = api_error("context_length_exceeded", "too long")
    target = FakeTarget(lambda prompt: [Failed(error)])
    assert await events_of(target, turn(long_history(), truncation="auto")) == [Failed(error)]
    assert shown(target.prompts[-1]) == ["go on"]


async def test_other_refusals_are_not_answered_with_truncation() -> None:
    error = api_error("rate_limit_exceeded", "slow")
    target = FakeTarget(lambda prompt: [Failed(error)])
    assert await events_of(target, turn(long_history(), truncation="auto")) == [Failed(error)]
    assert len(target.prompts) == 1


def runner(target: FakeTarget, store: MemoryStore | None = None) -> TurnRunner:
    ids = itertools.count(1)
    as_target: Target = target
    return TurnRunner(
        Router({"m": [Route(as_target, None)]}),
        store or MemoryStore(),
        new_id=lambda prefix: f"{prefix}_{next(ids)}",
        settings=RunnerSettings(),
        memory=TurnMemory(sealer=Sealer([KEY])),
    )


async def run(made: TurnRunner, response_id: str, **fields: object) -> list[TurnUpdate]:
    request = decode_create(json.dumps({"model": "m"} | fields))
    assert isinstance(request, CreateRequest), request
    admitted = admit(request, response_id=response_id, now=1.0, origin=CreateOrigin(tenant="t"))
    assert isinstance(admitted, Turn), admitted
    return [update async for update in updates_of(made, admitted)]


def events_in(updates: list[TurnUpdate]) -> list[ServerEvent]:
    return [event for update in updates if not isinstance(update, TurnRefused) for event in update.events]


async def test_usage_of_both_passes_is_told_and_the_context_is_the_last_ones() -> None:
    new = [*conversation(), message("user", "go on")]
    updates = await run(runner(FakeTarget(answering)), "resp_1", input=[json.loads(i.raw) for i in new], **THRESHOLD)
    last = updates[-1]
    assert isinstance(last, TurnEnded)
    usage = last.response.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.input_tokens_details.cached_tokens) == (200, 20, 100)
    assert [event_type(event).removeprefix("response.") for event in events_in(updates)][:5] == [
        "created",
        "in_progress",
        "compaction.compacting",
        "output_item.added",
        "output_item.done",
    ]
    assert last.history is not None
    assert last.history.context_tokens == 110


async def test_stored_compaction_is_opened_when_its_chain_goes_on() -> None:
    store, target = MemoryStore(), FakeTarget(answering)
    made = runner(target, store)
    await run(made, "resp_1", input="one")
    await run(made, "resp_2", previous_response_id="resp_1", input=[{"type": "compaction_trigger"}])
    found = await store.load_history("t", "resp_2")
    assert found is not None
    assert found.link is not None
    await run(made, "resp_3", previous_response_id="resp_2", input="two")
    assert shown(target.prompts[-1]) == ["instruction", "summary", "instruction"]
    assert await store.load_history("t", "resp_3") is not None


async def test_stored_parents_usage_decides_without_a_count() -> None:
    target = FakeTarget(answering)
    made = runner(target)
    management: Any = {"context_management": [{"type": "compaction", "compact_threshold": 105}]}
    await run(made, "resp_1", input=[json.loads(item.raw) for item in long_history().all_items()])
    *_, last = await run(made, "resp_2", previous_response_id="resp_1", input="two", **management)
    assert isinstance(last, TurnEnded)
    assert [json.loads(bytes(raw))["type"] for raw in last.response.output] == ["compaction", "message"]
    assert target.counted == 0


async def test_turn_that_is_only_counted_leaves_nothing_behind() -> None:
    store, target = MemoryStore(), FakeTarget(answering)
    made = runner(target, store)
    request = decode_create(json.dumps({"model": "m", "input": "one"}))
    assert isinstance(request, CreateRequest)
    asked = admit(request, response_id="resp_1", now=1.0)
    assert isinstance(asked, Turn)
    assert await made.count_tokens(asked) == 1
    assert await store.load_response("", "resp_1") is None
    assert target.prompts == []


async def test_compaction_of_another_tenant_is_refused() -> None:
    target = FakeTarget(answering)
    *_, last = await run(
        runner(target), "resp_1", input=[{"role": "user", "content": "one"}, {"type": "compaction_trigger"}]
    )
    assert isinstance(last, TurnEnded)
    item: dict[str, Any] = json.loads(bytes(last.response.output[0]))
    request = decode_create(json.dumps({"model": "m", "input": [item, {"role": "user", "content": "two"}]}))
    assert isinstance(request, CreateRequest)
    for tenant, kind in (("t", TurnEnded), ("other", TurnRefused)):
        asked = admit(request, response_id="resp_2", now=1.0, origin=CreateOrigin(tenant=tenant))
        assert isinstance(asked, Turn)
        *_, last = [update async for update in updates_of(runner(target), asked)]
        assert isinstance(last, kind)
    assert isinstance(last, TurnRefused)
    assert (last.error.code, last.error.param) == ("invalid_encrypted_content", "input[0].encrypted_content")
