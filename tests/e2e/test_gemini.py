"""Unmodified clients through Landline to Gemini, and Google's own client to the same fake, so that the fake is what it says."""

import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio
from google import genai
from google.genai import errors, types

from support.clients.codex import CODE_MODE_SLUG, CodexRun, run_codex
from support.fakes.gemini import API_KEY, FakeGeminiServer
from support.fakes.scenario import Received
from support.scripts.chat import Answer, Call, Refused, call, custom_call
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

CALLS = 20
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
DONE = Answer("All done.", reasoning="Nothing is left to do.")
WEATHER_TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeGeminiServer]:
    with FakeGeminiServer() as server:
        yield server


@pytest.fixture(scope="module")
def landline(fake: FakeGeminiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A Landline in front of the fake."""
    config = f"""
[targets.gemini]
dialect = "gemini"
base_url = "{fake.base_url}"
api_key_env = "LANDLINE_TEST_GEMINI_KEY"
[models."*"]
targets = ["gemini"]
"""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LANDLINE_TEST_GEMINI_KEY", API_KEY)
        with RunningServer(config, tmp_path_factory.mktemp("gemini")) as server:
            yield server


@pytest_asyncio.fixture
async def client(landline: RunningServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=landline.base_url, api_key="test-key", max_retries=0) as made:
        yield made


@pytest.fixture
def google(fake: FakeGeminiServer) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=fake.base_url.removesuffix("/v1beta"), api_version="v1beta")
    with genai.Client(api_key=API_KEY, http_options=options) as made:
        yield made


def _codex(landline: RunningServer, model: str, folder: Path, like: str = "") -> CodexRun:
    work_folder = folder / "work"
    work_folder.mkdir()
    return run_codex(
        "Do what is to be done.",
        base_url=landline.base_url,
        model=model,
        home=folder / "home",
        work_folder=work_folder,
        like=like,
    )


def _responses(received: Received) -> list[dict[str, Any]]:
    """The function responses of the newest content."""
    parts = received.body["contents"][-1]["parts"]
    return [part["functionResponse"] for part in parts if "functionResponse" in part]


def test_codex_makes_twenty_shell_calls_and_nothing_of_them_is_lost(
    landline: RunningServer, fake: FakeGeminiServer, tmp_path: Path
) -> None:
    scenario = fake.scenario([*(call("exec_command", cmd=f"echo number {number}") for number in range(CALLS)), DONE])
    run = _codex(landline, scenario.model, tmp_path)
    assert run.answer == "All done.", run.report
    scenario.assert_conversation()
    assert len(scenario.received) == CALLS + 1
    for number, received in enumerate(scenario.received[1:]):
        (response,) = _responses(received)
        assert f"number {number}" in response["response"]["output"]
    first, *_, last = scenario.received
    assert "Do what is to be done." in str(first.body["contents"])
    assert "<permissions instructions>" in first.body["systemInstruction"]["parts"][0]["text"]  # came with the warm-up
    assert first.body["tools"] == last.body["tools"]
    assert last.usage is not None
    assert last.usage["cachedContentTokenCount"] > 0.9 * last.usage["promptTokenCount"]


def test_codex_in_code_mode_calls_custom_tools(landline: RunningServer, fake: FakeGeminiServer, tmp_path: Path) -> None:
    script = "const r = await tools.exec_command({cmd: 'echo from code mode'}); text(r.output);"
    scenario = fake.scenario([custom_call("exec", script), custom_call("exec", script), DONE])
    run = _codex(landline, scenario.model, tmp_path, like=CODE_MODE_SLUG)
    assert run.answer == "All done.", run.report
    scenario.assert_conversation()
    assert "from code mode" in str(_responses(scenario.received[-1]))


async def test_parallel_calls_and_images_over_json(client: openai.AsyncOpenAI, fake: FakeGeminiServer) -> None:
    """The client keeps the conversation itself: the signatures travel in `encrypted_content`."""
    calls = tuple(Call("get_weather", {"city": city}) for city in ("Oslo", "Rome"))
    scenario = fake.scenario([Answer("Looking.", reasoning="Two cities.", calls=calls), Answer("Cold and warm."), DONE])
    settings: Any = {
        "model": scenario.model,
        "tools": [WEATHER_TOOL],
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "low", "summary": "auto"},
        "instructions": "Be brief.",
    }
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
    history: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "Weather?"}, image]}]
    first = await client.responses.create(input=history, **settings)
    made = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(item.arguments) for item in made] == [{"city": "Oslo"}, {"city": "Rome"}]
    thought = next(item for item in first.output if item.type == "reasoning")
    assert "".join(part.text for part in thought.summary) == "Two cities."
    assert first.usage is not None
    assert first.usage.output_tokens_details.reasoning_tokens == 16
    history += [item.model_dump(exclude_none=True) for item in first.output]
    seen = [{"type": "input_text", "text": "fine"}, image]
    history += [{"type": "function_call_output", "call_id": item.call_id, "output": seen} for item in reversed(made)]
    second = await client.responses.create(input=history, **settings)
    assert second.output_text == "Cold and warm."
    assert second.usage is not None
    assert second.usage.input_tokens_details.cached_tokens > 0
    history += [item.model_dump(exclude_none=True) for item in second.output]
    await client.responses.create(input=[*history, {"role": "user", "content": "Thanks."}], **settings)
    scenario.assert_conversation()
    asked, answered, _ = scenario.received
    assert asked.body["contents"][0]["parts"][1] == {"inlineData": {"mimeType": "image/png", "data": PNG}}
    assert asked.body["generationConfig"]["thinkingConfig"]["includeThoughts"] is True
    oslo, rome = _responses(answered)
    assert [oslo["id"], rome["id"]] == [item.call_id for item in made]
    assert oslo["parts"] == [{"inlineData": {"mimeType": "image/png", "data": PNG}}]


async def test_what_is_stored_is_continued_with_its_signatures(
    client: openai.AsyncOpenAI, fake: FakeGeminiServer
) -> None:
    scenario = fake.scenario([call("get_weather", city="Oslo"), DONE])
    settings: Any = {"model": scenario.model, "tools": [WEATHER_TOOL]}
    first = await client.responses.create(input="Weather?", **settings)
    made = next(item for item in first.output if item.type == "function_call")
    output: Any = [{"type": "function_call_output", "call_id": made.call_id, "output": "fine"}]
    second = await client.responses.create(input=output, previous_response_id=first.id, **settings)
    assert second.output_text == "All done."
    scenario.assert_conversation()


async def test_a_client_that_drops_what_was_signed_is_served(
    client: openai.AsyncOpenAI, fake: FakeGeminiServer
) -> None:
    history: list[Any] = [
        {"role": "user", "content": "Weather?"},
        {"type": "function_call", "call_id": "mine", "name": "get_weather", "arguments": '{"city":"Oslo"}'},
        {"type": "function_call_output", "call_id": "mine", "output": "fine"},
    ]
    scenario = fake.scenario([DONE])
    response = await client.responses.create(model=scenario.model, input=history, tools=[WEATHER_TOOL], store=False)
    assert response.output_text == "All done."


async def test_errors_keep_their_meaning(client: openai.AsyncOpenAI, fake: FakeGeminiServer) -> None:
    scenario = fake.scenario([Refused(429, "Too fast.", headers={"retry-after": "7"}), Answer("Half", cut_after=1)])
    with pytest.raises(openai.RateLimitError) as limited:
        await client.responses.create(model=scenario.model, input="hi")
    assert limited.value.response.headers["retry-after"] == "7"
    with pytest.raises(openai.InternalServerError, match="broke off"):
        await client.responses.create(model=scenario.model, input="hi")
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="gemini-0-nobody", input="hi")


async def test_contexts_are_counted_by_gemini(client: openai.AsyncOpenAI, fake: FakeGeminiServer) -> None:
    scenario = fake.scenario([DONE])
    counted = await client.responses.input_tokens.count(model=scenario.model, input="hi", tools=[WEATHER_TOOL])
    response = await client.responses.create(model=scenario.model, input="hi", tools=[WEATHER_TOOL])
    assert response.usage is not None
    assert counted.input_tokens == response.usage.input_tokens
    assert len(scenario.received) == 1


# Google's own client.


def test_googles_client_understands_the_fake(google: genai.Client, fake: FakeGeminiServer) -> None:
    calls = (Call("get_weather", {"city": "Oslo"}), Call("get_weather", {"city": "Rome"}))
    scenario = fake.scenario([Answer("Looking.", reasoning="Two cities.", calls=calls), DONE])
    parameters = WEATHER_TOOL["parameters"]
    declared = types.FunctionDeclaration(name="get_weather", parameters_json_schema=parameters)
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declared])],
        thinking_config=types.ThinkingConfig(include_thoughts=True),
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    asked: list[types.Content] = [types.Content(role="user", parts=[types.Part(text="Weather?")])]
    chunks = list(google.models.generate_content_stream(model=scenario.model, contents=asked, config=config))
    parts = [part for chunk in chunks for part in _parts(chunk)]
    assert "".join(part.text or "" for part in parts if part.thought) == "Two cities."
    assert "".join(part.text or "" for part in parts if not part.thought) == "Looking."
    made = [part.function_call for part in parts if part.function_call]
    assert [each.args for each in made] == [{"city": "Oslo"}, {"city": "Rome"}]
    last = chunks[-1]
    assert last.candidates is not None
    assert last.candidates[0].finish_reason == types.FinishReason.STOP
    assert last.usage_metadata is not None
    assert last.usage_metadata.thoughts_token_count == 16
    answers = [
        types.Part(function_response=types.FunctionResponse(id=each.id, name=each.name, response={"output": "fine"}))
        for each in made
    ]
    said = types.Content(role="model", parts=[part for part in parts if not part.thought])
    contents = [*asked, said, types.Content(role="user", parts=answers)]
    assert google.models.generate_content(model=scenario.model, contents=contents, config=config).text == "All done."
    assert [each.refused for each in scenario.received] == [None, None]


def test_googles_client_is_refused_as_google_refuses(google: genai.Client, fake: FakeGeminiServer) -> None:
    scenario = fake.scenario([DONE])
    answer = types.Part(function_response=types.FunctionResponse(id="a", name="f", response={"output": "x"}))
    lone = [types.Content(role="user", parts=[answer])]
    with pytest.raises(errors.ClientError, match="number of function response parts") as refused:
        google.models.generate_content(model=scenario.model, contents=lone)
    assert refused.value.status == "INVALID_ARGUMENT"
    call_part = types.Part(function_call=types.FunctionCall(id="a", name="f", args={}))
    unsigned = [
        types.Content(role="user", parts=[types.Part(text="go")]),
        types.Content(role="model", parts=[call_part]),
        types.Content(role="user", parts=[answer]),
    ]
    with pytest.raises(errors.ClientError, match="missing a thought_signature"):
        google.models.generate_content(model=scenario.model, contents=unsigned)


def _parts(chunk: types.GenerateContentResponse) -> list[types.Part]:
    content = chunk.candidates[0].content if chunk.candidates else None
    return (content.parts or []) if content is not None else []
