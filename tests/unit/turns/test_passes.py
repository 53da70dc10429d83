"""What a target is asked next, and what a client hears of each reply: a table, without any target."""

import json
from typing import Any

import pytest

from landline.session.lineage import Link, extend
from landline.session.turn import Turn
from landline.turns.passes import Passes, passed_on, plan_of
from landline.wire.errors import api_error
from landline.wire.items import encode_item
from landline.wire.model_events import (
    Accepted,
    Compacted,
    CompactionStarted,
    Failed,
    Finished,
    ModelEvent,
    TextDelta,
    UsageReported,
)
from landline.wire.requests import CreateRequest, decode_create

TOO_LONG = Failed(api_error("context_length_exceeded", "long"))
BUSY = Failed(api_error("server_is_overloaded", "busy"))
THRESHOLD: dict[str, Any] = {"context_management": [{"type": "compaction", "compact_threshold": 5}]}
AUTO: dict[str, Any] = {"truncation": "auto"}
DONE: list[ModelEvent] = [TextDelta("x"), Finished()]
SAID_NOTHING: list[ModelEvent] = [Accepted(), UsageReported(10, 0), Finished()]


def history() -> Link:
    turns = [("user", "one"), ("assistant", "two"), ("user", "three"), ("assistant", "four")]
    lineage: Link | None = None
    for role, text in [*turns, ("user", "five")]:
        lineage = extend(lineage, [encode_item({"type": "message", "role": role, "content": text})])
    assert lineage is not None
    return lineage


def passes(*, is_compaction: bool = False, **fields: Any) -> Passes:
    request = decode_create(json.dumps({"model": "m", "input": "five"} | fields))
    assert isinstance(request, CreateRequest)
    turn = Turn("resp_1", request, history(), created_at=1.0, is_compaction=is_compaction)
    return Passes(turn, plan_of(turn, compacts_itself=False), lambda payload: "sealed")


@pytest.mark.parametrize(
    ("fields", "replies", "heard", "asked"),
    [
        ({}, [DONE], [TextDelta, Finished], ["answer"]),
        ({}, [[BUSY]], [Failed], ["answer"]),
        ({}, [[TOO_LONG]], [Failed], ["answer"]),
        (AUTO, [[TOO_LONG], DONE], [TextDelta, Finished], ["answer", "shorter"]),
        (AUTO, [[Accepted()], [TOO_LONG], DONE], [Accepted, TextDelta, Finished], ["answer", "shorter"]),
        (AUTO, [[TextDelta("x")], [TOO_LONG]], [TextDelta, Failed], ["answer"]),
        (AUTO, [[BUSY]], [Failed], ["answer"]),
        (
            THRESHOLD,
            [[Accepted()], DONE, DONE],
            [Accepted, CompactionStarted, UsageReported, Compacted, TextDelta, Finished],
            ["summary", "answer"],
        ),
        (THRESHOLD, [[BUSY]], [Failed], ["summary"]),
        (
            THRESHOLD,
            [SAID_NOTHING, DONE, DONE],
            [Accepted, CompactionStarted, UsageReported, Compacted, TextDelta, Finished],
            ["summary", "summary", "answer"],
        ),
        (
            THRESHOLD,
            [SAID_NOTHING, SAID_NOTHING],
            [Accepted, CompactionStarted, UsageReported, Failed],
            ["summary", "summary"],
        ),
        (
            {"is_compaction": True},
            [DONE],
            [Accepted, CompactionStarted, UsageReported, Compacted, Finished],
            ["summary"],
        ),
    ],
)
def test_table(
    fields: dict[str, Any], replies: list[list[ModelEvent]], heard: list[type[ModelEvent]], asked: list[str]
) -> None:
    made = passes(**fields)
    events: list[ModelEvent] = []
    questions: list[Any] = []
    for batch in replies:
        if made.question not in questions:
            questions.append(made.question)
        events += made.hear(list(batch))
    kinds = ["summary" if each.is_summary else "shorter" if each.dropped_items else "answer" for each in questions]
    assert [type(event) for event in events] == heard
    assert kinds == asked
    assert made.question is None


def test_only_what_another_target_may_do_better_is_passed_on() -> None:
    assert passed_on([BUSY]) == BUSY.error
    assert passed_on([TOO_LONG]) is None
    assert passed_on([Accepted(), BUSY]) is None
