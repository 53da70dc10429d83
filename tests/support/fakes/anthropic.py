"""A strict, scripted Messages API: the model side of end-to-end tests of that dialect.

Each test opens a scenario and asks for its model name; the scenario holds the answers to give and records what came. Broken
histories are refused as the API refuses them, thinking must come back signed and where it was, and the prompt cache is
read and written as breakpoints say.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from support.fakes.prompt_cache import CHARS_PER_TOKEN, PromptCache
from support.fakes.scenario import Received, Scenario
from support.fakes.scripted_server import OutOfStepsError, ScriptedServer, take_step, write_stream
from support.scripts.anthropic import Signer, assistant_content, events, stop_reason
from support.scripts.chat import Answer, Refused, Step, UnknownToolError
from support.strict.anthropic import check_request, without_marks
from support.strict.chat import BrokenRequestError

API_KEY = "test-anthropic-key"
_VERSIONS = ("2023-06-01", "2026-10-21")


class FakeAnthropicServer:
    """The server in its thread; a context manager. `base_url` is what a target's configuration takes."""

    def __init__(self) -> None:
        self._signer = Signer()
        self._cache = PromptCache()
        self._call_ids = (f"{number:08d}" for number in itertools.count(1))
        self._message_ids = (f"msg_{number:08d}" for number in itertools.count(1))
        routes = [
            web.post("/v1/messages", self._create),
            web.post("/v1/messages/count_tokens", self._count_tokens),
            web.get("/v1/models", self._list_models),
        ]
        self._server = ScriptedServer(routes, assert_continues, "claude-scripted-{}".format)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}/v1"

    def scenario(self, steps: Sequence[Step] | Callable[[Received], Step], *, model: str | None = None) -> Scenario:
        """Opens a scenario, under a new model name if none is given."""
        return self._server.scenario(steps, model)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.stop()

    async def _list_models(self, request: web.Request) -> web.Response:
        data = [{"type": "model", "id": name, "display_name": name} for name in self._server.models]
        return web.json_response({"data": data, "has_more": False, "first_id": None, "last_id": None})

    async def _create(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        scenario = self._server.find(body.get("model"))
        refused = _refuse_headers(request)
        if refused is not None:
            return _error(refused)
        if scenario is None:
            return _error(Refused(404, f"model: {body.get('model')}", "not_found_error"))
        received, choose = take_step(scenario, body, request.headers)
        try:
            check_request(body, _betas(request))
            self._check_thinking(body)
            if body["max_tokens"] == 0:
                received.usage = {**self._cache.count(body), "output_tokens": 0}
                return web.json_response(self._message(received, [], "max_tokens"))
            step = choose()
            if isinstance(step, Refused):
                return _error(step)
            content = assistant_content(step, body, self._signer, self._call_ids)
        except (BrokenRequestError, UnknownToolError, OutOfStepsError) as error:
            received.refused = str(error)
            return _error(Refused(400, str(error), "invalid_request_error"))
        received.reply = {"role": "assistant", "content": content}
        received.usage = step.usage or self._count(received)
        return await self._answer(request, scenario, received, step)

    async def _answer(
        self, request: web.Request, scenario: Scenario, received: Received, step: Answer
    ) -> web.StreamResponse:
        assert received.reply is not None
        message = self._message(received, received.reply["content"], stop_reason(step))
        if not received.body.get("stream"):
            return web.json_response(message)
        stream = (_record(event) for event in events(step, message, received.reply["content"]))
        return await write_stream(request, scenario, received, step, stream)

    def _message(self, received: Received, content: list[dict[str, Any]], reason: str) -> dict[str, Any]:
        return {
            "id": next(self._message_ids),
            "type": "message",
            "role": "assistant",
            "model": received.body["model"],
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": received.usage,
        }

    async def _count_tokens(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        refused = _refuse_headers(request)
        if refused is not None:
            return _error(refused)
        try:
            check_request(body, _betas(request), is_counted=True)
            self._check_thinking(body)
        except BrokenRequestError as error:
            return _error(Refused(400, str(error), "invalid_request_error"))
        return web.json_response({"input_tokens": sum(PromptCache().count(body).values())})

    def _check_thinking(self, body: dict[str, Any]) -> None:
        reason = self._signer.explain(body)
        if reason is not None:
            raise BrokenRequestError(reason)

    def _count(self, received: Received) -> dict[str, Any]:
        assert received.reply is not None
        content = received.reply["content"]
        thoughts = [block for block in content if block["type"] not in ("text", "tool_use")]
        written, thought = (-(-len(json.dumps(blocks)) // CHARS_PER_TOKEN) for blocks in (content, thoughts))
        details = {"thinking_tokens": thought if thoughts else 0}
        return {**self._cache.count(received.body), "output_tokens": written, "output_tokens_details": details}


def assert_continues(earlier: Received, later: Received) -> None:
    """The later request repeats the earlier one unchanged, then its answer as it was given, then one message of results."""
    front = ("system", "tools")
    assert _front(later, front) == _front(earlier, front), "the prompt's front was changed"
    before, after = without_marks(earlier.messages), without_marks(later.messages)
    length = len(before)
    assert after[:length] == before, "the history of the turn before was changed"
    assert after[length] == earlier.reply
    assert len(after) == length + 2, "nothing new after the answer, or the answer was split or doubled"


def assert_reads_cache(earlier: Received, later: Received) -> None:
    """The later request read all that the earlier one had read or written, and nothing but its own news was written."""
    assert earlier.usage is not None
    assert later.usage is not None
    known = earlier.usage["cache_read_input_tokens"] + earlier.usage["cache_creation_input_tokens"]
    assert later.usage["cache_read_input_tokens"] == known
    assert earlier.usage["input_tokens"] == later.usage["input_tokens"] == 0


def _front(received: Received, names: Sequence[str]) -> Any:
    return without_marks([received.body.get(name) for name in names])


def _record(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _betas(request: web.Request) -> list[str]:
    return request.headers.get("anthropic-beta", "").split(",")


def _refuse_headers(request: web.Request) -> Refused | None:
    if request.headers.get("anthropic-version") not in _VERSIONS:
        return Refused(400, "anthropic-version: header is required", "invalid_request_error")
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if API_KEY not in (request.headers.get("x-api-key"), bearer):
        return Refused(401, "invalid x-api-key", "authentication_error")
    return None


def _error(refused: Refused) -> web.Response:
    error = {"type": refused.type, "message": refused.message}
    body = {"type": "error", "error": error, "request_id": "req_1"}
    return web.json_response(body, status=refused.status, headers=refused.headers)
