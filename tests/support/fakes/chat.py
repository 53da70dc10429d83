"""A strict, scripted chat-completions server: the model side of the end-to-end tests.

Each test opens a scenario and asks for its model name; the scenario holds the answers to give and records what came.
It runs in a thread with its own loop, so that tests of any kind (async, blocking, subprocesses) can use one server.

As a program: `python -m support.fakes.chat --port 9100 --script FILE` answers every model from one script, a JSON
list of steps, over and over.
"""

import argparse
import itertools
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from aiohttp import web

from support.fakes.scenario import Received, Scenario
from support.fakes.scripted_server import OutOfStepsError, ScriptedServer, take_step, write_stream
from support.scripts.chat import (
    Answer,
    Refused,
    Step,
    UnknownToolError,
    assistant_message,
    deltas,
    finish_reason,
    step_from_json,
)
from support.strict.chat import BrokenRequestError, check_request

CHARS_PER_TOKEN = 4
"""The fake's tokenizer: a token is so many characters of a message's JSON."""


class FakeChatServer:
    """The server in its thread; a context manager. `base_url` is what a target's configuration takes."""

    def __init__(self, port: int = 0) -> None:
        self._call_ids = (f"call_{number:08d}" for number in itertools.count(1))
        self._seen: list[list[str]] = []
        routes = [web.post("/v1/chat/completions", self._complete), web.get("/v1/models", self._list_models)]
        self._server = ScriptedServer(routes, port=port)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}/v1"

    def scenario(self, steps: Sequence[Step] | Callable[[Received], Step], *, model: str | None = None) -> Scenario:
        """Opens a scenario, under a new model name if none is given."""
        return self._server.scenario(steps, model)

    @property
    def default(self) -> Scenario | None:
        """Answers models that no scenario names."""
        return self._server.default

    @default.setter
    def default(self, scenario: Scenario | None) -> None:
        self._server.default = scenario

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.stop()

    async def _list_models(self, request: web.Request) -> web.Response:
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in self._server.models]
        return web.json_response({"object": "list", "data": data})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        scenario = self._server.find(body.get("model"))
        if scenario is None:
            return _error(404, f"no scenario for model {body.get('model')!r}", code="model_not_found")
        received, choose = take_step(scenario, body, request.headers)
        try:
            check_request(body)
            step = choose()
            if isinstance(step, Refused):
                return _error(step.status, step.message, type=step.type, code=step.code, headers=step.headers)
            received.reply = assistant_message(step, body, self._call_ids)
        except (BrokenRequestError, UnknownToolError, OutOfStepsError) as error:
            received.refused = str(error)
            return _error(400, str(error), type="invalid_request_error")
        return await self._answer(request, scenario, received, step)

    async def _answer(
        self, request: web.Request, scenario: Scenario, received: Received, step: Answer
    ) -> web.StreamResponse:
        head = {"id": "chatcmpl-1", "created": 0, "model": scenario.model}
        usage = step.usage or self._count(received)
        assert received.reply is not None
        if not received.body.get("stream"):
            choice = {"index": 0, "message": received.reply, "finish_reason": finish_reason(step), "logprobs": None}
            return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        head["object"] = "chat.completion.chunk"
        chunks: list[dict[str, Any]] = [
            {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
            for delta in deltas(step, received.reply)
        ]
        chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason(step)}]})
        if (received.body.get("stream_options") or {}).get("include_usage"):
            chunks.append({**head, "choices": [], "usage": usage})
        records = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
        return await write_stream(request, scenario, received, step, [*records, b"data: [DONE]\n\n"])

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


class OpensScenarios(Protocol):
    """A scripted server of any vendor's API."""

    def scenario(self, steps: Sequence[Step] | Callable[[Received], Step], *, model: str | None = None) -> Scenario: ...


class Script:
    """Opens scenarios on a shared server, each under a model name of its own."""

    def __init__(self, server: OpensScenarios) -> None:
        self._server = server

    def __call__(self, *steps: Step) -> Scenario:
        """The answers come in this order; a request too many is refused."""
        return self._server.scenario(steps)

    def choosing(self, choose: Callable[[Received], Step]) -> Scenario:
        """Each answer is chosen by its request: for turns that run at the same time."""
        return self._server.scenario(choose)


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
