"""Answers of Gemini, fed in every split."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects.dialect import Prompt
from landline.dialects.gemini import Gemini
from landline.wire.model_events import (
    Accepted,
    Failed,
    Finished,
    ModelEvent,
    ReasoningSigned,
    ReasoningSummaryDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)
from landline.wire.requests import CreateRequest
from support.conversations.transcripts import assert_events, case_names, play, read_case, splits
from support.oracles.gemini_sdk import read_by_sdk

DIALECT = "gemini"
CASES = case_names(DIALECT)


def is_failed(name: str) -> bool:
    case, _ = read_case(DIALECT, name)
    return b'"failed"' in bytes(case.events[-1])


@pytest.mark.parametrize("name", CASES)
def test_an_answer_becomes_its_events(name: str) -> None:
    case, body = read_case(DIALECT, name)
    assert_events(play(Gemini(), case, [body]), case.events)


@pytest.mark.parametrize("name", CASES)
def test_an_answer_that_comes_byte_by_byte_is_the_same(name: str) -> None:
    case, body = read_case(DIALECT, name)
    assert_events(play(Gemini(), case, [body[i : i + 1] for i in range(len(body))]), case.events)


@given(data=st.data(), name=st.sampled_from(CASES))
def test_any_split_gives_the_same_events(data: st.DataObject, name: str) -> None:
    case, body = read_case(DIALECT, name)
    assert play(Gemini(), case, data.draw(splits(body))) == play(Gemini(), case, [body])


@pytest.mark.parametrize("name", CASES)
def test_every_answer_has_exactly_one_ending_and_it_is_last(name: str) -> None:
    case, body = read_case(DIALECT, name)
    events = play(Gemini(), case, [body])
    assert [event for event in events if isinstance(event, Finished | Failed)] == events[-1:]
    assert not any(isinstance(event, Accepted) for event in events)


@pytest.mark.parametrize("name", CASES)
def test_call_ids_are_given_and_unique_within_an_answer(name: str) -> None:
    case, body = read_case(DIALECT, name)
    call_ids = [event.call_id for event in play(Gemini(), case, [body]) if isinstance(event, ToolCallStarted)]
    assert all(call_ids)
    assert len(set(call_ids)) == len(call_ids)


@pytest.mark.parametrize("name", CASES)
def test_nothing_signed_comes_between_two_deltas_of_one_text(name: str) -> None:
    """It would end the message."""
    case, body = read_case(DIALECT, name)
    kinds = [type(event) for event in play(Gemini(), case, [body])]
    between = zip(kinds, kinds[1:], kinds[2:], strict=False)
    assert (TextDelta, ReasoningSigned, TextDelta) not in between


def test_nothing_comes_after_the_end() -> None:
    _, body = read_case(DIALECT, "error-record")
    decoder = Gemini().open_decoder(Prompt(history=None, request=CreateRequest(), model="gemini-3.8-flash"))
    assert isinstance(decoder.feed(body)[-1], Failed)
    assert decoder.feed(body) == []
    assert decoder.end() == []


def test_blocks_name_the_model_that_signed_them() -> None:
    case, body = read_case(DIALECT, "call-signed")
    case.model = "gemini-4-argon"
    signed = play(Gemini(), case, [body])[0]
    assert isinstance(signed, ReasoningSigned)
    assert signed.by == "gemini"
    assert msgspec.json.decode(signed.block)["model"] == "gemini-4-argon"


NOT_GOOGLES = frozenset(("partial-arguments", "partial-arguments-cut"))
"""Calls in pieces, which Google's client gives as they come."""
WHOLE = [name for name in CASES if name not in NOT_GOOGLES and not name.startswith("gateway-") and not is_failed(name)]
"""What only gateways do, Google's client does not know."""


@pytest.mark.filterwarnings("ignore:NEW_REASON")
@pytest.mark.parametrize("name", WHOLE)
def test_googles_own_client_reads_the_same(name: str) -> None:
    case, body = read_case(DIALECT, name)
    events = play(Gemini(), case, [body])
    responses = read_by_sdk(body if body.lstrip()[:1] not in (b"{", b"[") else _as_stream(body))
    contents = [response.candidates[0].content for response in responses if response.candidates]
    parts = [part for content in contents if content is not None for part in content.parts or ()]
    thoughts = "".join(part.text or "" for part in parts if part.thought)
    assert _joined(events, TextDelta) == "".join(part.text or "" for part in parts if not part.thought)
    assert _joined(events, ReasoningSummaryDelta) == thoughts
    calls = [part.function_call.args or {} for part in parts if part.function_call is not None]
    assert len([event for event in events if isinstance(event, ToolCallStarted)]) == len(calls)
    said = {event.index: event.text for event in events if isinstance(event, ToolCallDelta)}
    assert all(said[index] in (call.get("input"), _compact(call)) for index, call in enumerate(calls))
    signed = [msgspec.json.decode(event.block)["signature"] for event in events if isinstance(event, ReasoningSigned)]
    signatures = [part.thought_signature for part in parts if part.thought_signature is not None]
    assert sorted(base64.b64decode(each) for each in signed) == sorted(signatures)
    reported = [event for event in events if isinstance(event, UsageReported)]
    counted = [response.usage_metadata for response in responses if response.usage_metadata is not None]
    if reported:
        assert reported[0].cached_tokens == (counted[-1].cached_content_token_count or 0)
        assert reported[0].input_tokens + reported[0].output_tokens == counted[-1].total_token_count


def _as_stream(body: bytes) -> bytes:
    read: Any = json.loads(body)
    return b"".join(
        b"data: " + json.dumps(each).encode() + b"\n\n" for each in (read if isinstance(read, list) else [read])
    )


def _joined(events: Sequence[ModelEvent], kind: type[TextDelta | ReasoningSummaryDelta]) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def test_bytes_that_are_no_utf8_become_characters() -> None:
    part = b'{"functionCall":{"name":"f","args":{"a":"\xff"}}}'
    record = b'data: {"candidates":[{"content":{"parts":[' + part + b']},"finishReason":"STOP"}]}\r\n\r\n'
    decoder = Gemini().open_decoder(Prompt(history=None, request=CreateRequest(), model="gemini-3.8-flash"))
    said = [event.text for event in decoder.feed(record) if isinstance(event, ToolCallDelta)]
    assert said == ['{"a":"\ufffd"}']
