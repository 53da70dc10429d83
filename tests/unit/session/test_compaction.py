"""What a compaction keeps and covers, and how a lineage reads behind it."""

import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from landline.session.compaction import (
    RETAINED_MAX_BYTES,
    SUMMARY_ID,
    SUMMARY_MAX_TOKENS,
    SUMMARY_MIN_TOKENS,
    Plan,
    open_payload,
    plan_compaction,
    retained_messages,
)
from landline.session.lineage import Link, extend
from landline.wire.canonical import item_digest
from landline.wire.items import Item, encode_item


def user(text: str) -> Item:
    return encode_item({"type": "message", "role": "user", "content": text})


def developer(text: str) -> Item:
    return encode_item({"type": "message", "role": "developer", "content": text})


def assistant(text: str) -> Item:
    return encode_item({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})


def thought(text: str) -> Item:
    return encode_item({"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": text}]})


def called(call_id: str) -> Item:
    return encode_item({"type": "function_call", "call_id": call_id, "name": "look", "arguments": "{}"})


def answered(call_id: str, output: str = "seen") -> Item:
    return encode_item({"type": "function_call_output", "call_id": call_id, "output": output})


def tools(name: str) -> Item:
    return encode_item({"type": "additional_tools", "role": "developer", "tools": [{"type": "custom", "name": name}]})


def link(*runs: Sequence[Item]) -> Link:
    made: Link | None = None
    for run in runs:
        made = extend(made, run)
    assert made is not None
    return made


def compaction_of(plan: Plan, summary: str = "what was") -> Item:
    """The item that a composer makes of a plan, as a client gives it back and a server opens it."""
    opened = open_payload(plan.payload(summary))
    assert opened is not None
    item = encode_item({"type": "compaction", "id": "cmp_1", "encrypted_content": "sealed"})
    return msgspec.structs.replace(item, opened=opened.items, covers=opened.covers)


def compacted(history: Link, *, keeps_newest: bool = False) -> Link:
    return link(
        *(each.items for each in history.chain()), [compaction_of(plan_compaction(history, keeps_newest=keeps_newest))]
    )


def says(history: Link | None) -> list[str]:
    """What a model reads, an item a word."""
    items = history.shown.all_items() if history is not None else []
    return [_word(item) for item in items]


def _word(item: Item) -> str:
    value: dict[str, Any] = msgspec.json.decode(item.raw)
    if item.type == "message":
        text = value["content"] if isinstance(value["content"], str) else value["content"][0]["text"]
        return "summary" if item.id == SUMMARY_ID else f"{value['role']}:{text}"
    return f"{item.type}:{item.call_id or ''}"


def test_kept_are_standing_messages_tools_user_messages_and_open_calls() -> None:
    history = link(
        [developer("rules"), tools("exec"), user("one")],
        [thought("hm"), called("done"), called("open")],
        [answered("done"), user("two")],
        [assistant("well")],
    )
    assert says(compacted(history)) == [
        "developer:rules",
        "additional_tools:",
        "user:one",
        "user:two",
        "summary",
        "function_call:open",
    ]
    assert compacted(history).shown.tool_items == history.tool_items


def test_what_comes_after_a_compaction_is_read_after_it() -> None:
    history = compacted(link([user("one")], [assistant("a")]))
    assert says(link(*(each.items for each in history.chain()), [user("two")])) == ["user:one", "summary", "user:two"]


def test_newest_step_stays_as_it_is_when_the_turn_goes_on() -> None:
    history = link([user("one")], [assistant("a")], [user("two"), user("three")])
    plan = plan_compaction(history, keeps_newest=True)
    assert says(plan.head) == ["user:one", "assistant:a"]
    assert says(compacted(history, keeps_newest=True)) == ["user:one", "summary", "user:two", "user:three"]


def test_newest_step_begins_with_the_calls_that_its_outputs_answer() -> None:
    history = link([user("one")], [assistant("a")], [user("go")], [thought("hm"), called("x")], [answered("x")])
    plan = plan_compaction(history, keeps_newest=True)
    assert says(plan.head) == ["user:one", "assistant:a", "user:go"]
    assert says(compacted(history, keeps_newest=True))[-4:] == [
        "summary",
        "reasoning:",
        "function_call:x",
        "function_call_output:x",
    ]


def test_output_that_comes_late_finds_its_call() -> None:
    history = link([user("one")], [called("slow")], [user("go on")], [assistant("a")], [answered("slow")])
    assert says(compacted(history, keeps_newest=True)) == [
        "user:one",
        "user:go on",
        "summary",
        "function_call:slow",
        "assistant:a",
        "function_call_output:slow",
    ]


@pytest.mark.parametrize(
    "history",
    [link([user("one")]), link([developer("rules"), user("one"), user("two")]), link([tools("x"), developer("rules")])],
    ids=["one message", "a first turn", "nothing said"],
)
def test_turn_that_goes_on_compacts_nothing_when_all_is_new(history: Link) -> None:
    assert plan_compaction(history, keeps_newest=True).prompt is not None
    assert plan_compaction(history, keeps_newest=True).head is None


def test_what_a_compaction_left_is_not_compacted_again() -> None:
    history = compacted(link([user("one")], [assistant("a")]))
    again = link(*(each.items for each in history.chain()), [user("two")])
    assert plan_compaction(again, keeps_newest=True).head is None


def test_demanded_compaction_always_has_something_to_read() -> None:
    history = compacted(link([user("one")], [assistant("a")]))
    assert says(plan_compaction(history, keeps_newest=False).head) == ["user:one", "summary"]


def test_earlier_summary_is_part_of_what_is_summarised() -> None:
    history = compacted(link([user("one")], [assistant("a")]))
    longer = link(*(each.items for each in history.chain()), [user("two")], [assistant("b")])
    plan = plan_compaction(longer, keeps_newest=False)
    assert says(plan.head) == ["user:one", "summary", "user:two", "assistant:b"]
    assert says(compacted(longer)) == ["user:one", "user:two", "summary"]


def test_prompt_asks_for_the_summary_behind_the_conversation() -> None:
    plan = plan_compaction(link([user("one")], [assistant("a")]), keeps_newest=False)
    assert says(plan.prompt)[:2] == ["user:one", "assistant:a"]
    assert "replaced by a summary" in says(plan.prompt)[2]


def test_recent_user_messages_are_kept_within_the_budget() -> None:
    history = link([user(f"{number} " + "x" * 1000) for number in range(400)], [assistant("a")])
    kept = retained_messages(compaction_of(plan_compaction(history, keeps_newest=False)), history)
    assert sum(len(item.raw) for item in kept) <= RETAINED_MAX_BYTES
    assert [_word(item).split()[0] for item in kept] == [f"user:{number}" for number in range(400 - len(kept), 400)]
    assert 50 < len(kept) < 65


def test_user_message_over_the_budget_is_summarised() -> None:
    history = link([user("x" * 100_000)], [assistant("a")])
    assert says(compacted(history)) == ["summary"]


def test_room_for_the_summary_follows_the_history() -> None:
    rooms = [
        plan_compaction(link([user("x" * size)]), keeps_newest=False).summary_tokens for size in (10, 40_000, 10**6)
    ]
    assert rooms[0] == SUMMARY_MIN_TOKENS
    assert SUMMARY_MIN_TOKENS < rooms[1] < SUMMARY_MAX_TOKENS
    assert rooms[2] == SUMMARY_MAX_TOKENS


def test_threshold_bounds_what_is_kept_and_summarised() -> None:
    history = link([user(f"{number} " + "x" * 100) for number in range(400)], [assistant("a")], [user("next")])
    plan = plan_compaction(history, keeps_newest=True, threshold_tokens=1000)
    assert plan.summary_tokens == 250
    assert 500 < sum(len(item.raw) for item in plan.before) <= 1000
    unbounded = plan_compaction(history, keeps_newest=True)
    roomy = plan_compaction(history, keeps_newest=True, threshold_tokens=10**6)
    assert (roomy.before, roomy.summary_tokens) == (unbounded.before, unbounded.summary_tokens)


def test_fresh_messages_of_a_client_in_front_of_its_compaction_are_read() -> None:
    """Codex CLI sends its own developer and user messages, some of them new, and then the compaction."""
    history = link([developer("rules"), developer("old skills"), user("do it")], [assistant("a")])
    compaction = compaction_of(plan_compaction(history, keeps_newest=False))
    played = encode_item(
        {"type": "message", "id": "msg_9", "role": "user", "content": [{"type": "input_text", "text": "do it"}]}
    )
    window = link([developer("rules"), developer("new skills"), played, assistant("a"), compaction], [user("next")])
    assert says(window) == [
        "developer:new skills",
        "developer:rules",
        "developer:old skills",
        "user:do it",
        "summary",
        "user:next",
    ]


def test_payload_of_another_version_does_not_open() -> None:
    assert open_payload(zlib.compress(b'{"v":99,"else":1}')) is None


def test_reasoning_is_read_as_what_it_opens_to() -> None:
    sealed = encode_item({"type": "reasoning", "summary": [], "encrypted_content": "sealed"})
    opened = msgspec.structs.replace(sealed, opened=(thought("hm"),))
    plain = link([user("one")], [thought("hm")], [user("two")])
    played = link([user("one")], [opened], [user("two")])
    assert played.shown.all_items() == plain.all_items()
    assert played.shown.digest == plain.digest


def test_lineage_without_sealed_items_is_shown_as_it_is() -> None:
    history = link([user("one")], [assistant("a")], [user("two")])
    assert history.shown is history


def test_continuing_behind_a_compaction_shares_what_is_read() -> None:
    history = compacted(link([user("one")], [assistant("a")]))
    longer = extend(history, [user("two")])
    assert longer is not None
    assert longer.shown.parent is history.shown


_ITEMS = st.sampled_from(["user", "developer", "assistant", "thought", "call", "output", "late output", "tools"])


@st.composite
def histories(draw: st.DrawFn) -> list[list[Item]]:
    """A conversation in links: any order of items in which an output follows its call, compacted or not on the way."""
    runs: list[list[Item]] = [[user("begin")]]
    open_calls: list[str] = []
    for number, kind in enumerate(draw(st.lists(_ITEMS, max_size=30))):
        run = runs[-1] if draw(st.booleans()) else []
        if run is not runs[-1]:
            runs.append(run)
        match kind:
            case "user":
                run.append(user(f"u{number} " + "x" * draw(st.sampled_from([1, 1500]))))
            case "developer":
                run.append(developer(f"d{draw(st.integers(0, 3))}"))
            case "assistant":
                run.append(assistant(f"a{number}"))
            case "thought":
                run.append(thought(f"t{number}"))
            case "tools":
                run.append(tools(f"tool{draw(st.integers(0, 2))}"))
            case "call":
                open_calls.append(f"c{number}")
                run.append(called(f"c{number}"))
            case _:
                if open_calls:
                    run.append(answered(open_calls.pop(-1 if kind == "output" else 0)))
        if draw(st.integers(0, 9)) == 0 and all(runs):
            runs.append([compaction_of(plan_compaction(link(*runs), keeps_newest=draw(st.booleans())))])
    return [run for run in runs if run]


def _open_calls(items: Sequence[Item]) -> list[str | None]:
    outputs = {item.call_id for item in items if item.type == "function_call_output"}
    return [item.call_id for item in items if item.type == "function_call" and item.call_id not in outputs]


@given(runs=histories(), keeps_newest=st.booleans())
def test_no_open_call_is_ever_dropped_and_no_output_is_left_without_its_call(
    runs: list[list[Item]], keeps_newest: bool
) -> None:
    history = link(*runs)
    after = compacted(history, keeps_newest=keeps_newest).shown.all_items()
    assert sorted(map(str, _open_calls(after))) == sorted(map(str, _open_calls(history.shown.all_items())))
    called_so_far: set[str | None] = set()
    for item in after:
        if item.type == "function_call":
            assert item.call_id not in called_so_far
            called_so_far.add(item.call_id)
        elif item.type == "function_call_output":
            assert item.call_id in called_so_far


@given(runs=histories(), keeps_newest=st.booleans())
def test_standing_items_outlive_every_compaction_once(runs: list[list[Item]], keeps_newest: bool) -> None:
    history = link(*runs)
    after = compacted(history, keeps_newest=keeps_newest).shown.all_items()
    standing = {
        item_digest(item)
        for item in history.all_items()
        if item.type != "message" or item.role == "developer"
        if item.type in ("message", "additional_tools")
    }
    kept = [item_digest(item) for item in after if item_digest(item) in standing]
    assert set(kept) == standing


@given(runs=histories(), keeps_newest=st.booleans())
def test_history_reads_the_same_however_it_is_cut(runs: list[list[Item]], keeps_newest: bool) -> None:
    history = compacted(link(*runs), keeps_newest=keeps_newest)
    whole = link([*history.all_items(), user("next")])
    deltas = extend(history, [user("next")])
    assert deltas is not None
    assert whole.shown.all_items() == deltas.shown.all_items()
    assert whole.shown.digest == deltas.shown.digest


@given(runs=histories(), keeps_newest=st.booleans(), summary=st.text(max_size=50))
def test_payload_opens_to_what_the_turn_itself_went_on_with(
    runs: list[list[Item]], keeps_newest: bool, summary: str
) -> None:
    plan = plan_compaction(link(*runs), keeps_newest=keeps_newest)
    opened = open_payload(plan.payload(summary))
    assert opened is not None
    assert [item.raw for item in opened.items] == [item.raw for item in plan.opened(summary)]
    assert opened.covers == plan.covers


@given(runs=histories())
def test_newest_step_is_read_last(runs: list[list[Item]]) -> None:
    history = link(*runs)
    assume(plan_compaction(history, keeps_newest=True).head is not None)
    before, after = history.shown.all_items(), compacted(history, keeps_newest=True).shown.all_items()
    newest: list[Item] = []
    for item in reversed(before):
        if item.role == "assistant" or item.type in ("reasoning", "function_call"):
            break
        newest.insert(0, item)
    assert after[len(after) - len(newest) :] == newest
