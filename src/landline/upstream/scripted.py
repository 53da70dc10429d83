"""A target that plays a transcript file instead of asking a model: for tests, demos and load.

The file is a list of turns, each a list of steps (docs/scripted.md tells the format):

    [{"type": "text", "text": "Let me look."}, {"type": "function_call", "name": "ls", "arguments": {"path": "."}}]
    [{"type": "delay", "ms": 50}, {"type": "text", "text": "Two files.", "deltas": 4}]

Which turn is played depends on the conversation alone: the one that follows as many turns of the model as its history
holds. So parallel sessions and forks each get their own place, and a turn that is asked again is the same again.
"""

import asyncio
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import assert_never

import msgspec

from landline.dialects.dialect import Prompt
from landline.lru_dict import LruDict
from landline.session.lineage import Link
from landline.upstream.script import (
    CustomToolCall,
    Cut,
    Delay,
    ErrorStep,
    Finish,
    FunctionCall,
    Reasoning,
    Refusal,
    Script,
    ScriptedTurn,
    Step,
    Text,
    TextDeltas,
    UsageStep,
    error_of,
    load_script,
)
from landline.upstream.target import KnownReply, Reply, Traffic
from landline.wire.errors import ApiError, api_error
from landline.wire.items import Item
from landline.wire.model_events import (
    Accepted,
    Failed,
    Finished,
    ModelEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    UsageReported,
)

PLACES_KEPT = 4096
"""Conversations whose failed attempts are counted; the oldest are forgotten."""

_MODEL_ITEMS = frozenset(("function_call", "custom_tool_call", "reasoning"))
_FOLD = "scripted"


class ScriptedTarget:
    """Plays one transcript to every conversation."""

    def __init__(self, name: str, transcript_path: Path) -> None:
        """Reads the transcript. Raises `ScriptError` if it is malformed."""
        self.name = name
        self._script: Script = load_script(transcript_path)
        self._attempts: LruDict[tuple[bytes, int], int] = LruDict(PLACES_KEPT)
        self._is_open = False

    @property
    def compacts(self) -> bool:
        return False

    async def open(self) -> None:
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False

    def is_ready(self) -> bool:
        return self._is_open

    async def count_tokens(self, prompt: Prompt, traffic: Traffic) -> int | ApiError:
        """What the next turn's `usage` step says: a transcript has no tokenizer, and nothing is made up."""
        turn = self._script.turn(model_turns(prompt.history))
        counts = [step.input_tokens for step in (turn.steps if turn is not None else ()) if isinstance(step, UsageStep)]
        if not counts:
            message = "This model plays a transcript, and its next turn has no `usage` step that says a count."
            return api_error("unsupported_parameter", message, param="model")
        return counts[-1]

    def ask(self, prompt: Prompt) -> Reply:
        """Plays the turn that comes next in the conversation."""
        if prompt.request.is_warm_up:
            return KnownReply(Accepted(), UsageReported(0, 0), Finished())
        number = model_turns(prompt.history)
        turn = self._script.turn(number)
        problem = _problem(turn, number, prompt.history)
        if turn is None or problem is not None:
            return KnownReply(Failed(problem or _over(number)))
        return _PlayedReply(self._steps_now(turn.steps, prompt.history), prompt.response_id)

    def _steps_now(self, steps: Sequence[Step], history: Link | None) -> list[Step]:
        """The steps without the failures that this conversation has already had often enough."""
        left: list[Step] = []
        for index, step in enumerate(steps):
            times = step.times if isinstance(step, ErrorStep | Cut) else None
            if times is not None and self._count_attempt(history, index) > times:
                continue
            left.append(step)
            if isinstance(step, ErrorStep | Cut | Finish):
                break
        return left

    def _count_attempt(self, history: Link | None, step_index: int) -> int:
        """How often a conversation of this content has come to this failure, this time included."""
        place = (history.digest if history is not None else b"", step_index)
        count = (self._attempts.get(place) or 0) + 1
        self._attempts.put(place, count)
        return count


class _TurnCount(msgspec.Struct, frozen=True):
    turns: int = 0
    is_models: bool = False
    """Whether the newest item is the model's."""


def model_turns(history: Link | None) -> int:
    """How often the model has spoken: the runs of its items that follow each other. O(new items)."""
    return history.folds(_FOLD, _count_turns)[-1].turns if history is not None else 0


def _count_turns(before: _TurnCount | None, items: Sequence[Item]) -> _TurnCount:
    count = before or _TurnCount()
    turns, is_models = count.turns, count.is_models
    for item in items:
        was_models, is_models = is_models, item.type in _MODEL_ITEMS or item.role == "assistant"
        turns += is_models and not was_models
    return _TurnCount(turns, is_models)


def _over(number: int) -> ApiError:
    return api_error("model_error", f"The transcript has no turn {number}.")


def _problem(turn: ScriptedTurn | None, number: int, history: Link | None) -> ApiError | None:
    """How the conversation differs from what the transcript expects."""
    expect = turn.expect if turn is not None else None
    if expect is None:
        return None
    newest = history.items[-1] if history is not None and history.items else None
    kind = newest.type if newest is not None else "none"
    if expect.last_item is not None and expect.last_item != kind:
        message = f"Turn {number} of the transcript expects the last item to be {expect.last_item!r}, not {kind!r}."
        return api_error("model_error", message)
    if expect.contains is not None and (newest is None or expect.contains not in _text_in(newest)):
        return api_error(
            "model_error", f"Turn {number} of the transcript expects {expect.contains!r} in the last item."
        )
    return None


def _text_in(item: Item) -> str:
    """The item's JSON with its characters unescaped, to search in."""
    return item.raw.decode() + msgspec.json.encode(msgspec.json.decode(item.raw)).decode()


class _PlayedReply:
    """The steps of one turn as they come due; a failure at their beginning is a refusal."""

    def __init__(self, steps: Sequence[Step], response_id: str) -> None:
        self.traffic = Traffic()
        self.has_more = False
        self._response_id = response_id
        self._batches = self._play(steps)
        """Batches, and silences between them."""
        self._due_at: float | None = None
        """When the silence that runs is over."""
        first = next((step for step in steps if not isinstance(step, Delay)), None)
        self._is_refusal = isinstance(first, ErrorStep)

    async def open(self) -> list[ModelEvent]:
        return await self.read() if self._is_refusal else [Accepted()]

    async def read(self) -> list[ModelEvent]:
        loop = asyncio.get_running_loop()
        while True:
            if self._due_at is not None:
                await asyncio.sleep(max(0.0, self._due_at - loop.time()))
                self._due_at = None
            step = next(self._batches, None)
            if not isinstance(step, Delay):
                return step or []
            self._due_at = loop.time() + step.ms / 1000

    async def close(self) -> None:
        self._batches.close()

    def _play(self, steps: Sequence[Step]) -> Generator[list[ModelEvent] | Delay]:
        """The last batch has the ending."""
        calls = 0
        for step in steps:
            match step:
                case Delay():
                    yield step
                case Text(text, deltas):
                    yield from _deltas(TextDelta, _cut(text, deltas))
                case TextDeltas(count, text, batch):
                    delta: list[ModelEvent] = [TextDelta(text)]
                    for start in range(0, count, batch):
                        yield delta * min(batch, count - start)
                case Reasoning(text, deltas):
                    yield from _deltas(ReasoningDelta, _cut(text, deltas))
                case Refusal(text, deltas):
                    yield from _deltas(RefusalDelta, _cut(text, deltas))
                case FunctionCall() | CustomToolCall():
                    yield _call_events(step, calls, self._response_id)
                    calls += 1
                case UsageStep(input_tokens, output_tokens, cached_tokens, reasoning_tokens):
                    yield [UsageReported(input_tokens, output_tokens, cached_tokens, reasoning_tokens)]
                case ErrorStep() | Cut() | Finish():
                    yield [_ending_of(step)]
                    return
                case _:
                    assert_never(step)
        yield [Finished()]


def _deltas(kind: type[TextDelta | ReasoningDelta | RefusalDelta], pieces: Iterable[str]) -> Iterator[list[ModelEvent]]:
    """Each piece as a batch of its own."""
    for piece in pieces:
        yield [kind(piece)]


def _ending_of(step: ErrorStep | Cut | Finish) -> ModelEvent:
    match step:
        case ErrorStep():
            return Failed(error_of(step))
        case Cut():
            return Failed(api_error("upstream_error", "The transcript cuts the answer here."))
        case Finish(incomplete_reason):
            return Finished(incomplete_reason)
        case _:
            assert_never(step)


def _call_events(step: FunctionCall | CustomToolCall, index: int, response_id: str) -> list[ModelEvent]:
    call_id = step.call_id or f"call_{response_id.removeprefix('resp_')[:48]}_{index}"
    if isinstance(step, CustomToolCall):
        kind, text = "custom", step.input
    else:
        kind, text = "function", _arguments_of(step.arguments)
    events: list[ModelEvent] = [ToolCallStarted(index, call_id, step.name, kind, step.namespace)]
    events += [ToolCallDelta(index, piece) for piece in _cut(text, step.deltas)]
    return [*events, ToolCallEnded(index)]


def _arguments_of(arguments: msgspec.Raw) -> str:
    text = bytes(arguments)
    return msgspec.json.decode(text, type=str) if text[:1] == b'"' else text.decode()


def _cut(text: str, count: int) -> list[str]:
    """The text in at most `count` pieces of one size."""
    size = max(1, -(-len(text) // count))
    return [text[start : start + size] for start in range(0, len(text), size)]
