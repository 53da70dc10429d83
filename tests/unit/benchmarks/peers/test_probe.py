"""What the probe takes for right and for wrong, and the whole probe on servers whose faults are known."""

from typing import Any

import pytest
from aiohttp import web

from peers.adapters import Way
from peers.clients import Reply, Server, collect
from peers.probe import Finding, judge_call, judge_refusal, judge_text, probe, ways_to_time
from peers.probe_upstream import TOOL
from peers.running import probe_upstream

MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "heard: one"}]}
CALL = {"type": "function_call", "call_id": "c", "name": TOOL, "arguments": '{"word": "one"}'}


def _reply(*deltas: str, output: list[dict[str, Any]] | None = None, error: str = "") -> Reply:
    return Reply(deltas, {"id": "resp_1", "output": [MESSAGE] if output is None else output}, error)


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (_reply("heard: ", "one"), ""),
        (_reply("heard: one"), "the text came in one piece"),
        (_reply("heard: ", "two"), "expected the text 'heard: one', streamed was 'heard: two'"),
        (_reply("heard: ", "one", output=[]), "the completed response holds '' instead of 'heard: one'"),
        (_reply("heard: ", "one", error="500 no"), "500 no"),
    ],
)
def test_text_is_right_when_streamed_in_pieces_and_held_by_the_response(reply: Reply, fault: str) -> None:
    assert judge_text(reply, "heard: one") == fault


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (_reply(output=[CALL]), ""),
        (_reply(), "expected one tool call, the response holds 0"),
        (_reply(output=[CALL, CALL]), "expected one tool call, the response holds 2"),
        (_reply(output=[{**CALL, "arguments": "{}"}]), f"expected {TOOL} of 'one', called was {TOOL} with '{{}}'"),
        (_reply(error="no tools"), "no tools"),
    ],
)
def test_call_is_right_when_it_is_one_of_the_tool_with_the_word(reply: Reply, fault: str) -> None:
    assert judge_call(reply, "one") == fault


def test_refusal_is_right_when_there_is_an_error() -> None:
    assert judge_refusal(_reply(error="404")) == ""
    assert judge_refusal(_reply("heard: ", "two")) == "no error, but an answer: 'heard: two'"


@pytest.mark.parametrize(
    ("last", "error"),
    [
        ({"type": "response.completed", "response": {"id": "r"}}, ""),
        ({"type": "response.failed", "response": {"id": "r", "error": {"code": "x"}}}, '{"code": "x"}'),
        ({"type": "error", "error": {"message": "no\nthanks"}}, '{"message": "no\\nthanks"}'),
        ({"type": "error", "message": "flat"}, '{"type": "error", "message": "flat"}'),
        ({"type": "response.incomplete", "response": {}}, '{"type": "response.incomplete", "response": {}}'),
    ],
)
def test_reply_is_an_error_unless_the_turn_completed(last: dict[str, Any], error: str) -> None:
    reply = collect([{"type": "response.output_text.delta", "delta": "a"}, last])
    assert (list(reply.deltas), reply.error) == (["a"], error)


def test_reply_without_events_is_an_error() -> None:
    assert collect([]).error == "ended without a terminal event"


def test_ways_are_timed_unless_a_needed_case_failed() -> None:
    findings = [
        Finding(Way.SOCKET, "a", "", True),
        Finding(Way.SOCKET, "b", "wrong", False),
        Finding(Way.HTTP_FULL, "a", "wrong", True),
        Finding(Way.HTTP_FULL, "b", "", False),
    ]
    assert ways_to_time(findings) == [Way.SOCKET]
    assert ways_to_time([]) == []


async def test_server_that_does_what_it_claims_passes_every_case() -> None:
    # The upstream itself serves one way: Responses over HTTP with the full history. It gives a list, though, for any GET.
    with probe_upstream() as upstream:
        findings = await probe(Server(f"{upstream}/v1", {}, "scripted"), [Way.HTTP_FULL])
    assert {finding.case: finding.error for finding in findings if finding.error} == {
        "an unstored response cannot be had afterwards": "GET gives an unstored response"
    }
    assert len(findings) == 5


async def test_server_that_keeps_no_history_is_found_out() -> None:
    with probe_upstream() as upstream:
        findings = await probe(Server(f"{upstream}/v1", {}, "scripted"), [Way.HTTP_CHAINED])
    faults = {finding.case: finding.error for finding in findings}
    assert faults["a turn streams its text"] == ""
    assert "'heard: one | two', streamed was 'heard: two'" in faults["the model knows the history, once and in order"]
    assert faults["an unknown previous response is an error"] == "no error, but an answer: 'heard: one'"
    assert ways_to_time(findings) == []


async def test_server_without_sockets_fails_with_its_status() -> None:
    with probe_upstream() as upstream:
        findings = await probe(Server(f"{upstream}/v1", {}, "scripted"), [Way.SOCKET])
    assert all("200" in finding.error for finding in findings)


async def test_server_that_sends_nonsense_fails_and_raises_nothing() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text='data: {"type": "response.completed", "response": {"output": 7}}\n\n')

    application = web.Application()
    application.router.add_post("/v1/responses", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        findings = await probe(Server(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", {}, "m"), [Way.HTTP_FULL])
    finally:
        await runner.cleanup()
    assert all(finding.error for finding in findings)
