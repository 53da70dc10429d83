"""The strict Messages fake refuses what the API refuses: each broken request names its rule."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.conversations.anthropic import REDACTED, SIGNED, assistant, build, messages, result, thinking, use, user
from support.conversations.chat import Item, function_call, message, output
from support.fakes.prompt_cache import PromptCache
from support.scripts.anthropic import Signer
from support.strict.anthropic import check_request
from support.strict.chat import BrokenRequestError

TOOL: Item = {"type": "function", "name": "f"}
WHOLE = build(
    [message("user", "hi")],
    [thinking(SIGNED), message("assistant", "ok"), function_call("a"), function_call("b")],
    [output("a"), output("b")],
    tools=[TOOL],
    instructions="i",
    reasoning={"effort": "high"},
)
MARK = {"type": "ephemeral"}
Body = dict[str, Any]
Break = Callable[[Body], object]


def content(body: Body, index: int) -> list[Any]:
    return body["messages"][index]["content"]


BREAKS: dict[str, tuple[Break, str]] = {
    "an unknown field": (lambda body: body.update(input=1), "Extra inputs"),
    "no max_tokens": (lambda body: body.pop("max_tokens"), "max_tokens"),
    "no message": (lambda body: body["messages"].clear(), "at least one"),
    "the model first": (lambda body: body["messages"].insert(0, assistant("x")), "alternate"),
    "the user twice": (lambda body: body["messages"].insert(0, user("x")), "alternate"),
    "the model last": (lambda body: body["messages"].append(assistant("x")), "prefill"),
    "an empty message": (lambda body: content(body, 0).clear(), "non-empty"),
    "blank text": (lambda body: content(body, 0)[0].update(text=" "), "non-whitespace"),
    "a missing result": (lambda body: content(body, 2).pop(), "without `tool_result`"),
    "a result twice": (lambda body: content(body, 2).append(result("a")), "single result"),
    "a result of no call": (lambda body: content(body, 2).append(result("z")), "unexpected `tool_use_id`"),
    "text before a result": (lambda body: content(body, 2).insert(0, user("x")["content"][0]), "come first"),
    "an id twice": (lambda body: content(body, 1).append(use("a")), "unique"),
    "an id with a colon": (lambda body: content(body, 1)[2].update(id="a:1"), "should match"),
    "input that is no object": (lambda body: content(body, 1)[2].update(input="{}"), "object"),
    "thinking at the end": (lambda body: content(body, 1).append(content(body, 1).pop(0)), "final block"),
    "thinking without a signature": (lambda body: content(body, 1)[0].pop("signature"), "signature"),
    "thinking of the user": (lambda body: content(body, 0).append(content(body, 1)[0]), "block of type"),
    "a mark on thinking": (lambda body: content(body, 1)[0].update(cache_control=MARK), "Extra inputs"),
    "five marks": (lambda body: content(body, 1)[1].update(cache_control=MARK), "maximum of 4"),
    "a strange mark": (lambda body: content(body, 2)[1].update(cache_control={"type": "x"}), "cache_control"),
    "a tool twice": (lambda body: body["tools"].append(body["tools"][0]), "unique"),
    "a schema without a type": (lambda body: body["tools"][0]["input_schema"].pop("type"), "input_schema"),
    "a choice without tools": (lambda body: (body.pop("tools"), body.update(tool_choice={"type": "auto"})), "tools"),
    "a forced call after thinking": (lambda body: body.update(tool_choice={"type": "any"}), "forces tool use"),
    "another temperature": (lambda body: body.update(temperature=0.5), "temperature"),
    "a small budget": (lambda body: body.update(thinking={"type": "enabled", "budget_tokens": 9}), "1024"),
    "a large budget": (lambda body: body.update(thinking={"type": "enabled", "budget_tokens": 99_999}), "max_tokens"),
    "a binding without its beta": (lambda body: body["thinking"].update(block_binding={}), "beta"),
    "a streamed warm-up": (lambda body: body.update(max_tokens=0), "cannot be combined"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_request_is_refused(name: str) -> None:
    body = copy.deepcopy(WHOLE)
    check_request(body)
    break_it, reason = BREAKS[name]
    break_it(body)
    with pytest.raises(BrokenRequestError, match=reason):
        check_request(body)


def test_a_tool_loop_with_a_budget_must_begin_with_thinking() -> None:
    body = {**copy.deepcopy(WHOLE), "thinking": {"type": "enabled", "budget_tokens": 2000}}
    check_request(body)
    content(body, 1).pop(0)
    with pytest.raises(BrokenRequestError, match="found `text`"):
        check_request(body)


def test_thinking_is_known_again_where_it_was_made_and_nowhere_else() -> None:
    signer = Signer()
    asked = build([message("user", "hi")], instructions="i")
    for thought in ("hm", "#sealed", "-"):
        blocks = signer.sign(thought, asked)
        body = {**asked, "messages": [*asked["messages"], assistant(*blocks, "ok"), user("more")]}
        assert signer.explain(body) is None
        for changed in ({"system": []}, {"tools": [{"name": "f"}]}, {"messages": [user("ho"), *body["messages"][1:]]}):
            assert "different conversation" in (signer.explain({**body, **changed}) or "")
        forged = [{**blocks[0], "signature": "x", "data": "x"}]
        assert "Invalid" in (signer.explain({**body, "messages": [user("hi"), assistant(*forged, "ok")]}) or "")


def test_the_cache_is_read_up_to_twenty_blocks_before_a_breakpoint() -> None:
    def asked(blocks: int, *marks: int) -> Body:
        said: list[dict[str, Any]] = [{"type": "text", "text": str(number)} for number in range(blocks)]
        for mark in marks:
            said[mark]["cache_control"] = MARK
        return {"model": "m", "messages": [{"role": "user", "content": said}]}

    cache = PromptCache()
    first = cache.count(asked(1, 0))
    assert (first["cache_read_input_tokens"], first["input_tokens"]) == (0, 0)
    near, far = cache.count(asked(20, 19)), PromptCache()
    far.count(asked(1, 0))
    assert near["cache_read_input_tokens"] == first["cache_creation_input_tokens"]
    assert far.count(asked(21, 20))["cache_read_input_tokens"] == 0
    assert far.count(asked(40, 0, 39))["cache_read_input_tokens"] > 0
    assert cache.count({**asked(1, 0), "model": "other"})["cache_read_input_tokens"] == 0


_TURNS = st.lists(
    st.tuples(
        st.lists(st.sampled_from([thinking(SIGNED), thinking(REDACTED), message("assistant", "ok")]), max_size=3),
        st.integers(0, 3),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@given(turns=_TURNS)
def test_a_conversation_only_grows_at_its_end(turns: list[tuple[list[Item], int, bool]]) -> None:
    """Caches and signatures of thinking hold only if what was sent before stays as it was."""
    links: list[list[Item]] = [[message("developer", "d"), message("user", "hi")]]
    before: list[Any] = messages(*links)
    for number, (said, calls, has_more) in enumerate(turns):
        call_ids = [f"{number}-{each}" for each in range(calls)]
        answer = [*said, message("assistant", "so"), *(function_call(call_id) for call_id in call_ids)]
        more = [message("user", "more")] if has_more or not calls else []
        links += [answer, [*(output(call_id) for call_id in call_ids), *more]]
        after = messages(*links)
        assert after[: len(before)] == before
        assert len(after) == len(before) + 2
        before = after
