"""Counting a prompt: the server's own counter in whatever form it has one, a prefill where it has none."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from landline.dialects.chat_completions import ChatCompletions
from landline.dialects.dialect import CountRequest, Prompt
from landline.upstream import HttpTarget, ScriptedTarget
from landline.upstream.counting import Counters
from landline.upstream.endpoint import TargetEndpoint
from landline.upstream.target import Traffic
from landline.wire.errors import ApiError
from landline.wire.requests import CreateRequest, decode_create
from support.conversations.chat import lineage, message

LLAMA, VLLM, CHAT = "/v1/chat/completions/input_tokens", "/tokenize", "/v1/chat/completions"
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}


def prompt(**fields: object) -> Prompt:
    request = decode_create(json.dumps(fields))
    assert isinstance(request, CreateRequest)
    return Prompt(history=lineage([[message("user", "hi")]]), request=request, model="m", response_id="resp_1")


@asynccontextmanager
async def target_with(
    answers: Mapping[str, tuple[int, str]], asked: list[tuple[str, Any, str | None]]
) -> AsyncGenerator[HttpTarget]:
    """A target whose server has these paths only."""

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.path, await request.json(), request.headers.get("Authorization")))
        status, body = answers.get(request.path, (404, "{}"))
        return web.Response(status=status, text=body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        target = HttpTarget(
            TargetEndpoint("fake", str(server.make_url("/v1")), api_key="sk-secret-0123456789"), ChatCompletions()
        )
        await target.open()
        try:
            yield target
        finally:
            await target.close()


def usage_stream(tokens: int) -> str:
    chunks = [
        {"choices": [{"delta": {"content": "a"}, "finish_reason": "length"}]},
        {"choices": [], "usage": {"prompt_tokens": tokens, "completion_tokens": 1}},
    ]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


async def test_llama_servers_counter_takes_the_request_as_it_stands() -> None:
    asked: list[tuple[str, Any, str | None]] = []
    async with target_with({LLAMA: (200, '{"input_tokens":32,"object":"response.input_tokens"}')}, asked) as target:
        assert await target.count_tokens(prompt(tools=[TOOL], instructions="Be brief."), Traffic()) == 32
    [(path, body, authorization)] = asked
    assert (path, authorization) == (LLAMA, "Bearer sk-secret-0123456789")
    assert [each["role"] for each in body["messages"]] == ["system", "user"]
    assert body["tools"]


async def test_vllms_tokenizer_gets_messages_and_tools_at_the_servers_root() -> None:
    asked: list[tuple[str, Any, str | None]] = []
    async with target_with({VLLM: (200, '{"count":33,"max_model_len":4096,"tokens":[1]}')}, asked) as target:
        assert await target.count_tokens(prompt(tools=[TOOL], temperature=0.5), Traffic()) == 33
        assert await target.count_tokens(prompt(), Traffic()) == 33
    assert [path for path, _, _ in asked] == [LLAMA, VLLM, VLLM]
    assert set(asked[1][1]) == {"model", "messages", "tools"}
    assert set(asked[2][1]) == {"model", "messages"}


@pytest.mark.parametrize(
    "answers",
    [{}, {LLAMA: (200, "<html>"), VLLM: (200, '{"tokens":[]}')}, {LLAMA: (400, "{}"), VLLM: (500, "{}")}],
    ids=["no counter", "other things at these paths", "counters that fail"],
)
async def test_without_a_counter_the_model_reads_the_prompt_and_writes_one_token(
    answers: dict[str, tuple[int, str]],
) -> None:
    asked: list[tuple[str, Any, str | None]] = []
    async with target_with({**answers, CHAT: (200, usage_stream(34))}, asked) as target:
        assert await target.count_tokens(prompt(max_output_tokens=500), Traffic()) == 34
    assert asked[-1][0] == CHAT
    assert asked[-1][1]["max_tokens"] == 1


async def test_missing_counter_is_not_asked_twice() -> None:
    asked: list[tuple[str, Any, str | None]] = []
    async with target_with({CHAT: (200, usage_stream(34))}, asked) as target:
        await target.count_tokens(prompt(), Traffic())
        asked.clear()
        await target.count_tokens(prompt(), Traffic())
    assert [path for path, _, _ in asked] == [CHAT]


@pytest.mark.parametrize(("status", "rest_s"), [(401, 60), (403, 60), (404, 600), (405, 600), (501, 600)])
async def test_a_counter_that_refused_is_asked_again_after_a_while(status: int, rest_s: float) -> None:
    statuses, asked, now = [status, 200], [], [5.0]

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=statuses[0], text="21")

    app = web.Application()
    app.router.add_post("/v1/count", answer)
    counters = Counters(clock=lambda: now[0])
    request = CountRequest(path="/count", body=b"{}", read_count=int)
    async with TestServer(app, host="127.0.0.1") as server, aiohttp.ClientSession() as session:
        base_url = str(server.make_url("/v1"))
        for wait_s, count, requests in ((0, None, 1), (rest_s - 1, None, 1), (1, 21, 2), (0, 21, 3)):
            now[0] += wait_s
            assert await counters.count(session, base_url, [request], {}) == count
            assert len(asked) == requests
            statuses[0] = 200


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_a_counter_that_failed_is_asked_again_at_once(status: int) -> None:
    asked: list[tuple[str, Any, str | None]] = []
    answers = {LLAMA: (status, "{}"), VLLM: (status, "{}"), CHAT: (200, usage_stream(34))}
    async with target_with(answers, asked) as target:
        for _ in range(2):
            await target.count_tokens(prompt(), Traffic())
    assert [path for path, _, _ in asked] == [LLAMA, VLLM, CHAT] * 2


async def test_nothing_is_made_up_where_nobody_counts() -> None:
    silent = 'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    async with target_with({CHAT: (200, silent)}, []) as target:
        refused = await target.count_tokens(prompt(), Traffic())
    assert isinstance(refused, ApiError)
    assert refused.code == "unsupported_parameter"


async def test_prompt_that_does_not_fit_is_refused_with_the_servers_numbers() -> None:
    overflow = json.dumps({"error": {"message": "This model's maximum context length is 10 tokens, got 12."}})
    async with target_with({CHAT: (400, overflow)}, []) as target:
        refused = await target.count_tokens(prompt(), Traffic())
    assert isinstance(refused, ApiError)
    assert refused.code == "context_length_exceeded"
    assert "10 tokens" in refused.message


async def test_transcript_counts_what_it_says_and_else_nothing(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    usage = {"type": "usage", "input_tokens": 7, "output_tokens": 1}
    path.write_text(json.dumps([[{"type": "text", "text": "a"}, usage]]))
    assert await ScriptedTarget("scripted", path).count_tokens(prompt(), Traffic()) == 7
    path.write_text(json.dumps([[{"type": "text", "text": "a"}]]))
    assert isinstance(await ScriptedTarget("scripted", path).count_tokens(prompt(), Traffic()), ApiError)


async def test_a_stale_connection_is_replaced_without_a_word() -> None:
    asked: list[bytes] = []
    body = b'{"input_tokens":32,"object":"response.input_tokens"}'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one request a connection; a second one on it is answered by closing."""
        for is_served in (True, False):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            asked.append(head.split()[1])
            await reader.readexactly(length)
            if is_served:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    target = HttpTarget(
        TargetEndpoint("fake", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"), ChatCompletions()
    )
    async with server:
        await target.open()
        assert [await target.count_tokens(prompt(), Traffic()) for _ in range(2)] == [32, 32]
        await target.close()
    assert asked == [LLAMA.encode()] * 3
