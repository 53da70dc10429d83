"""A strict, scripted chat-completions server: the model side of the end-to-end tests.

Each test opens a scenario and asks for its model name; the scenario holds the answers to give and records what came.
It runs in a thread with its own loop, so that tests of any kind (async, blocking, subprocesses) can use one server.

As a program: `python tests/fake_chat_server.py --port 9100 --script FILE` answers every model from one script, a JSON
list of steps, over and over.
"""

import argparse
import asyncio
import itertools
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from chat_scenario import WAIT_S, Received, Scenario
from chat_script import (
    Answer,
    Refused,
    Step,
    UnknownToolError,
    assistant_message,
    deltas,
    finish_reason,
    step_from_json,
)
from strict_chat import BrokenRequestError, check_request

CHARS_PER_TOKEN = 4
"""The fake's tokenizer: a token is so many characters of a message's JSON."""


class FakeChatServer:
    """The server in its thread; a context manager. `base_url` is what a target's configuration takes."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.default: Scenario | None = None
        """Answers models that no scenario names."""
        self._scenarios: dict[str, Scenario] = {}
        self._model_numbers = itertools.count(1)
        self._call_ids = (f"call_{number:08d}" for number in itertools.count(1))
        self._seen: list[list[str]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready: Future[int] = Future()
        self._stopped = asyncio.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def scenario(self, steps: Sequence[Step] | Callable[[Received], Step], *, model: str | None = None) -> Scenario:
        """Opens a scenario, under a new model name if none is given."""
        name = model or f"scripted-{next(self._model_numbers)}"
        made = Scenario(name, steps, loop=self._loop)
        self._scenarios[name] = made
        return made

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._ready.result(WAIT_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(WAIT_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=256 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._list_models)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self._ready.set_result(runner.addresses[0][1])
        await self._stopped.wait()
        await runner.cleanup()

    async def _list_models(self, request: web.Request) -> web.Response:
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in self._scenarios]
        return web.json_response({"object": "list", "data": data})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        scenario = self._scenarios.get(body.get("model"), self.default)
        if scenario is None:
            return _error(404, f"no scenario for model {body.get('model')!r}", code="model_not_found")
        received = Received(body, {name.lower(): value for name, value in request.headers.items()})
        number = len(scenario.received)
        scenario.change(lambda: scenario.received.append(received))
        try:
            check_request(body)
            step = _choose(scenario, received, number)
            if isinstance(step, Refused):
                return _error(step.status, step.message, type=step.type, code=step.code, headers=step.headers)
            received.reply = assistant_message(step, body, self._call_ids)
        except (BrokenRequestError, UnknownToolError) as error:
            received.refused = str(error)
            return _error(400, str(error), type="invalid_request_error")
        try:
            return await self._answer(request, scenario, received, step)
        except (asyncio.CancelledError, ConnectionResetError):
            scenario.change(lambda: setattr(received, "was_aborted", True))
            raise

    async def _answer(
        self, request: web.Request, scenario: Scenario, received: Received, step: Answer
    ) -> web.StreamResponse:
        head = {"id": "chatcmpl-1", "created": 0, "model": scenario.model}
        usage = step.usage or self._count(received)
        if not received.body.get("stream"):
            choice = {"index": 0, "message": received.reply, "finish_reason": finish_reason(step), "logprobs": None}
            return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        head["object"] = "chat.completion.chunk"
        assert received.reply is not None
        chunks = [
            {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
            for delta in deltas(step, received.reply)
        ]
        chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason(step)}]})
        if (received.body.get("stream_options") or {}).get("include_usage"):
            chunks.append({**head, "choices": [], "usage": usage})
        for index, chunk in enumerate(chunks):
            if index == step.pause_after:
                await scenario.releases.acquire()
            if index == step.cut_after:
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    def _count(self, received: Received) -> dict[str, Any]:
        """Honest usage: the longest prefix of (tools, message, message …) that any request before this one had."""
        rendered = [json.dumps(received.body.get("tools"))] + [json.dumps(each) for each in received.messages]
        sizes = [-(-len(each) // CHARS_PER_TOKEN) for each in rendered]
        cached = max((_common_prefix(rendered, seen) for seen in self._seen), default=0)
        self._seen.append(rendered)
        written = -(-len(json.dumps(received.reply)) // CHARS_PER_TOKEN)
        return {
            "prompt_tokens": sum(sizes),
            "completion_tokens": written,
            "total_tokens": sum(sizes) + written,
            "prompt_tokens_details": {"cached_tokens": sum(sizes[:cached])},
        }


class Script:
    """Opens scenarios on a shared server, each under a model name of its own."""

    def __init__(self, server: FakeChatServer) -> None:
        self._server = server

    def __call__(self, *steps: Step) -> Scenario:
        """The answers come in this order; a request too many is refused."""
        return self._server.scenario(steps)

    def choosing(self, choose: Callable[[Received], Step]) -> Scenario:
        """Each answer is chosen by its request: for turns that run at the same time."""
        return self._server.scenario(choose)


def _choose(scenario: Scenario, received: Received, number: int) -> Step:
    if callable(scenario.steps):
        return scenario.steps(received)
    if number >= len(scenario.steps):
        raise BrokenRequestError(f"the script has {len(scenario.steps)} steps, this is request {number + 1}")
    return scenario.steps[number]


def _common_prefix(left: list[str], right: list[str]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))


def _error(
    status: int, message: str, *, type: str = "error", code: str | None = None, headers: dict[str, str] | None = None
) -> web.Response:
    detail = {"message": message, "type": type, "param": None, "code": code}
    return web.json_response({"error": detail}, status=status, headers=headers)


def main() -> None:
    parser = argparse.ArgumentParser(description="A scripted chat-completions server")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--script", type=Path, required=True, help="JSON list of steps, answered over and over")
    options = parser.parse_args()
    steps = itertools.cycle([step_from_json(each) for each in json.loads(options.script.read_text())])
    with FakeChatServer(options.port) as server:
        server.default = Scenario("*", lambda received: next(steps))
        print(f"listening on {server.base_url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
