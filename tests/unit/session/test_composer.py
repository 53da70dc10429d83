"""The composer: events in the published order, numbered without gaps, ending in exactly one terminal event."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.session.composer import Composer
from landline.session.turn import Turn, TurnEnded
from landline.wire.errors import api_error
from landline.wire.events import encode_event
from landline.wire.items import UNSIGNED, Signed, decode_item
from landline.wire.model_events import (
    Accepted,
    Compacted,
    CompactionStarted,
    Failed,
    Finished,
    LogprobEntry,
    ModelEvent,
    ReasoningDelta,
    ReasoningSigned,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    UsageReported,
)
from landline.wire.requests import CreateRequest, decode_create
from landline.wire.responses import Sampling

TERMINAL = ("response.completed", "response.incomplete", "response.failed")


def composer(event_names: Any = "openai", **fields: object) -> Composer:
    request = decode_create(json.dumps({"model": "m", "input": "hi"} | fields))
    assert isinstance(request, CreateRequest)
    ids = itertools.count()
    turn = Turn(response_id="resp_1", request=request, history=None, created_at=1.5)
    return Composer(turn, model="m", new_id=lambda prefix: f"{prefix}_{next(ids)}", event_names=event_names)


def compose(made: Composer, *batches: list[ModelEvent]) -> tuple[list[dict[str, Any]], TurnEnded]:
    events = made.open()
    for batch in batches:
        events += made.feed(batch)
    ended = made.close(2.5)
    return [json.loads(encode_event(event)) for event in events + ended.events], ended


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_text_turn_has_the_published_order() -> None:
    events, ended = compose(
        composer(), [Accepted(), TextDelta("He")], [TextDelta("llo"), UsageReported(7, 2, 3), Finished()]
    )
    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    response = events[-1]["response"]
    assert response["output"] == [events[-2]["item"]]
    assert response["output"][0]["content"][0]["text"] == "Hello"
    assert response["usage"]["input_tokens_details"]["cached_tokens"] == 3
    assert response["usage"]["total_tokens"] == 9
    assert (response["created_at"], response["completed_at"]) == (1, 2)
    assert ended.history is not None
    assert ended.history.items[0].role == "assistant"


def test_parallel_calls_keep_their_own_arguments_and_places() -> None:
    batch: list[ModelEvent] = [
        ToolCallStarted(0, "call_a", "f"),
        ToolCallDelta(0, '{"x":'),
        ToolCallStarted(1, "call_b", "exec", "custom", "functions"),
        ToolCallDelta(1, "ls"),
        ToolCallDelta(0, "1}"),
        ToolCallEnded(1),
        Finished(),
    ]
    events, ended = compose(composer(), batch)
    output = events[-1]["response"]["output"]
    assert [(item["type"], item.get("arguments") or item.get("input")) for item in output] == [
        ("function_call", '{"x":1}'),
        ("custom_tool_call", "ls"),
    ]
    assert output[1]["namespace"] == "functions"
    assert "namespace" not in output[0]
    assert ended.history is not None
    assert [item.call_id for item in ended.history.items] == ["call_a", "call_b"]


def test_reasoning_comes_as_summary_and_text_parts() -> None:
    events, _ = compose(composer(), [ReasoningSummaryDelta("s"), ReasoningDelta("r"), TextDelta("t"), Finished()])
    item = events[-1]["response"]["output"][0]
    assert item["summary"] == [{"type": "summary_text", "text": "s"}]
    assert item["content"] == [{"type": "reasoning_text", "text": "r"}]
    assert "reasoning_text.delta" in types(events)


def test_open_responses_names_reasoning_events_its_own_way() -> None:
    events, _ = compose(composer("open_responses"), [ReasoningDelta("r"), Finished()])
    assert {"reasoning.delta", "reasoning.done"} <= set(types(events))
    assert not any(name.startswith("reasoning_text") for name in types(events))


def test_refusal_after_text_is_a_second_part() -> None:
    events, _ = compose(composer(), [TextDelta("a"), RefusalDelta("no"), Finished()])
    assert [part["type"] for part in events[-1]["response"]["output"][0]["content"]] == ["output_text", "refusal"]


def test_logprobs_stand_on_deltas_and_on_the_finished_part() -> None:
    entry = LogprobEntry("a", -0.5, [97], [])
    events, _ = compose(composer(), [TextDelta("a", [entry]), Finished()])
    delta = next(event for event in events if event["type"].endswith("output_text.delta"))
    assert delta["logprobs"] == events[-1]["response"]["output"][0]["content"][0]["logprobs"]


def test_output_limit_makes_the_response_and_its_last_item_incomplete() -> None:
    events, ended = compose(composer(), [TextDelta("a"), Finished("max_output_tokens")])
    response = events[-1]["response"]
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert response["output"][-1]["status"] == "incomplete"
    assert response["completed_at"] is None
    assert ended.error is None


def test_failure_keeps_its_code_and_tells_the_wait_in_words() -> None:
    error = api_error("rate_limit_exceeded", "Slow down.", retry_after_s=1.5)
    events, ended = compose(composer(), [TextDelta("a"), Failed(error), TextDelta("never")])
    response = events[-1]["response"]
    assert types(events)[-1] == "failed"
    assert response["error"]["code"] == "rate_limit_exceeded"
    assert "try again in 1.5s" in response["error"]["message"]
    assert ended.error == error
    assert response["output"][0]["content"][0]["text"] == "a"


def test_stream_that_just_ends_is_a_failure() -> None:
    _, ended = compose(composer(), [TextDelta("a")])
    assert ended.error is not None


def test_warm_up_is_created_and_completed_with_its_usage() -> None:
    events, ended = compose(composer(generate=False), [Accepted(), UsageReported(18, 0), Finished()])
    assert types(events) == ["created", "completed"]
    assert events[-1]["response"]["output"] == []
    assert events[-1]["response"]["usage"]["input_tokens"] == 18
    assert ended.history is None


def test_unknown_usage_is_null_and_not_zero() -> None:
    events, _ = compose(composer(), [TextDelta("a"), Finished()])
    assert events[-1]["response"]["usage"] is None


@pytest.mark.parametrize(
    ("sent", "echo"),
    [
        (
            {"tools": [{"type": "function", "name": "f"}]},
            {"tools": [{"type": "function", "name": "f", "description": None, "parameters": None, "strict": None}]},
        ),
        (
            {"tools": [{"type": "custom", "name": "x", "format": {"type": "text"}}]},
            {"tools": [{"type": "custom", "name": "x", "format": {"type": "text"}}]},
        ),
        ({"reasoning": {"effort": "low"}}, {"reasoning": {"effort": "low", "summary": None}}),
        ({"text": {"verbosity": "low"}}, {"text": {"format": {"type": "text"}, "verbosity": "low"}}),
        ({"temperature": 0, "store": False}, {"temperature": 0.0, "store": False}),
        ({}, {"temperature": 1.0, "top_p": 1.0, "tools": [], "tool_choice": "auto", "metadata": {}, "store": True}),
        ({"tool_choice": {"type": "function", "name": "f"}}, {"tool_choice": {"type": "function", "name": "f"}}),
    ],
)
def test_settings_are_echoed_as_the_schema_wants(sent: dict[str, object], echo: dict[str, object]) -> None:
    events, _ = compose(composer(**sent), [Finished()])
    for event in (events[0], events[-1]):
        assert {key: event["response"][key] for key in echo} == echo


deltas = st.one_of(
    st.builds(TextDelta, st.text(max_size=3)),
    st.builds(RefusalDelta, st.text(max_size=3)),
    st.builds(ReasoningDelta, st.text(max_size=3)),
    st.builds(ReasoningSummaryDelta, st.text(max_size=3)),
    st.sampled_from(["call", "more"]),
)
endings = st.sampled_from([Finished(), Finished("max_output_tokens"), Failed(api_error("server_error", "x")), None])


@given(st.lists(st.lists(deltas, max_size=4), max_size=8), endings)
def test_any_model_output_gives_whole_items_and_one_ending(
    batches: list[list[ModelEvent | str]], ending: ModelEvent | None
) -> None:
    calls = 0
    fed: list[list[ModelEvent]] = []
    for batch in batches:
        fed.append([])
        for each in batch:
            if each == "call":
                fed[-1].append(ToolCallStarted(calls, f"call_{calls}", "f"))
                calls += 1
            elif each == "more":
                continue
            elif not isinstance(each, str):
                fed[-1].append(each)
    fed.append([ending] if ending is not None else [])
    events, _ = compose(composer(), *fed)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events if event["type"] in TERMINAL] == [events[-1]["type"]]
    added = [event for event in events if event["type"].endswith("output_item.added")]
    done = {event["output_index"]: event["item"] for event in events if event["type"].endswith("output_item.done")}
    assert [event["output_index"] for event in added] == list(range(len(added)))
    assert [done[index] for index in range(len(added))] == events[-1]["response"]["output"]
    texts = "".join(each.text for batch in fed for each in batch if isinstance(each, TextDelta))
    assert texts == "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


KEPT = decode_item(b'{"type":"message","role":"user","content":"kept"}')
COMPACTED = Compacted("sealed", (KEPT,), frozenset((b"12345678",)))


def test_compaction_is_announced_and_then_comes_whole() -> None:
    events, ended = compose(
        composer(),
        [Accepted(), CompactionStarted()],
        [UsageReported(100, 9, 40), COMPACTED],
        [Accepted(), TextDelta("a"), UsageReported(20, 2, 10), Finished()],
    )
    assert types(events)[:6] == [
        "created",
        "in_progress",
        "compaction.compacting",
        "output_item.added",
        "output_item.done",
        "output_item.added",
    ]
    item = {"type": "compaction", "id": "cmp_0", "encrypted_content": "sealed"}
    assert events[2] | {"item_id": "cmp_0", "output_index": 0} == events[2]
    assert events[3]["item"] == events[4]["item"] == item
    assert events[5]["output_index"] == 1
    assert ended.output[0].opened == (KEPT,)
    assert ended.output[0].covers == COMPACTED.covers
    assert ended.history is not None
    assert [each.type for each in ended.history.shown.all_items()] == ["message", "message"]


def test_usage_of_a_compacting_turn_is_the_sum_and_its_context_the_last_pass() -> None:
    _, ended = compose(
        composer(),
        [Accepted(), CompactionStarted(), UsageReported(100, 9, 40, 3, 1), COMPACTED],
        [TextDelta("a"), UsageReported(20, 2, 10, 1, 1), Finished()],
    )
    usage = ended.response.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (120, 11, 131)
    assert (usage.input_tokens_details.cached_tokens, usage.input_tokens_details.cache_write_tokens) == (50, 2)
    assert usage.output_tokens_details.reasoning_tokens == 4
    assert ended.history is not None
    assert ended.history.context_tokens == 22


def test_context_behind_a_lone_compaction_is_not_known() -> None:
    _, ended = compose(composer(), [Accepted(), CompactionStarted(), UsageReported(9, 9), COMPACTED, Finished()])
    assert [item.type for item in ended.output] == ["compaction"]
    assert ended.history is not None
    assert ended.history.context_tokens is None


def test_turn_that_breaks_while_it_compacts_leaves_no_item() -> None:
    events, ended = compose(composer(), [Accepted(), CompactionStarted()], [Failed(api_error("model_error", "no"))])
    assert types(events) == ["created", "in_progress", "compaction.compacting", "failed"]
    assert ended.output == ()


def test_open_responses_knows_no_compacting_event() -> None:
    events, _ = compose(composer("open_responses"), [Accepted(), CompactionStarted(), COMPACTED, Finished()])
    assert types(events) == ["created", "in_progress", "output_item.added", "output_item.done", "completed"]


def sealing_composer(**fields: object) -> Composer:
    request = decode_create(json.dumps({"model": "m", "input": "hi"} | fields))
    assert isinstance(request, CreateRequest)
    turn = Turn(response_id="resp_1", request=request, history=None, created_at=1.5)
    return Composer(turn, model="m", new_id=lambda prefix: prefix, seal_reasoning=lambda data: f"<{data.decode()}>")


def test_reasoning_is_sealed_when_the_client_asks_for_it() -> None:
    batch: list[ModelEvent] = [Accepted(), ReasoningDelta("hm"), TextDelta("a"), Finished()]
    _, sealed = compose(sealing_composer(include=["reasoning.encrypted_content"]), batch)
    item = json.loads(sealed.output[0].raw)
    assert item["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert json.loads(item["encrypted_content"].strip("<>")) == {"content": item["content"]}
    _, plain = compose(sealing_composer(), batch)
    assert "encrypted_content" not in json.loads(plain.output[0].raw)


def test_a_summary_that_nobody_signed_is_marked_as_of_no_use_to_any_model() -> None:
    _, ended = compose(sealing_composer(), [Accepted(), ReasoningSummaryDelta("hm"), Finished()])
    assert ended.output[0].signed == UNSIGNED
    _, plain = compose(sealing_composer(), [Accepted(), ReasoningDelta("hm"), Finished()])
    assert plain.output[0].signed is None


def test_what_a_vendor_signed_stays_with_the_item_and_is_sealed_when_asked_for() -> None:
    batch: list[ModelEvent] = [Accepted(), ReasoningSummaryDelta("hm"), ReasoningSigned("v", '{"s":1}'), Finished()]
    _, plain = compose(sealing_composer(), batch)
    assert plain.output[0].signed == Signed("v", ('{"s":1}',))
    assert b"encrypted_content" not in plain.output[0].raw
    _, sealed = compose(sealing_composer(include=["reasoning.encrypted_content"]), batch)
    token: str = json.loads(sealed.output[0].raw)["encrypted_content"]
    assert json.loads(token[1:-1]) == {"content": [], "signed": {"by": "v", "blocks": ['{"s":1}']}}


def test_reasoning_of_which_only_a_summary_is_known_has_nothing_to_seal() -> None:
    made = sealing_composer(include=["reasoning.encrypted_content"])
    _, ended = compose(made, [Accepted(), ReasoningSummaryDelta("hm"), Finished()])
    assert "encrypted_content" not in json.loads(ended.output[0].raw)


def test_queued_response_is_announced_as_such_and_begins_later() -> None:
    made = composer(background=True)
    queued = made.open_queued()
    assert made.response.status == "queued"
    begun = made.begin()
    made.feed([TextDelta("a"), Finished()])
    events = [json.loads(encode_event(event)) for event in [*queued, *begun, *made.close(2.5).events]]
    assert types(events)[:3] == ["created", "queued", "in_progress"]
    assert [event["response"]["status"] for event in events[:3]] == ["queued", "queued", "in_progress"]
    assert [event["sequence_number"] for event in events[:3]] == [0, 1, 2]
    assert events[-1]["response"]["status"] == "completed"


def test_queued_warm_up_begins_without_a_word() -> None:
    made = composer(background=True, prompt_cache_options={"prewarm": True})
    made.open_queued()
    assert made.begin() == []


def test_cancelled_response_keeps_what_was_said_and_ends_the_stream_as_incomplete() -> None:
    made = composer(background=True)
    made.open_queued()
    made.begin()
    made.feed([TextDelta("half")])
    made.cancel()
    ended = made.close(2.5)
    last = json.loads(encode_event(ended.events[-1]))
    assert last["type"] == "response.incomplete"
    assert last["response"]["status"] == "cancelled"
    assert last["response"]["incomplete_details"] == {"reason": "cancelled"}
    assert last["response"]["output"][0]["status"] == "incomplete"
    assert ended.error is None


def test_optional_keys_stand_there_only_when_the_request_set_them() -> None:
    _, plain = compose(composer(), [Finished()])
    encoded = json.loads(encode_event(plain.events[-1]))["response"]
    assert not {"conversation", "prompt_cache_options", "prompt_cache_retention"} & set(encoded)
    _, full = compose(
        composer(prompt_cache_options={"mode": "explicit", "ttl": "30m"}, prompt_cache_retention="24h"), [Finished()]
    )
    echoed = json.loads(encode_event(full.events[-1]))["response"]
    assert echoed["prompt_cache_options"] == {"mode": "explicit", "ttl": "30m"}
    assert echoed["prompt_cache_retention"] == "24h"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (0.2, 0.9)),
        ({"temperature": 1.0}, (1.0, 0.9)),
        ({"temperature": 0, "top_p": 1}, (0.0, 1.0)),
    ],
    ids=str,
)
def test_response_says_what_the_target_takes_where_the_request_says_nothing(
    fields: dict[str, object], expected: tuple[float, float]
) -> None:
    made = composer(**fields)
    made.assume(Sampling(temperature=0.2, top_p=0.9))
    events, ended = compose(made, [TextDelta("a"), Finished()])
    echoes = [event["response"] for event in events if "response" in event]
    assert len(echoes) == 3
    assert {(echo["temperature"], echo["top_p"]) for echo in echoes} == {expected}
    assert (ended.response.temperature, ended.response.top_p) == expected


def test_target_that_takes_the_place_of_another_has_defaults_of_its_own() -> None:
    made = composer()
    made.assume(Sampling(temperature=0.2, top_p=0.9))
    made.assume(Sampling(top_p=0.5))
    assert (made.response.temperature, made.response.top_p) == (1.0, 0.5)
