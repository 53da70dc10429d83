import pytest

from landline.engine.prefixes import Lineage, OutputMemo, output_digest, seed_of, written_text
from landline.session.lineage import extend
from landline.wire.items import Item, encode_item
from landline.wire.model_events import Accepted, ModelEvent, ReasoningDelta, TextDelta, ToolCallDelta, ToolCallStarted

USER = encode_item({"type": "message", "role": "user", "content": "hello"})
ANSWER = encode_item({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]})
CALL = encode_item({"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"})
CUSTOM = encode_item({"type": "custom_tool_call", "call_id": "c", "name": "sh", "input": "ls"})
THOUGHT = encode_item({"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]})


def test_prefixes_come_longest_first_and_say_what_follows() -> None:
    history = extend(extend(None, [USER, ANSWER]), [USER])
    assert history is not None
    found = list(Lineage(b"seed", 10, history).prefixes())
    assert [prefix.key for prefix in found] == [
        *(b"seed" + digest for digest in history.digests_newest_first()),
        b"seed",
    ]
    assert [prefix.follower for prefix in found] == [None, None, output_digest("hi"), None]
    assert found[0].size_bytes == 10 + history.size_bytes
    assert found[-1].size_bytes == 10


def test_no_history_has_one_prefix() -> None:
    assert [prefix.key for prefix in Lineage(b"seed", 10, None).prefixes()] == [b"seed"]


@pytest.mark.parametrize(
    ("item", "text"), [(USER, None), (ANSWER, "hi"), (CALL, "{}"), (CUSTOM, "ls"), (THOUGHT, "hm")]
)
def test_what_a_model_wrote_is_known_by_its_text(item: Item, text: str | None) -> None:
    assert written_text(item) == text


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([Accepted()], None),
        ([TextDelta("h"), TextDelta("i"), ToolCallDelta(0, "{}")], "hi"),
        ([ToolCallStarted(0, "c", "look"), ToolCallDelta(0, "{"), ToolCallDelta(1, "x"), ToolCallDelta(0, "}")], "{}"),
        ([ReasoningDelta("hm"), TextDelta("hi")], "hm"),
    ],
)
def test_a_memo_holds_the_first_item(events: list[ModelEvent], text: str | None) -> None:
    memo = OutputMemo()
    memo.feed(events)
    assert memo.digest() == output_digest(text)


def test_seeds_differ_by_where_parts_end() -> None:
    assert seed_of([b"ab", b"c"]) != seed_of([b"a", b"bc"])
