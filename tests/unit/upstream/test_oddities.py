"""What is odd in answers does them no harm, and is said once a target."""

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from landline.dialects.anthropic import Anthropic
from landline.dialects.chat_completions import ChatCompletions
from landline.dialects.dialect import Dialect, Prompt
from landline.dialects.gemini import Gemini
from landline.session.lineage import Link
from landline.upstream import HttpTarget
from landline.upstream.endpoint import TargetEndpoint
from landline.upstream.oddities import MAX_TOLD, OddityLog
from landline.wire.items import decode_item
from landline.wire.model_events import Finished, TextDelta
from landline.wire.requests import CreateRequest, decode_create
from support.turns.reply import stream_of

CHAT = [
    {"id": 7, "choices": [{"index": "0", "delta": {"content": "Fine.", "refusal": False}}]},
    {"choices": [{"index": 0, "delta": [], "finish_reason": "stop"}]},
]
ANTHROPIC = [
    {"type": "message_start", "message": {"id": 3, "role": "assistant", "content": [], "usage": {"input_tokens": "x"}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Fine."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": []}},
    {"type": "message_stop"},
]
GEMINI = [
    {"candidates": [{"content": {"parts": [{"text": "Fine.", "thought": "perhaps"}]}}], "usageMetadata": []},
    {"candidates": [{"finishReason": "STOP"}]},
]


@pytest.mark.parametrize(
    ("dialect", "records"),
    [(ChatCompletions(), CHAT), (Anthropic(), ANTHROPIC), (Gemini(), GEMINI)],
    ids=["chat", "anthropic", "gemini"],
)
async def test_odd_members_are_logged_once_and_the_answer_is_whole(dialect: Dialect, records: list[object]) -> None:
    async def answer(_: web.Request) -> web.Response:
        body = "".join(f"data: {json.dumps(record)}\n\n" for record in records)
        return web.Response(text=body, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    request = decode_create(b'{"model": "m", "input": "hi"}')
    assert isinstance(request, CreateRequest)
    history = Link(None, [decode_item(b'{"type": "message", "role": "user", "content": "hi"}')])
    async with TestServer(app, host="127.0.0.1") as server:
        target = HttpTarget(TargetEndpoint("gateway", str(server.make_url("/v1")), api_key="k"), dialect)
        await target.open()
        with capture_logs() as log:
            for _ in range(3):
                batches = [
                    batch async for batch in stream_of(target, Prompt(history=history, request=request, model="m"))
                ]
                events = [event for batch in batches for event in batch]
                assert "".join(each.text for each in events if isinstance(each, TextDelta)) == "Fine."
                assert isinstance(events[-1], Finished)
        await target.close()
    told = [what for line in log if line["event"] == "odd_answer" for what in line["what"]]
    assert told
    assert len(set(told)) == len(told)
    assert "Fine." not in str(told)


def test_a_target_that_is_never_twice_the_same_does_not_fill_the_log() -> None:
    odd = OddityLog("gateway")
    with capture_logs() as log:
        for number in range(2 * MAX_TOLD):
            odd.tell("resp_1", [f"member {number}"])
    assert sum(len(line["what"]) for line in log) == MAX_TOLD
