"""Whatever a model says: every event and response fits the Open Responses schema, and the server's own."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from landline.server.openapi import make_document
from landline.server.openapi.schemas import EVENTS, tag_of
from landline.session.composer import Composer, EventNames
from landline.session.turn import Turn
from landline.wire.errors import ERROR_RULES, api_error
from landline.wire.events import ErrorFrame, ServerEvent, encode_event
from landline.wire.items import encode_item
from landline.wire.model_events import (
    Accepted,
    Compacted,
    CompactionStarted,
    Failed,
    Finished,
    LogprobEntry,
    ModelEvent,
    ReasoningDelta,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    UsageReported,
)
from landline.wire.requests import CreateRequest, decode_create
from support.oracles.openresponses_schema import validate_event, validate_response, validate_stream

BEYOND_OPEN_RESPONSES = ("response.custom_tool_call_input.delta", "response.custom_tool_call_input.done", "keepalive")
"""Events that the schema has no name for; a custom tool's call cannot be told without the first two."""

COMPONENTS = make_document()["components"]
OWN = {
    tag_of(event): Draft202012Validator({"components": COMPONENTS, "$ref": f"#/components/schemas/{event.__name__}"})
    for event in EVENTS
    if event is not ErrorFrame
}

_TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
_NUMBERS = st.integers(0, 2**31)
_LOGPROB = st.builds(
    LogprobEntry,
    token=_TEXT,
    logprob=st.floats(-100, 0),
    bytes=st.lists(st.integers(0, 255), max_size=2),
    top_logprobs=st.lists(
        st.builds(
            TokenLogprob, token=_TEXT, logprob=st.floats(-100, 0), bytes=st.lists(st.integers(0, 255), max_size=2)
        ),
        max_size=1,
    ),
)
_SAYINGS: st.SearchStrategy[list[ModelEvent]] = st.one_of(
    st.builds(TextDelta, text=_TEXT, logprobs=st.none() | st.lists(_LOGPROB, max_size=2)),
    st.builds(ReasoningDelta, text=_TEXT),
    st.builds(ReasoningSummaryDelta, text=_TEXT),
    st.builds(RefusalDelta, text=_TEXT),
    st.builds(UsageReported, *[_NUMBERS] * 5),
    st.just(Accepted()),
).map(lambda event: [event])
_NAMES = st.from_regex(r"\A[A-Za-z0-9_-]{1,8}\Z")
_END = st.builds(Finished, st.sampled_from([None, "max_output_tokens", "content_filter"])) | st.builds(
    lambda code: Failed(api_error(code, "It broke.")), st.sampled_from(sorted(ERROR_RULES))
)


@st.composite
def answers(draw: st.DrawFn) -> list[ModelEvent]:
    """What a model says in one turn, calls within calls and a compaction included."""
    events: list[ModelEvent] = []
    open_calls: list[int] = []
    indexes = itertools.count()
    if draw(st.booleans()):
        kept = encode_item({"type": "message", "role": "user", "content": "kept"})
        events += [CompactionStarted(), Compacted("sealed", (kept,), frozenset())]
    for _ in range(draw(st.integers(0, 6))):
        step = draw(st.sampled_from(("say", "call", "argue", "end")))
        if step == "call":
            open_calls.append(next(indexes))
            kind, namespace = draw(st.sampled_from(("function", "custom"))), draw(st.none() | _NAMES)
            events.append(ToolCallStarted(open_calls[-1], f"call_{open_calls[-1]}", draw(_NAMES), kind, namespace))
        elif step == "argue" and open_calls:
            events.append(ToolCallDelta(draw(st.sampled_from(open_calls)), draw(_TEXT)))
        elif step == "end" and open_calls:
            events.append(ToolCallEnded(open_calls.pop(draw(st.integers(0, len(open_calls) - 1)))))
        elif not open_calls:
            events += draw(_SAYINGS)
    return [*events, draw(_END)]


REQUESTS: list[dict[str, Any]] = [
    {},
    {"temperature": 0, "top_p": 0.5, "presence_penalty": -2, "frequency_penalty": 2, "top_logprobs": 20},
    {"instructions": "Be brief.", "max_output_tokens": 16, "max_tool_calls": 1, "parallel_tool_calls": False},
    {"reasoning": {"effort": "high", "summary": "auto"}, "truncation": "auto", "service_tier": "flex", "user": "u"},
    {"text": {"format": {"type": "json_object"}, "verbosity": "low"}, "metadata": {"a": "b"}, "store": False},
    {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}}, "safety_identifier": "s"},
    {"tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "function", "name": "f"}},
    {
        "tools": [{"type": "function", "name": "f", "parameters": {}}, {"type": "custom", "name": "c"}],
        "tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}]},
    },
    {"previous_response_id": "resp_0", "prompt_cache_key": "k", "prompt_cache_options": {"mode": "implicit"}},
    {"background": True, "conversation": "conv_1"},
]


def compose(said: list[ModelEvent], fields: dict[str, Any], names: EventNames, cut: int) -> list[dict[str, Any]]:
    """The events of a turn whose model events came in two batches, with a silence between."""
    request = decode_create(json.dumps({"model": "m", "input": "hi"} | fields))
    assert isinstance(request, CreateRequest)
    ids = itertools.count()
    turn = Turn(
        response_id="resp_1", request=request, history=None, created_at=1.5, conversation_id=fields.get("conversation")
    )
    composer = Composer(turn, model="m", new_id=lambda prefix: f"{prefix}_{next(ids)}", event_names=names)
    events: list[ServerEvent] = composer.open_queued() + composer.begin() if request.background else composer.open()
    events += composer.feed(said[:cut])
    if not composer.is_over:
        events += [composer.keepalive(), *composer.feed(said[cut:])]
    events += composer.close(2.5).events
    return [json.loads(encode_event(event)) for event in events]


@given(answers(), st.sampled_from(REQUESTS), st.integers(0, 5))
@settings(max_examples=100)
def test_every_event_and_response_fits_the_open_responses_schema(
    said: list[ModelEvent], fields: dict[str, Any], cut: int
) -> None:
    events = compose(said, fields, "open_responses", cut)
    for event in events:
        if event["type"] not in BEYOND_OPEN_RESPONSES:
            validate_event(event)
    if not any(event["type"] in BEYOND_OPEN_RESPONSES for event in events):
        validate_stream(events)
    validate_response(events[-1]["response"])


@pytest.mark.parametrize("names", ["openai", "open_responses"])
@given(said=answers(), fields=st.sampled_from(REQUESTS), cut=st.integers(0, 5))
@settings(max_examples=50)
def test_every_event_fits_the_servers_own_document(
    names: EventNames, said: list[ModelEvent], fields: dict[str, Any], cut: int
) -> None:
    for event in compose(said, fields, names, cut):
        OWN[event["type"]].validate(event)
