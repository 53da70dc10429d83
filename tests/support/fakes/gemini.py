"""A strict, scripted Gemini API: the model side of end-to-end tests of that dialect.

Broken histories are refused as the API refuses them, and what it signed must come back where it stood.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from support.fakes.scenario import Received, Scenario
from support.fakes.scripted_server import OutOfStepsError, ScriptedServer, take_step, write_stream
from support.oracles.gemini_sdk import in_camel_case
from support.scripts.chat import Refused, Step, UnknownToolError
from support.scripts.gemini import model_content, records
from support.strict.chat import BrokenRequestError
from support.strict.gemini import Signatures, check_request

API_KEY = "test-gemini-key"
_CHARS_PER_TOKEN = 4
"""The fake's tokenizer: a token is so many characters of a content's JSON."""
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


class FakeGeminiServer:
    """The server in its thread; a context manager. `base_url` is what a target's configuration takes."""

    def __init__(self) -> None:
        self._signatures = Signatures()
        self._call_ids = (f"call_{number}" for number in itertools.count(4162774))
        self._seen: list[list[str]] = []
        routes = [
            web.post("/v1beta/models/{model}:{method}", self._generate),
            web.get("/v1beta/models", self._list_models),
        ]
        self._server = ScriptedServer(routes, assert_continues, "gemini-3-scripted-{}".format)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}/v1beta"

    def scenario(self, steps: Sequence[Step] | Callable[[Received], Step], *, model: str | None = None) -> Scenario:
        """Opens a scenario, under a new name of a Gemini 3 model if none is given."""
        return self._server.scenario(steps, model)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.stop()

    async def _list_models(self, request: web.Request) -> web.Response:
        methods = ["generateContent", "countTokens"]
        listed = [{"name": f"models/{name}", "supportedGenerationMethods": methods} for name in self._server.models]
        return web.json_response({"models": listed})

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = in_camel_case(json.loads(await request.read()))
        model, method = request.match_info["model"], request.match_info["method"]
        if request.headers.get("x-goog-api-key") != API_KEY:
            return _error(Refused(400, "API key not valid. Please pass a valid API key.", code="API_KEY_INVALID"))
        if method == "countTokens":
            return self._count_tokens(body, model)
        scenario = self._server.find(model)
        if scenario is None:
            return _error(Refused(404, f"models/{model} is not found for API version v1beta."))
        received, choose = take_step(scenario, body, request.headers)
        try:
            check_request(body, model, self._signatures)
            step = choose()
            if isinstance(step, Refused):
                return _error(step)
            received.reply = model_content(step, body, self._call_ids, self._signatures)
        except (BrokenRequestError, UnknownToolError, OutOfStepsError) as error:
            received.refused = str(error)
            return _error(Refused(400, str(error)))
        received.usage = step.usage or self._count(received)
        made = records(step, received.reply, body, received.usage)
        if method == "generateContent":
            return web.json_response(_whole(made))
        assert request.query.get("alt") == "sse"
        stream = (b"data: " + json.dumps(record).encode() + b"\r\n\r\n" for record in made)
        return await write_stream(request, scenario, received, step, stream)

    def _count_tokens(self, body: dict[str, Any], model: str) -> web.Response:
        asked = body.get("generateContentRequest", {})
        try:
            if asked.get("model") != f"models/{model}":
                raise BrokenRequestError(f"generateContentRequest.model {asked.get('model')!r}")
            check_request(asked, model, self._signatures)
        except BrokenRequestError as error:
            return _error(Refused(400, str(error)))
        return web.json_response({"totalTokens": sum(_sizes(_rendered(asked)))})

    def _count(self, received: Received) -> dict[str, Any]:
        """Honest usage: the longest prefix of (instructions, tools, contents …) that any request before this one had."""
        rendered = _rendered(received.body)
        cached = max((_common_prefix(rendered, seen) for seen in self._seen), default=0)
        self._seen.append(rendered)
        sizes = _sizes(rendered)
        return {
            "promptTokenCount": sum(sizes),
            "cachedContentTokenCount": sum(sizes[:cached]),
            "candidatesTokenCount": -(-len(json.dumps(received.reply)) // _CHARS_PER_TOKEN),
            "thoughtsTokenCount": 16,
        }


def assert_continues(earlier: Received, later: Received) -> None:
    """The later request repeats the earlier one's contents unchanged, then its answer as it was signed, then what is new."""
    before, after = earlier.body["contents"], later.body["contents"]
    length = len(before)
    assert after[:length] == before, "the history of the turn before was changed"
    assert after[length] == earlier.reply
    assert len(after) == length + 2, "nothing new after the answer, or the answer was split or doubled"
    assert later.body.get("systemInstruction") == earlier.body.get("systemInstruction")


def _rendered(body: dict[str, Any]) -> list[str]:
    front = [json.dumps(body.get("systemInstruction")), json.dumps(body.get("tools"))]
    return front + [json.dumps(content) for content in body["contents"]]


def _sizes(rendered: list[str]) -> list[int]:
    return [-(-len(each) // _CHARS_PER_TOKEN) for each in rendered]


def _common_prefix(left: list[str], right: list[str]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))


def _whole(made: list[dict[str, Any]]) -> dict[str, Any]:
    """The streamed answer as one object."""
    parts = [part for record in made for part in record["candidates"][0]["content"]["parts"]]
    return {**made[-1], "candidates": [{**made[-1]["candidates"][0], "content": {"role": "model", "parts": parts}}]}


def _error(refused: Refused) -> web.Response:
    """A `google.rpc.Status`; a `retry-after` of the script goes into its details, where Google says it."""
    error = {"code": refused.status, "message": refused.message, "status": _STATUSES.get(refused.status, "INTERNAL")}
    details: list[dict[str, Any]] = []
    if refused.code is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": refused.code})
    if "retry-after" in refused.headers:
        delay = f"{refused.headers['retry-after']}s"
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    return web.json_response({"error": {**error, "details": details} if details else error}, status=refused.status)
