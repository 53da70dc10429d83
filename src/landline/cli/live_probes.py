"""What `landline check --live` asks of a target, and what each answer means. Built on the target's port: no server is needed."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Literal

import msgspec

from landline.dialects.dialect import Prompt
from landline.server.ids import new_id
from landline.session.composer import Composer
from landline.session.lineage import Link, extend
from landline.session.turn import Turn, TurnEnded
from landline.upstream.target import Target, Traffic, batches_of
from landline.upstream.websocket import ResponsesSocketTarget, SentTurns
from landline.wire.errors import ApiError, api_error
from landline.wire.items import Item, decode_item
from landline.wire.model_events import (
    ModelEvent,
    ReasoningDelta,
    ReasoningSummaryDelta,
    RefusalDelta,
    Relayed,
    TextDelta,
)
from landline.wire.requests import decode_create
from landline.wire.responses import Usage

Check = Literal["answers", "streams", "usage", "tool call", "cache", "socket", "token count"]
CHECKS: tuple[Check, ...] = ("answers", "streams", "usage", "tool call", "cache", "socket", "token count")
"""In the order in which they are shown."""
Mark = Literal["yes", "no", "lacks"]

_ANSWER_TOKENS = 256
_TOOL_TOKENS = 1024
"""A model that thinks before it calls needs room for both."""
_PREFIX_LINES = 90
"""Some 1,500 tokens: OpenAI, Anthropic's larger models and Gemini's small ones cache from 1,024, others from up to 4,096."""
_TOOL: dict[str, object] = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class CheckResult(msgspec.Struct, frozen=True):
    """What one check found: it works, it does not, or the target has no such thing (which is nobody's fault)."""

    mark: Mark
    reason: str = ""
    """Why it is not there or does not work; or what to know of it although it does."""
    figure: str = ""
    """What was measured, in a few characters."""


class ProbedTurn(msgspec.Struct, frozen=True, eq=False):
    """One turn at a target, as a client would have got it."""

    ended: TurnEnded
    deltas: int
    """Pieces in which text or reasoning came."""
    first_s: float | None
    """Seconds to the first of them."""

    @property
    def error(self) -> ApiError | None:
        return self.ended.error

    @property
    def usage(self) -> Usage | None:
        return self.ended.response.usage

    @property
    def calls(self) -> list[Item]:
        return [item for item in self.ended.output if item.type == "function_call"]


class Prober:
    """Asks one target for one model; every turn has the deadline."""

    def __init__(self, target: Target, model: str, *, timeout_s: float) -> None:
        self._target = target
        self._model = model
        self._timeout_s = timeout_s
        self._line_id = new_id("line")

    async def run(self) -> AsyncGenerator[tuple[Check, CheckResult], None]:
        """The results as they are found. If the target does not answer at all, that is the only one."""
        answer = await self.ask(None, [_user("Count from one to twelve in words.")], max_output_tokens=_ANSWER_TOKENS)
        yield "answers", _judge_answer(answer)
        if answer.error is not None:
            return
        yield "streams", _judge_stream(answer)
        yield "usage", _judge_usage(answer.usage)
        yield "tool call", await self._call_a_tool()
        yield "cache", await self._read_a_prefix_twice()
        if isinstance(self._target, ResponsesSocketTarget):
            yield "socket", _judge_socket(self._target.sent)
        yield "token count", await self._count()

    async def ask(self, history: Link | None, items: Sequence[Item], **settings: object) -> ProbedTurn:
        """One turn that follows the history."""
        turn = self._turn(extend(history, items), settings)
        composer = Composer(turn, model=self._model, new_id=new_id)
        started_s = time.monotonic()
        first_s: float | None = None
        deltas = 0
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                aclosing(batches_of(self._target.ask(self._prompt(turn)))) as batches,
            ):
                async for batch in batches:
                    if not composer.is_announced:
                        composer.open(batch)
                    composer.feed(batch)
                    pieces = sum(map(_is_delta, batch))
                    deltas += pieces
                    if pieces and first_s is None:
                        first_s = time.monotonic() - started_s
        except TimeoutError:
            composer.fail(api_error("upstream_error", f"no end within {self._timeout_s:g} s"))
        return ProbedTurn(composer.close(time.time()), deltas, first_s)

    async def _call_a_tool(self) -> CheckResult:
        """A call, and the answer to its output. Not every server knows `required`; then the model is left to choose."""
        question = _user("What is the weather in Oslo? Call `get_weather` to find out.")
        settings: dict[str, object] = {"tools": [_TOOL], "max_output_tokens": _TOOL_TOKENS}
        called = await self.ask(None, [question], tool_choice="required", **settings)
        is_forced = called.error is None and bool(called.calls)
        if not is_forced:
            refusal = called.error
            called = await self.ask(None, [question], **settings)
            if called.error is not None:
                return CheckResult("no", _explain(refusal or called.error))
            if not called.calls:
                return CheckResult("lacks", "the model was offered a tool and made no call")
        wrong = _wrong_arguments(called.calls[0])
        if wrong is not None:
            return CheckResult("no", wrong)
        outputs = [_output(call) for call in called.calls]
        answered = await self.ask(called.ended.history, outputs, **settings)
        if answered.error is not None:
            return CheckResult("no", f"the call came, but its output was refused: {_explain(answered.error)}")
        return CheckResult("yes", "" if is_forced else "only where the model chooses to; `required` is not obeyed")

    async def _read_a_prefix_twice(self) -> CheckResult:
        """Two turns of one conversation whose beginning is long enough to be cached."""
        settings: dict[str, object] = {"instructions": _long_text(), "max_output_tokens": _ANSWER_TOKENS}
        first = await self.ask(None, [_user("Which colour has entry 7? One word.")], **settings)
        if first.error is not None:
            return CheckResult("no", f"a prompt of some 1,500 tokens: {_explain(first.error)}")
        second = await self.ask(first.ended.history, [_user("And entry 8?")], **settings)
        if second.error is not None:
            return CheckResult("no", f"the conversation was not continued: {_explain(second.error)}")
        if second.usage is None:
            return CheckResult("lacks", "no usage is reported, so what was cached is not known")
        cached, total = second.usage.input_tokens_details.cached_tokens, second.usage.input_tokens
        if not cached:
            return CheckResult("lacks", f"none of the second turn's {total:,} tokens were reported as cached")
        return CheckResult("yes", figure=f"{cached:,} of {total:,}")

    async def _count(self) -> CheckResult:
        turn = self._turn(Link(None, [_user("How many tokens is this?")]), {})
        try:
            async with asyncio.timeout(self._timeout_s):
                count = await self._target.count_tokens(self._prompt(turn), Traffic())
        except TimeoutError:
            return CheckResult("no", f"no count within {self._timeout_s:g} s")
        if isinstance(count, ApiError):
            return CheckResult("lacks", _explain(count))
        return CheckResult("yes", figure=f"{count:,}")

    def _turn(self, history: Link | None, settings: Mapping[str, object]) -> Turn:
        body = json.dumps({"model": self._model, "store": False, **settings})
        request = decode_create(body)
        assert not isinstance(request, ApiError), request
        return Turn(response_id=new_id("resp"), request=request, history=history, created_at=time.time(), body=body)

    def _prompt(self, turn: Turn) -> Prompt:
        return Prompt(
            history=turn.history,
            request=turn.request,
            model=self._model,
            response_id=turn.response_id,
            affinity_key=self._line_id,
            line_id=self._line_id,
            body=turn.body,
        )


def _judge_answer(answer: ProbedTurn) -> CheckResult:
    if answer.error is not None:
        return CheckResult("no", _explain(answer.error))
    return CheckResult("yes", figure="" if answer.first_s is None else f"{answer.first_s:.1f} s")


def _judge_stream(answer: ProbedTurn) -> CheckResult:
    if answer.deltas > 1:
        return CheckResult("yes")
    return CheckResult("lacks", "the answer came in one piece" if answer.deltas else "the answer had no text")


def _judge_usage(usage: Usage | None) -> CheckResult:
    if usage is None or not usage.input_tokens:
        return CheckResult("lacks", "no token counts come with the answer")
    return CheckResult("yes", figure=f"{usage.input_tokens:,} in, {usage.output_tokens:,} out")


def _judge_socket(sent: SentTurns) -> CheckResult:
    if sent.over_http:
        return CheckResult("no", "no socket was to be had; turns go over HTTP")
    if not sent.deltas:
        return CheckResult("lacks", "every turn was sent in full: the socket had lost the conversation")
    return CheckResult("yes", figure="deltas")


def _explain(error: ApiError) -> str:
    return f"{error.message} ({error.code})"


def _wrong_arguments(call: Item) -> str | None:
    arguments = msgspec.json.decode(call.raw, type=_ProbedCall).arguments
    try:
        msgspec.json.decode(arguments, type=_Arguments)
    except msgspec.DecodeError:
        return f"the call's arguments do not fit its parameters: {arguments[:80]!r}"
    return None


class _ProbedCall(msgspec.Struct):
    call_id: str
    arguments: str = ""


class _Arguments(msgspec.Struct):
    city: str


def _output(call: Item) -> Item:
    call_id = msgspec.json.decode(call.raw, type=_ProbedCall).call_id
    return _item({"type": "function_call_output", "call_id": call_id, "output": '{"sky": "clear", "celsius": 4}'})


def _user(text: str) -> Item:
    return _item({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})


def _item(value: Mapping[str, object]) -> Item:
    return decode_item(json.dumps(value).encode())


def _long_text() -> str:
    colours = ("red", "green", "blue", "yellow", "white", "black", "brown")
    lines = [
        f"Entry {n}: a box that is {colours[n % len(colours)]} and weighs {n * 3} kg." for n in range(_PREFIX_LINES)
    ]
    return "You answer questions about this list.\n" + "\n".join(lines)


def _is_delta(event: ModelEvent) -> bool:
    match event:
        case TextDelta() | ReasoningDelta() | ReasoningSummaryDelta() | RefusalDelta():
            return True
        case Relayed(kind):
            return kind.endswith(".delta")
        case _:
            return False
