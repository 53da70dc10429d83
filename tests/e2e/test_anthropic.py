"""The Messages dialect behind a real Landline: Codex and the OpenAI client in front, a strict fake of Anthropic's API behind."""

import base64
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.responses import ParsedResponse
from pydantic import BaseModel

from support.clients.codex import CODE_MODE_SLUG, CodexRun, run_codex
from support.conversations.anthropic import build
from support.conversations.chat import message
from support.fakes.anthropic import API_KEY, FakeAnthropicServer, assert_reads_cache
from support.fakes.scenario import Scenario
from support.oracles.anthropic_sdk import read_stream
from support.scripts.chat import Answer, Call, Refused, call, custom_call
from support.servers.running import RunningServer
from support.strict.anthropic import without_marks

CALLS = 20
WARM = "claude-warm"
BUDGETED = "claude-budgeted"
LIMITED = "claude-limited"
_PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
_SHELL: Any = {
    "type": "function",
    "name": "shell",
    "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}},
}


@pytest.fixture(scope="module")
def claude() -> Iterator[FakeAnthropicServer]:
    with FakeAnthropicServer() as server:
        yield server


@pytest.fixture(scope="module")
def landline_to_claude(
    claude: FakeAnthropicServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    settings = f'dialect = "anthropic"\nbase_url = "{claude.base_url}"\napi_key_env = "LANDLINE_TEST_ANTHROPIC_KEY"\n'
    config = f"""
[targets.claude]
{settings}
[targets.prefilling]
{settings}warm_up = "prefill"
[targets.budgeted]
{settings}thinking = "budget"
[targets.limited]
{settings}
[models."*"]
targets = ["claude"]
[models."{WARM}"]
targets = ["prefilling"]
[models."{BUDGETED}"]
targets = ["budgeted"]
[models."{LIMITED}"]
targets = ["limited"]
"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANDLINE_TEST_ANTHROPIC_KEY", API_KEY)
        with RunningServer(config, tmp_path_factory.mktemp("to-claude")) as server:
            yield server


@pytest.fixture
async def client(landline_to_claude: RunningServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="x", base_url=landline_to_claude.base_url, max_retries=0) as made:
        yield made


@pytest.mark.client
def test_codex_makes_twenty_shell_calls_and_the_cache_is_read_each_turn(
    claude: FakeAnthropicServer, landline_to_claude: RunningServer, tmp_path: Path
) -> None:
    scenario = claude.scenario([*(_shell_step(number) for number in range(CALLS)), Answer("All done.")])
    run = _codex(landline_to_claude, scenario, tmp_path)
    assert run.answer == "All done.", run.report
    _assert_whole_run(scenario, CALLS)


@pytest.mark.client
def test_codex_plays_sealed_thinking_back_over_http(
    claude: FakeAnthropicServer, landline_to_claude: RunningServer, tmp_path: Path
) -> None:
    scenario = claude.scenario([*(_shell_step(number) for number in range(4)), Answer("All done.")])
    run = _codex(landline_to_claude, scenario, tmp_path, websockets=False)
    assert run.answer == "All done.", run.report
    _assert_whole_run(scenario, 4)


@pytest.mark.client
def test_codex_calls_a_custom_tool_in_a_namespace(
    claude: FakeAnthropicServer, landline_to_claude: RunningServer, tmp_path: Path
) -> None:
    script = "const r = await tools.exec_command({cmd: 'echo from code mode'}); text(r.output);"
    scenario = claude.scenario([custom_call("exec", script), custom_call("exec", script), Answer("All done.")])
    run = _codex(landline_to_claude, scenario, tmp_path, like=CODE_MODE_SLUG)
    assert run.answer == "All done.", run.report
    scenario.assert_conversation()
    assert "from code mode" in json.dumps(scenario.received[-1].messages[-1])
    assert scenario.received[1].messages[-2]["content"][-1]["input"] == {"input": script}


async def test_parallel_calls_and_images_go_there_and_back(
    claude: FakeAnthropicServer, client: openai.AsyncOpenAI
) -> None:
    calls = tuple(Call("shell", {"cmd": f"look {number}"}) for number in range(3))
    scenario = claude.scenario(
        [Answer("Looking.", reasoning="Three at once.", calls=calls), Answer("Two cats and a dog.")]
    )
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{_PIXEL}", "detail": "auto"}
    asked: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "What is there?"}, picture]}]
    options: dict[str, Any] = {
        "model": scenario.model,
        "tools": [_SHELL],
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "high", "summary": "auto"},
    }
    first = await client.responses.create(input=asked, **options)
    made = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(item.arguments)["cmd"] for item in made] == ["look 0", "look 1", "look 2"]
    outputs: list[Any] = [
        {"type": "function_call_output", "call_id": item.call_id, "output": [picture]} for item in made
    ]
    following: list[Any] = [*asked, *first.output, *outputs]
    second = await client.responses.create(input=following, **options)
    assert second.output_text == "Two cats and a dog."
    scenario.assert_conversation()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PIXEL}}
    sent = without_marks(scenario.received[1].messages)
    assert sent[0]["content"] == [{"type": "text", "text": "What is there?"}, image]
    assert [block["content"] for block in sent[2]["content"]] == [[image]] * 3
    assert sent[1]["content"][0]["thinking"] == "Three at once."
    assert_reads_cache(*scenario.received)


async def test_usage_is_what_was_read_written_and_reused(
    claude: FakeAnthropicServer, client: openai.AsyncOpenAI
) -> None:
    scenario = claude.scenario([Answer("One.", reasoning="Hm."), Answer("Two.")])
    first = await client.responses.create(model=scenario.model, input="Count.", instructions="Be brief.")
    second = await client.responses.create(model=scenario.model, input="On.", previous_response_id=first.id, instructions="Be brief.")  # fmt: skip
    for response, received in zip((first, second), scenario.received, strict=True):
        counted = received.usage
        assert response.usage is not None
        assert counted is not None
        details = response.usage.input_tokens_details
        assert details.cached_tokens == counted["cache_read_input_tokens"]
        assert details.cache_write_tokens == counted["cache_creation_input_tokens"]
        assert (
            response.usage.input_tokens == details.cached_tokens + details.cache_write_tokens + counted["input_tokens"]
        )
        assert response.usage.output_tokens == counted["output_tokens"]
        assert (
            response.usage.output_tokens_details.reasoning_tokens == counted["output_tokens_details"]["thinking_tokens"]
        )
    assert_reads_cache(*scenario.received)


async def test_thinking_is_a_summary_and_is_sealed_if_asked_for(
    claude: FakeAnthropicServer, client: openai.AsyncOpenAI
) -> None:
    scenario = claude.scenario([Answer("Done.", reasoning="Let me see.")] * 2)
    wanted = {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    sealed = await client.responses.create(model=scenario.model, input="Go.", extra_body=wanted)
    plain = await client.responses.create(model=scenario.model, input="Go.")
    for response, is_sealed in ((sealed, True), (plain, False)):
        thought = response.output[0]
        assert thought.type == "reasoning"
        assert [part.text for part in thought.summary] == ["Let me see."]
        assert bool(thought.encrypted_content) is is_sealed
    assert scenario.received[0].body["thinking"]["display"] == "summarized"


async def test_a_tool_loop_with_a_thinking_budget_keeps_the_rules(
    claude: FakeAnthropicServer, client: openai.AsyncOpenAI
) -> None:
    steps = [_loop_step(reasoning="First."), _loop_step(), _loop_step(reasoning="#Third."), Answer("Done.")]
    scenario = claude.scenario(steps, model=BUDGETED)
    new_input: Any = "Go."
    previous: str | None = None
    for _ in steps:
        response = await client.responses.create(
            model=BUDGETED, input=new_input, previous_response_id=previous, tools=[_SHELL], reasoning={"effort": "low"}
        )
        previous = response.id
        calls = [item for item in response.output if item.type == "function_call"]
        new_input = [{"type": "function_call_output", "call_id": item.call_id, "output": "ok"} for item in calls]
    assert ["thinking" in received.body for received in scenario.received] == [True, True, False, True]
    scenario.assert_conversation()


async def test_structured_output_is_parsed(claude: FakeAnthropicServer, client: openai.AsyncOpenAI) -> None:
    class Point(BaseModel):
        x: int
        y: int

    scenario = claude.scenario([Answer('{"x": 1, "y": 2}')])
    response: ParsedResponse[Point] = await client.responses.parse(model=scenario.model, input="Go.", text_format=Point)
    assert response.output_parsed == Point(x=1, y=2)
    assert scenario.received[0].body["output_config"]["format"]["schema"]["required"] == ["x", "y"]


async def test_a_refusal_is_one(claude: FakeAnthropicServer, client: openai.AsyncOpenAI) -> None:
    scenario = claude.scenario([Answer("Well, ", refusal="This could enable harm.")])
    response = await client.responses.create(model=scenario.model, input="Go.")
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "content_filter")  # type: ignore[union-attr]
    said = response.output[0]
    assert said.type == "message"
    assert [part.type for part in said.content] == ["output_text", "refusal"]


async def test_a_rate_limit_keeps_its_wait(claude: FakeAnthropicServer, client: openai.AsyncOpenAI) -> None:
    claude.scenario([Refused(429, "Slow.", "rate_limit_error", headers={"retry-after": "7"})], model=LIMITED)
    with pytest.raises(openai.RateLimitError) as raised:
        await client.responses.create(model=LIMITED, input="Go.")
    assert raised.value.response.headers["retry-after"] == "7"


async def test_an_overflow_is_the_clients(claude: FakeAnthropicServer, client: openai.AsyncOpenAI) -> None:
    scenario = claude.scenario([Refused(400, "prompt is too long: 9 > 8", "invalid_request_error")])
    with pytest.raises(openai.BadRequestError) as raised:
        await client.responses.create(model=scenario.model, input="Go.")
    assert raised.value.code == "context_length_exceeded"


async def test_a_stream_that_breaks_off_fails(claude: FakeAnthropicServer, client: openai.AsyncOpenAI) -> None:
    scenario = claude.scenario([Answer("This answer breaks off.", cut_after=5)])
    stream = await client.responses.create(model=scenario.model, input="Go.", stream=True)
    seen: list[str] = []
    with pytest.raises(openai.APIError, match="broke off"):
        seen.extend([event.type async for event in stream])
    assert "response.completed" not in seen


async def test_a_prompt_is_counted_without_being_run(claude: FakeAnthropicServer, client: openai.AsyncOpenAI) -> None:
    scenario = claude.scenario([Answer("Hi.")])
    counted = await client.responses.input_tokens.count(model=scenario.model, input="Go.", instructions="Be brief.")
    assert scenario.received == []
    response = await client.responses.create(model=scenario.model, input="Go.", instructions="Be brief.")
    assert response.usage is not None
    assert counted.input_tokens == response.usage.input_tokens


async def test_a_warm_up_fills_the_cache_if_the_target_wants_that(
    claude: FakeAnthropicServer, client: openai.AsyncOpenAI
) -> None:
    scenario = claude.scenario([Answer(), Answer("Hi.")], model=WARM)
    front: dict[str, Any] = {"model": WARM, "instructions": "Be brief.", "tools": [_SHELL]}
    warmed = await client.responses.create(input="Go.", extra_body={"prompt_cache_options": {"prewarm": True}}, **front)
    assert (warmed.output, warmed.status) == ([], "completed")
    await client.responses.create(input="Go.", **front)
    warm_up, first = scenario.received
    assert (warm_up.body["max_tokens"], warm_up.refused) == (0, None)
    assert first.usage is not None
    assert first.usage["cache_creation_input_tokens"] == 0
    assert first.usage["cache_read_input_tokens"] > 0


@pytest.mark.parametrize(
    "answer",
    [
        Answer("Hello there.", reasoning="Hm, let me think.", calls=(Call("f", {"a": "b"}), Call("f", {}))),
        Answer("Hello.", reasoning="#sealed"),
        Answer("", refusal="No."),
    ],
)
def test_anthropics_own_client_understands_the_fake(claude: FakeAnthropicServer, answer: Answer) -> None:
    """What the fake says is what real traffic looks like, and what we send is what the client sends."""
    scenario = claude.scenario([answer])
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    body = build([message("user", "hi")], tools=[tool], reasoning={"effort": "high"}, max_output_tokens=1000)
    read = read_stream(claude.base_url, {**body, "model": scenario.model}, key=API_KEY)
    (received,) = scenario.received
    assert received.reply is not None
    assert [block.to_dict() for block in read.content] == received.reply["content"]
    assert read.stop_reason == ("refusal" if answer.refusal else "tool_use" if answer.calls else "end_turn")
    assert read.usage.cache_creation_input_tokens == (received.usage or {})["cache_creation_input_tokens"]
    assert without_marks(received.body) == without_marks({**body, "model": scenario.model})


def _shell_step(number: int) -> Answer:
    """A shell call after thinking that is told, redacted, signed only, or not there."""
    thought = ("Step {}.", "#step {}", "-", "")[number % 4].format(number)
    return Answer(reasoning=thought, calls=(Call("exec_command", {"cmd": f"echo number {number}"}),))


def _loop_step(reasoning: str = "") -> Answer:
    return Answer(reasoning=reasoning, calls=call("shell", cmd="ls").calls)


def _codex(
    server: RunningServer, scenario: Scenario, folder: Path, *, websockets: bool = True, like: str = ""
) -> CodexRun:
    work_folder = folder / "work"
    work_folder.mkdir()
    return run_codex(
        "Do what is to be done.",
        base_url=server.base_url,
        model=scenario.model,
        home=folder / "home",
        work_folder=work_folder,
        websockets=websockets,
        like=like,
    )


def _assert_whole_run(scenario: Scenario, calls: int) -> None:
    """The model saw the conversation and nothing else, each output once and in its turn, and read all that was cached."""
    scenario.assert_conversation()
    assert len(scenario.received) == calls + 1
    first = json.dumps(scenario.received[0].body)
    assert "Do what is to be done." in first
    # Over a socket the developer message comes with the warm-up, and never again.
    assert ["<skills_instructions>" in block["text"] for block in scenario.received[0].body["system"]] == [False, True]
    assert "<environment_context>" in first
    for number, (earlier, later) in enumerate(itertools.pairwise(scenario.received)):
        assert f"number {number}" in json.dumps(later.messages[-1])
        assert_reads_cache(earlier, later)
