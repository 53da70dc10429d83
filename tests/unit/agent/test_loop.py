"""What the agent makes of what the model does: when it goes on, when it is over, and what it says then."""

import json
from typing import Any

import msgspec
import pytest

from landline.agent import AgentSettings, CallReport, Endpoint, LocalTool, RunResult, ToolError, TurnFigures, run_agent
from landline.engine.catalog import DEFAULT_MODEL
from support.fakes.responses import Fail, FakeResponses, Reply


def look(arguments: str) -> str:
    path = msgspec.json.decode(arguments, type=dict[str, str])["path"]
    if path == "secret":
        raise ToolError("not for you")
    return f"seen {path}"


TOOLS = {"look": LocalTool("look", "Looks.", {"type": "object"}, look)}


class Notebook:
    """Keeps what the agent tells, in order."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def turn_started(self, number: int) -> None:
        self.told.append(f"turn {number}")

    def text(self, delta: str) -> None:
        self.told.append(delta)

    def note(self, text: str) -> None:
        self.told.append("note")

    def tool_ran(self, call: CallReport) -> None:
        self.told.append(call)

    def turn_ended(self, turn: TurnFigures) -> None:
        self.told.append(f"end {turn.number}")

    def run_ended(self, result: RunResult) -> None:
        self.told.append(result.outcome)


async def run(*steps: Reply | Fail, **settings: Any) -> tuple[RunResult, FakeResponses, list[object]]:
    notebook = Notebook()
    async with FakeResponses(*steps).serving() as fake:
        result = await run_agent(
            "why?",
            endpoint=Endpoint(base_url=fake.base_url),
            tools=TOOLS,
            settings=AgentSettings(**settings),
            reporter=notebook,
        )
    return result, fake, notebook.told


def look_at(path: str) -> Reply:
    return Reply(calls=[("look", json.dumps({"path": path}))])


def outputs(fake: FakeResponses) -> list[str]:
    return [item["output"] for item in fake.conversations[-1] if item["type"] == "function_call_output"]


async def test_run_is_told_in_order_and_text_as_it_comes() -> None:
    _, _, told = await run(look_at("a"), Reply("the two words"))
    assert told == [
        "turn 1",
        CallReport("look", '{"path": "a"}', 6, is_error=False),
        "end 1",
        "turn 2",
        "the two ",
        "words",
        "end 2",
        "answered",
    ]


async def test_all_calls_of_a_turn_are_run_in_order() -> None:
    both = Reply(calls=[("look", '{"path":"a"}'), ("look", '{"path":"b"}')])
    result, fake, _ = await run(both, Reply("done"))
    assert outputs(fake) == ["seen a", "seen b"]
    assert [call.output_bytes for call in result.turns[0].calls] == [6, 6]


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("look", "{oops", "error: malformed arguments"),
        ("look", '{"path":"secret"}', "error: not for you"),
        ("touch", "{}", "there are: look"),
    ],
)
async def test_call_that_cannot_be_run_is_told_to_the_model_and_the_run_goes_on(
    name: str, arguments: str, said: str
) -> None:
    result, fake, _ = await run(Reply(calls=[(name, arguments)]), Reply("done"))
    assert result.outcome == "answered"
    assert said in outputs(fake)[0]
    assert result.turns[0].calls[0].is_error


async def test_turns_without_an_answer_are_giving_up() -> None:
    result, _, _ = await run(look_at("a"), look_at("b"), look_at("c"), max_turns=3)
    assert result.outcome == "gave_up"
    assert result.message == "the model gave up: 3 turns without an answer"
    assert len(result.turns) == 3


async def test_last_turn_may_not_call_tools() -> None:
    result, fake, _ = await run(look_at("a"), look_at("b"), Reply("done"), max_turns=3)
    assert result.outcome == "answered"
    assert [json.loads(frame)["tool_choice"] for frame in fake.frames] == ["required", "auto", "none"]


async def test_repeated_call_is_followed_by_a_turn_without_tools_and_then_by_giving_up() -> None:
    same_again = Reply(calls=[("look", '{ "path":"a" }')])
    result, fake, _ = await run(look_at("a"), same_again, look_at("a"), Reply("never"))
    assert result.outcome == "gave_up"
    assert "asked 3 times for look" in result.message
    assert [json.loads(frame)["tool_choice"] for frame in fake.frames] == ["required", "auto", "none"]


async def test_repeats_may_be_allowed_for_tools_that_mean_it() -> None:
    result, _, _ = await run(*[look_at("a")] * 5, Reply("done"), max_same_calls=None)
    assert result.outcome == "answered"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply("half an", incomplete="max_output_tokens"), "broke off (max_output_tokens)"),
        (
            Reply(items=[{"type": "message", "role": "assistant", "content": [{"type": "refusal", "text": "", "refusal": "no"}]}]),
            "refused",
        ),
    ],
)  # fmt: skip
async def test_what_is_no_answer_is_giving_up(reply: Reply, message: str) -> None:
    result, _, _ = await run(reply)
    assert result.outcome == "gave_up"
    assert message in result.message


CALL_AS_TEXT = '{"name": "look", "arguments": {"path": "a"}}\nand so on'


@pytest.mark.parametrize(("text", "flaw"), [(" ", "an empty answer"), (CALL_AS_TEXT, "a tool call written as text")])
async def test_flawed_answer_is_asked_again_once_in_plain_words(text: str, flaw: str) -> None:
    result, fake, told = await run(Reply(text), Reply("done"))
    assert (result.outcome, result.answer) == ("answered", "done")
    assert "note" in told
    nudge = json.loads(fake.frames[1])
    assert nudge["tool_choice"] == "none"
    assert [item["role"] for item in nudge["input"]] == ["user"]
    result, _, _ = await run(Reply(text), Reply(text), Reply("never"))
    assert (result.outcome, result.message) == ("gave_up", f"the model gave up: {flaw}")


async def test_json_that_is_no_call_is_an_answer() -> None:
    result, _, _ = await run(Reply('{"name": "Landline"}'))
    assert result.outcome == "answered"


async def test_broken_off_answer_is_kept() -> None:
    result, _, _ = await run(Reply("half an", incomplete="max_output_tokens"))
    assert result.answer == "half an"


async def test_servers_error_is_failing_with_its_words() -> None:
    fail = Fail({"type": "error", "status": 400, "error": {"code": "context_length_exceeded", "message": "too long"}})
    result, _, told = await run(look_at("a"), fail)
    assert result.outcome == "failed"
    assert "too long" in result.message
    assert told[-2:] == ["end 2", "failed"]


async def test_totals_are_the_sums_of_the_turns() -> None:
    result, fake, _ = await run(look_at("a"), look_at("b"), Reply("done"))
    assert result.payload_bytes == sum(map(len, fake.frames))
    assert result.stateless_bytes == sum(turn.stateless_bytes for turn in result.turns)
    assert [turn.tokens.input for turn in result.turns if turn.tokens] == [10, 30, 50]
    assert [turn.tokens.cached for turn in result.turns if turn.tokens] == [0, 20, 40]


async def test_the_small_default_model_is_said_to_be_too_small_for_a_task() -> None:
    notebook = Notebook()
    async with FakeResponses(Reply("done")).serving() as fake:
        settings = AgentSettings(model=DEFAULT_MODEL, must_look_first=False)
        endpoint = Endpoint(base_url=fake.base_url)
        await run_agent("why?", endpoint=endpoint, tools=TOOLS, settings=settings, reporter=notebook)
    assert notebook.told[0] == "note"
    assert "note" not in (await run(Reply("done"), must_look_first=False))[2]
