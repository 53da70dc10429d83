"""The real embedded model for tests: its file, fetched once, and turns on a target that runs it."""

import itertools
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import msgspec

from landline.dialects.dialect import Prompt
from landline.engine.catalog import CATALOGUE, DEFAULT_MODEL, ModelFile, pull, resolve_model
from landline.engine.settings import EngineSettings
from landline.session.lineage import Link, extend
from landline.upstream.embedded import EmbeddedTarget
from landline.wire.items import Item, encode_item
from landline.wire.model_events import (
    Failed,
    Finished,
    ModelEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)
from landline.wire.requests import CreateRequest, decode_create
from support.turns.reply import stream_of

_numbers = itertools.count(1)


@cache
def model_file() -> ModelFile:
    """The default model's file; the first call on a machine fetches it."""
    pull(CATALOGUE[DEFAULT_MODEL])
    return resolve_model()


@asynccontextmanager
async def embedded_target(**settings: Any) -> AsyncGenerator[EmbeddedTarget]:
    """A target with a model process of its own."""
    target = EmbeddedTarget("embedded", model_file(), EngineSettings(**settings))
    await target.open()
    try:
        yield target
    finally:
        await target.close()


class Heard(msgspec.Struct):
    """All that a turn said."""

    events: list[ModelEvent]
    history: Link | None
    first_s: float
    """Seconds to the first text or call."""

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def usage(self) -> UsageReported:
        [usage] = [event for event in self.events if isinstance(event, UsageReported)]
        return usage

    @property
    def end(self) -> Finished | Failed:
        last = self.events[-1]
        assert isinstance(last, Finished | Failed)
        return last

    @property
    def calls(self) -> list[tuple[ToolCallStarted, str]]:
        """Each call with its whole arguments or input."""
        started = [event for event in self.events if isinstance(event, ToolCallStarted)]
        deltas = [event for event in self.events if isinstance(event, ToolCallDelta)]
        return [(call, "".join(each.text for each in deltas if each.index == call.index)) for call in started]

    @property
    def tokens(self) -> int:
        return self.usage.input_tokens + self.usage.output_tokens

    def then(self, *items: Item) -> Link:
        """The history that continues this turn: its output, then these items."""
        output = [answer(self.text)] if self.text else []
        output += [called(call, arguments) for call, arguments in self.calls]
        history = extend(extend(self.history, output), items)
        assert history is not None
        return history


def prompt_of(history: Link | None, **settings: Any) -> Prompt:
    """A turn as the runner would ask for it."""
    request = decode_create(msgspec.json.encode(settings))
    assert isinstance(request, CreateRequest), request
    return Prompt(history=history, request=request, model="model", response_id=f"resp_{next(_numbers)}")


async def ask(target: EmbeddedTarget, history: Link | None, **settings: Any) -> Heard:
    """Runs one turn to its end."""
    began = time.monotonic()
    first_s = 0.0
    events: list[ModelEvent] = []
    async for batch in stream_of(target, prompt_of(history, **settings)):
        events += batch
        if not first_s and any(isinstance(event, TextDelta | ToolCallStarted) for event in batch):
            first_s = time.monotonic() - began
    return Heard(events, history, first_s)


def start(*items: Item) -> Link:
    """A new history."""
    history = extend(None, items)
    assert history is not None
    return history


def user(text: str) -> Item:
    return encode_item({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})


def answer(text: str) -> Item:
    return encode_item({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})


def called(call: ToolCallStarted, arguments: str) -> Item:
    kind, key = ("function_call", "arguments") if call.kind == "function" else ("custom_tool_call", "input")
    return encode_item({"type": kind, "call_id": call.call_id, "name": call.name, key: arguments})


def call_output(call_id: str, output: str) -> Item:
    return encode_item({"type": "function_call_output", "call_id": call_id, "output": output})


def function(name: str, properties: dict[str, Any], required: Sequence[str] | None = None) -> dict[str, Any]:
    """A function tool."""
    parameters = {"type": "object", "properties": properties, "required": list(required or properties)}
    return {"type": "function", "name": name, "description": f"The function {name}.", "parameters": parameters}
