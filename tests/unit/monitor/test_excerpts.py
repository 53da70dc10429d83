import asyncio
from typing import Any

import pytest

from landline.ledger import Ledger
from landline.ledger.ledger import NEWEST_ITEMS_KEPT, Excerpt, LiveSession
from landline.ledger.report import TurnReport
from landline.monitor.excerpts import EXCERPT_CHARS, excerpt, record_excerpts
from landline.session.admission import CreateOrigin, admit
from landline.session.turn import Turn
from landline.wire.items import encode_item
from landline.wire.requests import CreateRequest, decode_create
from landline.wire.responses import new_response
from support.servers.state import DEADLINE_S, state_server


def make_turn(body: bytes) -> Turn:
    request = decode_create(body)
    assert isinstance(request, CreateRequest)
    turn = admit(request, response_id="resp_1", now=1.0, origin=CreateOrigin(tenant="", body=body))
    assert isinstance(turn, Turn)
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


def record(ledger: Ledger, turn: Turn, said: str, *, known_items: int = 0) -> LiveSession:
    session = ledger.open_session("conversation", "http", "", 1.0)
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": said}]}
    response = new_response(turn.request, id="resp_1", created_at=1, model="demo", conversation_id=None)
    report = TurnReport(turn=turn, known_items=known_items, response=response, output=(encode_item(message),))
    record_excerpts(session, report)
    return session


def test_newest_items_of_a_session_are_kept() -> None:
    session = record(Ledger(), make_turn(b'{"model": "demo", "input": "Hello"}'), "Good day")
    assert list(session.newest_items) == [Excerpt("user", "Hello"), Excerpt("assistant", "Good day")]


def test_a_history_that_comes_again_is_not_kept_again() -> None:
    ledger = Ledger()
    record(ledger, make_turn(b'{"model": "demo", "input": "Hello"}'), "Good day")
    history = b'{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}'
    turn = make_turn(b'{"model": "demo", "input": [%s, {"role": "user", "content": "Again"}]}' % history)
    session = record(ledger, turn, "Good day", known_items=2)
    assert [each.text for each in session.newest_items] == ["Hello", "Good day", "Again", "Good day"]


def test_memory_for_excerpts_is_bounded() -> None:
    ledger = Ledger()
    for _ in range(NEWEST_ITEMS_KEPT):
        record(ledger, make_turn(b'{"model": "demo", "input": "Hello"}'), "yes")
    [session] = ledger.sessions()
    assert len(session.newest_items) == NEWEST_ITEMS_KEPT


def test_a_turn_that_was_refused_has_said_nothing() -> None:
    session = Ledger().open_session("conversation", "http", "", 1.0)
    record_excerpts(session, TurnReport(turn=make_turn(b'{"model": "demo", "input": "Hello"}'), outcome="refused"))
    assert not session.newest_items


async def test_the_ledger_shows_turns_to_the_recorder_when_they_are_over() -> None:
    async with state_server() as server:
        recorded: list[TurnReport] = []
        came = asyncio.Event()

        def recorder(_: LiveSession, report: TurnReport) -> None:
            recorded.append(report)
            came.set()

        server.edge.ledger.record_content(recorder)
        await server.create("hi")
        await asyncio.wait_for(came.wait(), DEADLINE_S)
        [report] = recorded
        assert (report.outcome, [item.type for item in report.output]) == ("completed", ["message"])
