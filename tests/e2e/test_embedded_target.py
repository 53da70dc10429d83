"""The embedded target with the real model: what stays warm, what is enforced, what happens when its process dies.

Where the share of cached tokens is asserted the model is greedy: sampling now and then writes a word in other tokens than
the tokenizer would (1 answer of 24 at temperature 1), and llama.cpp reads on from there.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp.connector import Connection

from landline.upstream.counted import CountedResponse, StaleConnectionError
from landline.upstream.embedded import EmbeddedTarget
from landline.wire.errors import ApiError
from landline.wire.items import encode_item
from landline.wire.model_events import Accepted, Failed, Finished, ReasoningDelta, TextDelta
from support.engine.embedded_model import (
    Heard,
    ask,
    call_output,
    embedded_target,
    function,
    prompt_of,
    start,
    user,
)
from support.turns.reply import stream_of

pytestmark = [pytest.mark.model, pytest.mark.asyncio(loop_scope="module")]

RIVERS = "Rivers carry water from the mountains to the sea. " * 12
WEATHER = function("get_weather", {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}})
SEARCH = function("search", {"query": {"type": "string"}, "limit": {"type": "integer"}}, ["query"])
SHELL = {"type": "custom", "name": "shell", "description": "Runs a command."}
TRIES = 5
"""Through the whole server the same is tried twenty times, in test_embedded_model.py."""
TOOL_TEMPLATE = """\
{%- if tools %}<|im_start|>system
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target() -> AsyncIterator[EmbeddedTarget]:
    async with embedded_target(context_per_slot=1536) as made:
        yield made


async def test_a_continuation_reads_only_what_is_new(target: EmbeddedTarget) -> None:
    first = await ask(target, start(user(RIVERS + "Tell me more.")), max_output_tokens=40, temperature=0)
    second = await ask(target, first.then(user("And lakes?")), max_output_tokens=16, temperature=0)
    assert first.usage.cached_tokens < 20
    assert second.usage.cached_tokens >= 0.9 * first.tokens
    third = await ask(target, second.then(user("And seas?")), max_output_tokens=16)
    assert third.usage.cached_tokens >= 0.9 * second.tokens


async def test_an_answer_that_ended_by_itself_is_continued_warm(target: EmbeddedTarget) -> None:
    first = await ask(target, start(user(RIVERS + "Say yes.")), temperature=0)
    assert first.end == Finished()
    second = await ask(target, first.then(user("Say no.")), max_output_tokens=16)
    assert second.usage.cached_tokens >= 0.9 * first.tokens


async def test_a_call_and_its_output_are_continued_warm(target: EmbeddedTarget) -> None:
    asked = {"tools": [WEATHER, SEARCH], "instructions": "You are a helpful assistant."}
    first = await ask(target, start(user(RIVERS + "Weather in Paris?")), **asked, tool_choice="required", temperature=0)
    [(call, _)] = first.calls
    history = first.then(call_output(call.call_id, '{"sky": "clear"}'))
    second = await ask(target, history, **asked, max_output_tokens=16)
    assert second.usage.cached_tokens >= 0.9 * first.tokens


async def test_forks_of_one_answer_are_all_warm(target: EmbeddedTarget) -> None:
    root = await ask(target, start(user(RIVERS + "Who are you?")), max_output_tokens=30, temperature=0)
    forks = [await ask(target, root.then(user(f"Tell me about {each}.")), max_output_tokens=16) for each in "ABC"]
    again = [await ask(target, fork.then(user("Go on.")), max_output_tokens=16) for fork in forks]
    assert all(fork.usage.cached_tokens >= 0.9 * root.tokens for fork in forks)
    assert all(two.usage.cached_tokens >= 0.9 * one.tokens for one, two in zip(forks, again, strict=True))


async def test_a_parked_lineage_is_woken(target: EmbeddedTarget) -> None:
    parked = await ask(target, start(user("First of all. " + RIVERS)), max_output_tokens=16)
    for number in range(target.settings.slots):
        await ask(target, start(user(f"Number {number}. " + RIVERS)), max_output_tokens=16)
    woken = await ask(target, parked.then(user("Go on.")), max_output_tokens=16)
    assert woken.usage.cached_tokens >= 0.9 * parked.tokens


async def test_a_lineage_is_parked_and_woken_although_connections_went_stale(
    target: EmbeddedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp closes kept connections when it likes, for example while a request is on its way."""
    stale: list[str] = []
    begin = CountedResponse.start

    async def start_late(response: CountedResponse, connection: Connection) -> CountedResponse:
        action = response.url.query.get("action")
        if action is not None and action not in stale:
            stale.append(action)
            raise StaleConnectionError
        return await begin(response, connection)

    monkeypatch.setattr(CountedResponse, "start", start_late)
    parked = await ask(target, start(user("Before all. " + RIVERS)), max_output_tokens=16, temperature=0)
    for number in range(target.settings.slots):
        await ask(target, start(user(f"Next is {number}. " + RIVERS)), max_output_tokens=16)
    woken = await ask(target, parked.then(user("Go on.")), max_output_tokens=16)
    assert stale == ["save", "restore"]
    assert woken.usage.cached_tokens >= 0.9 * parked.tokens


async def test_a_warm_up_prefills_and_says_nothing(target: EmbeddedTarget) -> None:
    history = start(user("Warm. " + RIVERS))
    warm_up = await ask(target, history, generate=False)
    assert (warm_up.text, warm_up.usage.output_tokens, warm_up.end) == ("", 0, Finished())
    turn = await ask(target, history, max_output_tokens=16)
    assert turn.usage.input_tokens == warm_up.usage.input_tokens
    assert turn.usage.cached_tokens >= warm_up.usage.input_tokens - 1


async def test_a_cancelled_turn_stops_and_keeps_its_kv(target: EmbeddedTarget) -> None:
    history = start(user("A long story, please. " + RIVERS))
    stream = stream_of(target, prompt_of(history, max_output_tokens=2000, temperature=0))
    async for batch in stream:
        if any(isinstance(event, TextDelta) for event in batch):
            break
    await stream.aclose()
    after = await ask(target, history, max_output_tokens=16)
    assert after.usage.cached_tokens >= after.usage.input_tokens - 1


async def test_turns_run_at_once(target: EmbeddedTarget) -> None:
    streams = [
        stream_of(target, prompt_of(start(user(f"Count to {number}.")), max_output_tokens=64, temperature=0))
        for number in range(target.settings.slots)
    ]
    for stream in streams:  # all have begun before any is read to its end
        assert await anext(stream) == [Accepted()]
    for stream in streams:
        *_, last = [event async for batch in stream for event in batch]
        assert isinstance(last, Finished)


async def test_max_output_tokens_makes_the_turn_incomplete(target: EmbeddedTarget) -> None:
    heard = await ask(target, start(user("Tell me a long story about a king.")), max_output_tokens=16, temperature=0)
    assert (heard.usage.output_tokens, heard.end) == (16, Finished("max_output_tokens"))


async def test_a_call_that_is_cut_is_incomplete(target: EmbeddedTarget) -> None:
    tool = function("note", {"text": {"type": "string", "minLength": 200}})
    heard = await ask(target, start(user("Note it.")), tools=[tool], tool_choice="required", max_output_tokens=16)
    assert heard.end == Finished("max_output_tokens")
    [(call, _)] = heard.calls
    assert call.name == "note"


async def test_required_calls_always_parse(target: EmbeddedTarget) -> None:
    async def ask_for_call(number: int) -> Heard:
        history = start(user(f"Question {number}."))
        return await ask(target, history, tools=[WEATHER, SEARCH, SHELL], tool_choice="required")

    for heard in await asyncio.gather(*(ask_for_call(number) for number in range(TRIES))):
        [(call, arguments)] = heard.calls
        assert (heard.text, heard.end) == ("", Finished())
        if call.name == "get_weather":
            assert set(json.loads(arguments)) == {"city", "unit"}
        elif call.name == "search":
            assert isinstance(json.loads(arguments)["query"], str)
        else:
            assert (call.name, call.kind) == ("shell", "custom")


@pytest.mark.parametrize("tool", [WEATHER, SHELL], ids=["function", "custom"])
async def test_a_named_tool_is_the_one_that_is_called(target: EmbeddedTarget, tool: dict[str, object]) -> None:
    choice = {"type": tool["type"], "name": tool["name"]}
    heard = await ask(target, start(user("Hello.")), tools=[WEATHER, SEARCH, SHELL], tool_choice=choice)
    [(call, _)] = heard.calls
    assert (call.name, call.kind) == (tool["name"], tool["type"])


async def test_json_schema_answers_always_parse(target: EmbeddedTarget) -> None:
    answer_format = _format({"name": {"type": "string"}, "age": {"type": "integer"}})

    async def invent(number: int) -> Heard:
        return await ask(target, start(user(f"Invent person {number}.")), text={"format": answer_format})

    for heard in await asyncio.gather(*(invent(number) for number in range(TRIES))):
        assert heard.end == Finished()
        made = json.loads(heard.text)
        assert [type(made[name]) for name in ("name", "age")] == [str, int]


async def test_an_answer_that_could_go_on_for_ever_comes_to_an_end(target: EmbeddedTarget) -> None:
    answer_format = _format({"words": {"type": "array", "items": {"type": "string"}, "minItems": 10}})
    heard = await ask(target, start(user("Repeat a for ever.")), text={"format": answer_format})
    assert heard.end == Finished()
    assert len(json.loads(heard.text)["words"]) >= 10


async def test_a_json_object_answer_parses(target: EmbeddedTarget) -> None:
    heard = await ask(
        target, start(user("Describe a cat as JSON.")), temperature=0, text={"format": {"type": "json_object"}}
    )
    assert heard.end == Finished()
    assert isinstance(json.loads(heard.text), dict)


async def test_logprobs_come_with_the_text(target: EmbeddedTarget) -> None:
    asked = {"include": ["message.output_text.logprobs"], "top_logprobs": 2, "max_output_tokens": 16}
    heard = await ask(target, start(user("Hello.")), **asked)
    deltas = [event for event in heard.events if isinstance(event, TextDelta)]
    assert all(delta.logprobs and len(delta.logprobs[0].top_logprobs) == 2 for delta in deltas)


async def test_a_prompt_that_does_not_fit_is_refused_with_numbers(target: EmbeddedTarget) -> None:
    error = _error_of(await ask(target, start(user("word " * 5000))))
    assert error.code == "context_length_exceeded"
    assert str(target.context_tokens) in error.message


async def test_an_image_is_refused(target: EmbeddedTarget) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    message = encode_item({"type": "message", "role": "user", "content": [image]})
    assert _error_of(await ask(target, start(message))).code == "unsupported_content"


async def test_a_schema_that_cannot_be_enforced_is_refused(target: EmbeddedTarget) -> None:
    answer_format = {"type": "json_schema", "name": "bad", "schema": {"type": "no such type"}}
    assert _error_of(await ask(target, start(user("Hello.")), text={"format": answer_format})).code == "invalid_value"


async def test_a_tool_that_cannot_be_enforced_is_refused(target: EmbeddedTarget) -> None:
    tool = function("odd", {"a": {"type": "no such type"}})
    heard = await ask(target, start(user("Hello.")), tools=[tool], tool_choice="required")
    assert (_error_of(heard).code, heard.text) == ("invalid_value", "")


@pytest.mark.parametrize("choice", ["auto", "required"])
async def test_a_schema_beyond_the_models_numbers_is_refused_by_name(target: EmbeddedTarget, choice: str) -> None:
    schema = {"type": "integer", "minimum": 10**18 * 15}
    for asked in (
        {"text": {"format": _format({"a": schema})}},
        {"tools": [function("odd", {"a": schema})], "tool_choice": choice},
    ):
        error = _error_of(await ask(target, start(user("Hello.")), **asked))
        assert (error.code, error.status) == ("invalid_value", 400)
        assert error.param == ("tools" if "tools" in asked else "text.format")


async def test_a_schema_as_deep_as_a_request_may_be_is_enforced(target: EmbeddedTarget) -> None:
    deep: dict[str, object] = {"type": "string"}
    for _ in range(90):
        deep = {"type": "object", "properties": {"a": deep}, "required": ["a"]}
    heard = await ask(target, start(user("Hello.")), text={"format": _format({"a": deep})}, max_output_tokens=20)
    assert isinstance(heard.end, Finished)
    assert heard.text.lstrip().startswith("{")


async def test_bounds_beyond_the_models_numbers_are_enforced_as_far_as_it_counts(target: EmbeddedTarget) -> None:
    schema = {"type": "integer", "minimum": 1, "maximum": 10**20}
    heard = await ask(target, start(user("A number?")), text={"format": _format({"a": schema})}, max_output_tokens=60)
    assert isinstance(json.loads(heard.text)["a"], int)
    assert json.loads(heard.text)["a"] >= 1


async def test_a_warm_up_may_have_nothing_but_tools(target: EmbeddedTarget) -> None:
    heard = await ask(target, None, tools=[WEATHER], generate=False)
    assert (heard.end, heard.usage.output_tokens) == (Finished(), 0)
    assert heard.usage.input_tokens > 0


async def test_a_warm_up_may_have_nothing_at_all(target: EmbeddedTarget) -> None:
    heard = await ask(target, None, generate=False)
    assert heard.end == Finished()


async def test_a_killed_process_fails_the_turn_and_is_replaced(target: EmbeddedTarget) -> None:
    history = start(user("Before the crash. " + RIVERS))
    stream = stream_of(target, prompt_of(history, max_output_tokens=2000, temperature=0))
    events = [event for batch in [await anext(stream)] for event in batch]
    assert target.child_pid is not None
    os.kill(target.child_pid, signal.SIGKILL)
    events += [event async for batch in stream for event in batch]
    last = events[-1]
    assert isinstance(last, Failed)
    assert last.error.code == "model_error"
    after = await ask(target, history, max_output_tokens=16)
    assert isinstance(after.end, Finished)
    assert after.usage.cached_tokens < 20


async def test_a_turn_that_starts_while_the_process_is_dead_waits_for_the_next_one(target: EmbeddedTarget) -> None:
    assert target.child_pid is not None
    os.kill(target.child_pid, signal.SIGKILL)
    heard = await ask(target, start(user("Hello.")), max_output_tokens=16)
    assert isinstance(heard.end, Finished)


async def test_a_process_that_dies_of_the_same_prompt_again_fails_its_turn_only(
    target: EmbeddedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_answer = CountedResponse.start

    async def die_first(response: CountedResponse, connection: Connection) -> CountedResponse:
        assert target.child_pid is not None
        os.kill(target.child_pid, signal.SIGKILL)
        return await start_answer(response, connection)

    monkeypatch.setattr(CountedResponse, "start", die_first)
    heard = await ask(target, start(user("The prompt that it dies of.")), max_output_tokens=16)
    monkeypatch.undo()
    assert heard.events == [heard.end]
    assert _error_of(heard).code == "model_error"
    after = await ask(target, start(user("Hello.")), max_output_tokens=16)
    assert isinstance(after.end, Finished)


async def test_without_a_wait_for_restarts_turns_are_served_and_fail_at_once_when_none_runs() -> None:
    async with embedded_target(slots=1, context_per_slot=512, restart_wait_s=0.0) as target:
        assert isinstance((await ask(target, start(user("Hello.")), max_output_tokens=16)).end, Finished)
        stream = stream_of(target, prompt_of(start(user("Count.")), max_output_tokens=400))
        await anext(stream)
        assert target.child_pid is not None
        os.kill(target.child_pid, signal.SIGKILL)
        last = [event async for batch in stream for event in batch][-1]
        assert isinstance(last, Failed)
        assert last.error.code == "model_error"
        assert _error_of(await ask(target, start(user("Hello.")))).code == "server_is_overloaded"


async def test_lineages_that_were_parked_survive_a_crash() -> None:
    async with embedded_target(slots=1) as target:
        parked = await ask(target, start(user("First of all. " + RIVERS)), max_output_tokens=16)
        await ask(target, start(user("Then. " + RIVERS)), max_output_tokens=16)
        assert target.child_pid is not None
        os.kill(target.child_pid, signal.SIGKILL)
        woken = await ask(target, parked.then(user("Go on.")), max_output_tokens=16)
        assert woken.usage.cached_tokens >= 0.9 * parked.tokens


async def test_a_template_that_knows_tools_shows_them_and_calls_are_enforced(tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text(TOOL_TEMPLATE)
    async with embedded_target(slots=1, chat_template=str(template)) as target:
        heard = await ask(target, start(user("Weather in Paris?")), tools=[WEATHER], tool_choice="required")
        [(call, _)] = heard.calls
        assert call.name == "get_weather"
        history = heard.then(call_output(call.call_id, "sunny"))
        after = await ask(target, history, tools=[WEATHER], max_output_tokens=16)
        assert isinstance(after.end, Finished)
        assert after.usage.cached_tokens >= heard.usage.input_tokens - 1


async def test_a_call_is_enforced_where_the_template_opens_the_thinking(tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text(TOOL_TEMPLATE.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}"))
    async with embedded_target(slots=1, chat_template=str(template)) as target:
        asked = {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "get_weather"}}
        heard = await ask(target, start(user("Weather in Paris?")), **asked)
        assert [call.name for call, _ in heard.calls] == ["get_weather"]
        assert not any(isinstance(event, ReasoningDelta) for event in heard.events)


def _format(properties: dict[str, object]) -> dict[str, object]:
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}


def _error_of(heard: Heard) -> ApiError:
    assert isinstance(heard.end, Failed)
    return heard.end.error
