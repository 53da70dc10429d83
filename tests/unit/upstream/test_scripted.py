"""ScriptedTarget plays transcripts; what a transcript may hold is checked when it is loaded."""

import asyncio
import json
from contextlib import aclosing
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from landline.dialects.dialect import Prompt
from landline.upstream import ScriptedTarget, ScriptError
from landline.upstream.script import Script, Step, decode_script
from landline.upstream.scripted import model_turns
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
from support.conversations.chat import Item, create, function_call, lineage, message, output, reasoning
from support.turns.reply import stream_of

HI = message("user", "hi")
HO = message("assistant", "ho")


def target_of(folder: Path, transcript: str) -> ScriptedTarget:
    path = folder / "script.jsonl"
    path.write_text(transcript)
    return ScriptedTarget("demo", path)


async def batches(target: ScriptedTarget, *links: list[Item], **fields: object) -> list[list[ModelEvent]]:
    asked = Prompt(history=lineage(links), request=create(**fields), model="m", response_id="resp_1")
    async with aclosing(stream_of(target, asked)) as played:
        return [batch async for batch in played]


async def play(target: ScriptedTarget, *links: list[Item], **fields: object) -> list[ModelEvent]:
    return [event for batch in await batches(target, *links, **fields) for event in batch]


async def said(target: ScriptedTarget, *links: list[Item]) -> str:
    return "".join(event.text for event in await play(target, *links) if isinstance(event, TextDelta))


async def test_every_kind_of_step_has_its_events(tmp_path: Path) -> None:
    target = target_of(
        tmp_path,
        """[{"type": "reasoning", "text": "abcd", "deltas": 2}, {"type": "text", "text": "Hello", "deltas": 3},
        {"type": "refusal", "text": "no"},
        {"type": "function_call", "name": "ls", "arguments": {"path": "."}, "namespace": "fs", "deltas": 2},
        {"type": "custom_tool_call", "name": "exec", "input": "1+1", "call_id": "call_x"},
        {"type": "usage", "input_tokens": 10, "output_tokens": 5, "cached_tokens": 8}]""".replace("\n", ""),
    )
    assert await play(target, [HI]) == [
        Accepted(),
        ReasoningDelta("ab"),
        ReasoningDelta("cd"),
        TextDelta("He"),
        TextDelta("ll"),
        TextDelta("o"),
        RefusalDelta("no"),
        ToolCallStarted(0, "call_1_0", "ls", "function", "fs"),
        ToolCallDelta(0, '{"path"'),
        ToolCallDelta(0, ': "."}'),
        ToolCallEnded(0),
        ToolCallStarted(1, "call_x", "exec", "custom"),
        ToolCallDelta(1, "1+1"),
        ToolCallEnded(1),
        UsageReported(10, 5, 8),
        Finished(),
    ]


async def test_text_deltas_come_in_batches(tmp_path: Path) -> None:
    target = target_of(tmp_path, '[{"type": "text_deltas", "count": 5, "text": "w ", "batch": 2}]')
    assert [len(batch) for batch in await batches(target, [HI])] == [1, 2, 2, 1, 1]


async def test_the_turn_follows_from_the_conversation_alone(tmp_path: Path) -> None:
    target = target_of(tmp_path, '[{"type":"text","text":"one"}]\n\n[{"type":"text","text":"two"}]\n')
    second = [HI], [reasoning("hm"), HO], [HI]
    assert await asyncio.gather(said(target, [HI]), said(target, *second), said(target, [HI])) == ["one", "two", "one"]
    assert await said(target, [HI, reasoning("hm"), HO, HI]) == "two"


@pytest.mark.parametrize(("after_last", "third"), [("repeat", "two"), ("loop", "one")])
async def test_beyond_the_last_turn_it_repeats_or_loops(tmp_path: Path, after_last: str, third: str) -> None:
    lines = [json.dumps({"after_last": after_last}), '[{"type":"text","text":"one"}]', '[{"type":"text","text":"two"}]']
    assert await said(target_of(tmp_path, "\n".join(lines)), [HI, HO, HI, HO, HI]) == third


async def test_beyond_the_last_turn_it_fails_if_told_so(tmp_path: Path) -> None:
    target = target_of(tmp_path, '{"after_last": "fail", "turns": [[]]}'.replace("[[]]", '[{"steps": []}]'))
    assert await play(target, [HI]) == [Accepted(), Finished()]
    failed = await play(target, [HI, HO, HI])
    assert isinstance(failed[0], Failed)
    assert "turn 1" in failed[0].error.message


async def test_a_warm_up_is_no_turn(tmp_path: Path) -> None:
    target = target_of(tmp_path, '[{"type":"text","text":"one"}]')
    assert await play(target, [HI], generate=False) == [Accepted(), UsageReported(0, 0), Finished()]
    assert await said(target, [HI]) == "one"


async def test_an_error_as_the_first_step_refuses_the_request(tmp_path: Path) -> None:
    target = target_of(
        tmp_path, '[{"type":"delay","ms":0},{"type":"error","status":429,"message":"m","retry_after_s":2}]'
    )
    (failed,) = await play(target, [HI])
    assert isinstance(failed, Failed)
    assert (failed.error.code, failed.error.message, failed.error.retry_after_s) == ("rate_limit_exceeded", "m", 2.0)


async def test_an_error_after_text_breaks_the_turn(tmp_path: Path) -> None:
    target = target_of(
        tmp_path, '[{"type":"text","text":"a"},{"type":"error","code":"model_error"},{"type":"text","text":"b"}]'
    )
    accepted, text, failed = await play(target, [HI])
    assert (accepted, text) == (Accepted(), TextDelta("a"))
    assert isinstance(failed, Failed)
    assert failed.error.code == "model_error"


async def test_a_failure_may_happen_a_few_times_only(tmp_path: Path) -> None:
    target = target_of(
        tmp_path, '[{"type":"error","status":503,"times":2},{"type":"text","text":"a"},{"type":"cut","times":1}]'
    )
    kinds = [[type(event).__name__ for event in await play(target, [HI])] for _ in range(4)]
    assert kinds == [["Failed"], ["Failed"], ["Accepted", "TextDelta", "Failed"], ["Accepted", "TextDelta", "Finished"]]
    assert isinstance((await play(target, [message("user", "other")]))[0], Failed)


async def test_few_conversations_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landline.upstream.scripted.PLACES_KEPT", 1)
    target = target_of(tmp_path, '[{"type":"cut","times":1}]')
    for text in ("a", "b", "a"):
        assert isinstance((await play(target, [message("user", text)]))[-1], Failed)
    assert isinstance((await play(target, [message("user", "a")]))[-1], Finished)


async def test_a_turn_may_end_incomplete(tmp_path: Path) -> None:
    target = target_of(
        tmp_path, '[{"type":"finish","incomplete_reason":"max_output_tokens"},{"type":"text","text":"b"}]'
    )
    assert await play(target, [HI]) == [Accepted(), Finished("max_output_tokens")]


@pytest.mark.parametrize(
    ("expect", "holds"),
    [
        ('{"last_item":"function_call_output"}', True),
        ('{"last_item":"message"}', False),
        ('{"contains":"grün"}', True),
        ('{"contains":"blau"}', False),
    ],
)
async def test_an_expectation_that_fails_says_so(tmp_path: Path, expect: str, holds: bool) -> None:
    target = target_of(tmp_path, f'{{"expect": {expect}, "steps": []}}')
    events = await play(target, [function_call("a"), output("a", "grün")])
    assert isinstance(events[-1], Finished if holds else Failed)
    if isinstance(events[-1], Failed):
        assert "expects" in events[-1].error.message


async def test_an_expectation_without_items_fails(tmp_path: Path) -> None:
    target = target_of(tmp_path, '{"expect": {"contains": "x"}, "steps": []}')
    assert isinstance((await play(target))[-1], Failed)


async def test_a_target_is_ready_while_it_is_open(tmp_path: Path) -> None:
    target = target_of(tmp_path, "[]\n[]")
    assert not target.is_ready()
    await target.open()
    assert target.is_ready()
    await target.close()
    assert not target.is_ready()


def test_json_of_every_shape_is_read() -> None:
    step = '{"type":"text","text":"a"}'
    one = decode_script(b'{"turns": [{"steps": [%s]}]}' % step.encode())
    for data in (f"[[{step}]]", f'[{{"steps":[{step}]}}]', f'{{"steps":[{step}]}}', f"[{step}]\n", f"\n[{step}]\n\n"):
        assert decode_script(data.encode()) == one
    two = decode_script(f"[{step}]\n[{step}]".encode())
    assert isinstance(two, Script)
    assert len(two.turns) == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "at least one turn"),
        ('{"turns": []}', "length >= 1"),
        ('[[{"type":"text"}]]', "missing required field `text`"),
        ('[[{"type":"text","text":"a","delta":2}]]', "unknown field `delta`"),
        ('[[{"type":"dance"}]]', "dance"),
        ('[{"type":"text","text":"a"}]\n[{"type":"text"}]', "line 2"),
        ('[{"type":"text","text":"a"}]\nnonsense', "line 2"),
        ('[[{"type":"error","code":"nope"}]]', "'nope' is no error code"),
        ('{"after_last":"stop","turns":[{"steps":[]}]}', "after_last"),
    ],
)
def test_a_malformed_transcript_says_where_and_what(data: str, said: str) -> None:
    with pytest.raises(ScriptError) as raised:
        decode_script(data.encode(), where="demo.jsonl")
    assert str(raised.value).startswith("demo.jsonl")
    assert said in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"nothing\.jsonl"):
        ScriptedTarget("demo", tmp_path / "nothing.jsonl")


@pytest.mark.parametrize("step", get_args(Step), ids=lambda step: step.__name__)
def test_every_step_and_member_is_documented(step: type[msgspec.Struct]) -> None:
    rows = (Path(__file__).parents[3] / "docs" / "scripted.md").read_text().splitlines()
    row = next(row for row in rows if row.startswith(f"| `{step.__struct_config__.tag}` |"))
    assert all(f"`{name}`" in row for name in step.__struct_fields__)


@pytest.mark.parametrize(
    ("links", "turns"),
    [([], 0), ([[HI]], 0), ([[HI], [HO]], 1), ([[HI], [HO], [HI], [function_call("a")], [output("a")]], 2)],
)
def test_turns_of_the_model_are_counted_from_the_history(links: list[list[Item]], turns: int) -> None:
    assert model_turns(lineage(links)) == turns
