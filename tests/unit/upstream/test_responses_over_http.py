"""HttpTarget in front of a server that speaks Responses: relayed, and asked once more where that helps."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
from msgspec import Raw

from landline.dialects.dialect import Prompt
from landline.dialects.responses import Responses
from landline.session.lineage import Link
from landline.upstream import HttpTarget
from landline.upstream.endpoint import TargetEndpoint
from landline.upstream.redaction import redact
from landline.upstream.target import Traffic
from landline.wire.errors import api_error
from landline.wire.items import decode_item
from landline.wire.model_events import Accepted, Failed, Finished, ModelEvent, Relayed, TextDelta, UsageReported
from landline.wire.requests import CreateRequest, decode_create
from support.fakes.responses import CutLine, Fail, FakeResponses, Reply, Step
from support.turns.reply import stream_of

KEY = "sk-secret-0123456789"
USER = b'{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}'
SAID = b'{"type":"message","role":"assistant","content":[{"type":"output_text","text":"So."}]}'
SEALED = b'{"type":"reasoning","id":"rs_9","summary":[],"encrypted_content":"gAAAA-unknown"}'


def prompt(*items: bytes, **fields: Any) -> Prompt:
    body = json.dumps({"model": "ours", **fields}).encode()
    request = decode_create(body)
    assert isinstance(request, CreateRequest)
    history = Link(None, [decode_item(item) for item in items or (USER,)])
    return Prompt(history=history, request=request, model="m", body=body)


@asynccontextmanager
async def target_of(*steps: Step) -> AsyncGenerator[tuple[HttpTarget, FakeResponses]]:
    async with FakeResponses(*steps).serving() as fake:
        target = HttpTarget(TargetEndpoint("up", fake.base_url, api_key=KEY), Responses())
        await target.open()
        try:
            yield target, fake
        finally:
            await target.close()


async def ask(target: HttpTarget, asked: Prompt) -> list[ModelEvent]:
    async with aclosing(stream_of(target, asked)) as batches:
        return [event async for batch in batches for event in batch]


async def test_upstream_announces_the_response_itself() -> None:
    async with target_of(Reply("Hello.")) as (target, _):
        events = await ask(target, prompt())
    first, *_, usage, finished = events
    assert isinstance(first, Relayed)
    assert first.kind == "response.created"
    assert (usage, finished) == (UsageReported(10, 5, 0), Finished())
    assert Accepted() not in events


async def test_warm_up_is_answered_without_a_request() -> None:
    async with target_of() as (target, fake):
        assert await ask(target, prompt(generate=False)) == [Accepted(), UsageReported(0, 0), Finished()]
        assert fake.received == []


async def test_reasoning_that_is_refused_is_left_out_in_one_more_request() -> None:
    async with target_of(Reply("Hello.")) as (target, fake):
        events = await ask(target, prompt(USER, SEALED, SAID))
        assert isinstance(events[-1], Finished)
    assert [received.refused is not None for received in fake.received] == [True, False]
    assert fake.conversations == [[json.loads(USER), json.loads(SAID)]]


async def test_refusal_of_the_second_request_is_the_answer() -> None:
    refused = Fail({"error": {"code": "invalid_encrypted_content", "message": "still no"}})
    async with target_of(refused, Reply("never")) as (target, fake):
        [failed] = await ask(target, prompt(USER, SEALED, SAID))
    assert isinstance(failed, Failed)
    assert failed.error.message == "still no"
    assert len(fake.received) == 2


async def test_failure_after_an_event_is_not_asked_again() -> None:
    error = {"code": "invalid_encrypted_content", "message": "no"}
    async with target_of(Reply("Half an", fail_with=error), Reply("never")) as (target, fake):
        events = await ask(target, prompt())
        assert isinstance(events[-1], Failed)
        assert len(fake.received) == 1


async def test_cut_answer_fails() -> None:
    async with target_of(Reply("A longer answer.", cut_after=6), CutLine()) as (target, _):
        events = await ask(target, prompt())
        assert isinstance(events[-1], Failed)
        assert events[-1].error.code == "upstream_error"
        [lone] = await ask(target, prompt())
        assert isinstance(lone, Failed)


async def test_end_of_the_response_counts_more_than_the_error_before_it() -> None:
    late = Fail({"type": "error", "error": {"code": "server_error", "message": "broke"}}, is_late=True)
    async with target_of(late) as (target, _):
        events = await ask(target, prompt())
    assert [event.kind for event in events if isinstance(event, Relayed)] == ["response.created", "response.failed"]
    assert isinstance(events[-1], Failed)


async def test_key_is_in_nothing_that_a_failed_response_says() -> None:
    error = {"code": "server_error", "message": f"The key {KEY} broke."}
    async with target_of(Reply(fail_with=error)) as (target, _):
        *_, failed, _, end = await ask(target, prompt())
    assert isinstance(failed, Relayed)
    assert isinstance(end, Failed)
    told = bytes(failed.members["response"])
    assert b"The key [key] broke." in told
    assert KEY not in end.error.message


async def test_tokens_are_counted_without_the_model() -> None:
    async with target_of() as (target, fake):
        assert await target.count_tokens(prompt(USER, USER), Traffic()) == 20
        assert fake.received == []


def test_key_is_found_as_json_writes_it() -> None:
    key = 'a"key\\of é'
    response = Raw(msgspec.json.encode({"error": {"message": f"The key {key} broke."}}))
    batch: list[ModelEvent] = [
        Relayed("response.failed", {"response": response}),
        Failed(api_error("model_error", key)),
    ]
    relayed, failed = redact(batch, [key])
    assert isinstance(relayed, Relayed)
    assert isinstance(failed, Failed)
    assert bytes(relayed.members["response"]) == b'{"error":{"message":"The key [key] broke."}}'
    assert failed.error.message == "[key]"


def test_what_a_model_says_is_not_touched() -> None:
    batch: list[ModelEvent] = [TextDelta(KEY), Finished()]
    assert redact(batch, [KEY]) is batch
    assert redact([], [KEY]) == []
