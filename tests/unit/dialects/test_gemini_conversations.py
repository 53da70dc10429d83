"""Any conversation at all is one that Gemini takes, and its contents grow at the end, wherever it is cut into links."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects.dialect import Prompt, UpstreamRequest
from landline.dialects.gemini import Gemini
from landline.dialects.gemini import dialect as gemini_dialect
from landline.session.lineage import Link
from landline.wire.items import decode_item
from landline.wire.requests import CreateRequest
from support.conversations.chat import custom_call, function_call, message, output, reasoning
from support.conversations.gemini import (
    MODEL,
    Item,
    block,
    build,
    build_request,
    contents,
    signed_lineage,
    signed_reasoning,
)
from support.strict.gemini import Signatures, check_contents

PNG = "iVBORw0KGgo="
IMAGE = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "original"}
OLD = "gemini-2.5-flash"
_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_KINDS = ["user", "developer", "assistant", "reasoning", "signed", "call", "signed_call", "custom", "output", "image"]


@st.composite
def conversations(draw: st.DrawFn) -> list[Item]:
    """Items in any order, every text with a number that no other has; other servers' call ids may come again."""
    items: list[Item] = []
    for number in range(draw(st.integers(0, 14))):
        text = f"<{number}>{draw(_TEXT)}"
        call_id = f"call{number % 5}"
        match draw(st.sampled_from(_KINDS)):
            case "reasoning":
                items.append(reasoning(text))
            case "signed":
                start, end = sorted(draw(st.tuples(st.integers(0, 12), st.integers(0, 12))))
                kind = draw(st.sampled_from(["text", "thought"]))
                items.append(signed_reasoning(block(kind, "c2ln", start=start, end=end), summary=text))
            case "call":
                items.append(function_call(call_id, arguments=draw(st.sampled_from(["{}", "", text]))))
            case "signed_call":
                items.append(signed_reasoning(block("call", "c2ln", call_id=f"signed{number}")))
                items.append(function_call(f"signed{number}"))
            case "custom":
                items.append(custom_call(call_id, text=text))
            case "output" | "image" as kind:
                earlier = [item["call_id"] for item in items if "call_id" in item]
                parts = [{"type": "input_text", "text": text}, *([IMAGE] if kind == "image" else [])]
                items.append(output(draw(st.sampled_from([*earlier, "unknown"])), parts))
            case role:
                items.append(message(role, text))
    return items


@st.composite
def cut_conversations(draw: st.DrawFn) -> tuple[list[Item], list[list[Item]]]:
    items = draw(conversations())
    edges = [0, *sorted(draw(st.lists(st.integers(0, len(items)), max_size=5))), len(items)]
    return items, [items[start:end] for start, end in itertools.pairwise(edges)]


def body_of(*links: list[Item], model: str) -> bytes | None:
    made = build_request(*links, model=model)
    return made.body if isinstance(made, UpstreamRequest) else None


@given(cut_conversations(), st.sampled_from([MODEL, OLD]))
def test_the_links_do_not_matter(cut: tuple[list[Item], list[list[Item]]], model: str) -> None:
    items, links = cut
    assert body_of(*links, model=model) == body_of(items, model=model)


@given(conversations(), st.sampled_from([MODEL, OLD]))
def test_any_conversation_is_one_that_the_api_takes(items: list[Item], model: str) -> None:
    body = body_of([message("user", "first"), *items], model=model)
    assert body is not None
    signatures = Signatures()
    signatures.all.add("c2ln")
    blocks = [json.loads(each) for item in items for each in item.get("_signed", {"blocks": ()})["blocks"]]
    if model == MODEL:
        signatures.of_calls = {each["call_id"]: "c2ln" for each in blocks if each["kind"] == "call"}
    check_contents(json.loads(body)["contents"], signatures, needs_signatures=model == MODEL)


@given(conversations())
def test_every_text_is_said_once(items: list[Item]) -> None:
    made = build([*items, message("user", "last")], model=OLD)
    said = json.dumps(made, ensure_ascii=False)
    for number, item in enumerate(items):
        if item.get("type") in ("message", "custom_tool_call") or item.get("type") == "function_call_output":
            mark = json.dumps(item, ensure_ascii=False).partition("<")[2].partition(">")[0]
            assert said.count(f"<{mark}>") <= 1, number
            if item["type"] != "function_call_output":
                assert said.count(f"<{mark}>") == 1, number


@given(conversations(), conversations())
def test_a_longer_conversation_begins_with_the_contents_of_the_shorter_one(items: list[Item], more: list[Item]) -> None:
    """So that the start of a prompt can be read from the cache: what the model was shown does not change later."""
    ended = [message("user", "one"), *items, message("user", "two"), message("assistant", "three")]
    spoken = [item for item in more if item["type"] not in ("message",) or item["role"] != "developer"]
    before = contents(ended, model=OLD)
    longer = contents(ended, [message("user", "four"), *spoken, message("user", "five")], model=OLD)
    assert longer[: len(before) - 1] == before[:-1]


def test_a_turn_renders_only_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of a turn is proportional to what it adds: earlier links keep their bytes."""
    rendered: list[int] = []
    extend = gemini_dialect.extend_transcript

    def counting(before: Any, items: Any, manner: Any) -> Any:
        rendered.append(len(items))
        return extend(before, items, manner)

    monkeypatch.setattr(gemini_dialect, "extend_transcript", counting)
    links = [[message("user", str(number)), message("assistant", str(number))] for number in range(50)]
    history = signed_lineage(links)
    dialect = Gemini()
    request = CreateRequest()
    dialect.build_request(Prompt(history=history, request=request, model=MODEL))
    assert rendered == [2] * 50
    assert history is not None
    longer = type(history)(history, history.items[:1])
    dialect.build_request(Prompt(history=longer, request=request, model=MODEL))
    assert rendered == [2] * 50 + [1]


def test_two_continuations_of_open_calls_know_nothing_of_each_other() -> None:
    history = signed_lineage([[message("user", "go"), function_call("a"), function_call("b")]])
    assert history is not None
    dialect = Gemini()

    def outputs(*items: Item) -> list[str]:
        link = Link(history, [decode_item(json.dumps(item).encode()) for item in items])
        made = dialect.build_request(Prompt(history=link, request=CreateRequest(), model=MODEL))
        assert isinstance(made, UpstreamRequest)
        parts = json.loads(made.body)["contents"][2]["parts"]
        return [
            part["functionResponse"]["response"]["output"] if "text" not in part else part["text"] for part in parts
        ]

    none = "(no output yet)"
    assert outputs(output("a", "one"), message("user", "hurry")) == ["one", none, "hurry"]
    assert outputs(output("b", "two")) == [none, "two"]
    assert outputs(message("user", "hurry")) == [none, none, "hurry"]


def test_another_model_is_told_the_same_conversation_in_its_own_manner() -> None:
    history = signed_lineage([[message("user", "go"), function_call("a"), output("a")]])
    dialect = Gemini()
    bodies = []
    for model in (MODEL, OLD, MODEL):
        made = dialect.build_request(Prompt(history=history, request=CreateRequest(), model=model))
        assert isinstance(made, UpstreamRequest)
        bodies.append(made.body)
    assert bodies[0] == bodies[2] != bodies[1]
