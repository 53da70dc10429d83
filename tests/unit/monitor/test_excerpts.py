from collections.abc import AsyncGenerator
from typing import Any

import pytest

from landline.ledger import Ledger
from landline.ledger.ledger import NEWEST_ITEMS_KEPT, Excerpt
from landline.monitor.excerpts import EXCERPT_CHARS, ExcerptRecorder, excerpt
from landline.session.admission import admit
from landline.session.turn import Turn, TurnUpdate
from landline.wire.items import encode_item
from landline.wire.requests import CreateRequest, decode_create
from support.servers.edge import FakeRunner, saying


def make_turn(body: bytes) -> Turn:
    request = decode_create(body)
    assert isinstance(request, CreateRequest)
    turn = admit(request, response_id="resp_1", now=1.0, tenant="", body=body)
    assert isinstance(turn, Turn)
    turn.meter.session_id = "conversation"
    return turn


@pytest.mark.parametrize(
    ("item", "kind", "text"),
    [
        ({"type": "message", "role": "user", "content": "Hello"}, "user", "Hello"),
        (
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
            "assistant",
            "Hi",
        ),
        ({"type": "function_call", "call_id": "c", "name": "ls", "arguments": "{}"}, "call of ls", "{}"),
        ({"type": "function_call_output", "call_id": "c", "output": "README"}, "its output", "README"),
        ({"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}, "reasoning", "Hm"),
        (
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm, so"}]},
            "reasoning",
            "Hm, so",
        ),
        ({"type": "reasoning", "summary": [], "encrypted_content": "x"}, "reasoning", ""),
        ({"type": "web_search_call", "id": "x"}, "web_search_call", ""),
    ],
)
def test_an_item_says_who_and_how_it_begins(item: dict[str, Any], kind: str, text: str) -> None:
    assert excerpt(encode_item(item)) == Excerpt(kind, text)


def test_only_the_beginning_is_kept() -> None:
    kept = excerpt(encode_item({"type": "message", "role": "user", "content": "x" * (EXCERPT_CHARS + 1)}))
    assert kept.text == "x" * EXCERPT_CHARS + "…"


async def updates_of(recorder: ExcerptRecorder, turn: Turn) -> list[TurnUpdate]:
    return [update async for update in recorder.run(turn)]


async def test_newest_items_of_a_session_are_kept_and_nothing_is_held_back() -> None:
    ledger = Ledger()
    runner = FakeRunner(saying("Good ", "day"))
    updates = await updates_of(ExcerptRecorder(runner, ledger), make_turn(b'{"model": "demo", "input": "Hello"}'))
    plain = [
        update async for update in FakeRunner(saying("Good ", "day")).run(make_turn(b'{"model":"demo","input":"x"}'))
    ]
    assert [type(update) for update in updates] == [type(update) for update in plain]
    session = ledger.session("conversation")
    assert session is not None
    assert list(session.newest_items) == [Excerpt("user", "Hello"), Excerpt("assistant", "Good day")]


async def test_a_history_that_comes_again_is_not_kept_again() -> None:
    ledger = Ledger()
    recorder = ExcerptRecorder(FakeRunner(saying("Good day")), ledger)
    await updates_of(recorder, make_turn(b'{"model": "demo", "input": "Hello"}'))
    history = b'{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}'
    turn = make_turn(b'{"model": "demo", "input": [%s, {"role": "user", "content": "Again"}]}' % history)
    turn.meter.known_items = 2
    await updates_of(recorder, turn)
    session = ledger.session("conversation")
    assert session is not None
    assert [each.text for each in session.newest_items] == ["Hello", "Good day", "Again", "Good day"]


async def test_memory_for_excerpts_is_bounded() -> None:
    ledger = Ledger()
    recorder = ExcerptRecorder(FakeRunner(saying("yes")), ledger)
    for _ in range(NEWEST_ITEMS_KEPT):
        await updates_of(recorder, make_turn(b'{"model": "demo", "input": "Hello"}'))
    session = ledger.session("conversation")
    assert session is not None
    assert len(session.newest_items) == NEWEST_ITEMS_KEPT


async def test_leaving_early_closes_the_turn() -> None:
    runner = FakeRunner(saying("one", "two"))
    updates: AsyncGenerator[TurnUpdate, None] = ExcerptRecorder(runner, Ledger()).run(
        make_turn(b'{"model":"demo","input":"x"}')
    )
    await anext(updates)
    await updates.aclose()
    assert runner.open_count == 0


async def test_what_is_no_turn_is_passed_on() -> None:
    runner = FakeRunner(saying("x"))
    ExcerptRecorder(runner, Ledger()).stop("resp_9")
    assert runner.stopped == ["resp_9"]
