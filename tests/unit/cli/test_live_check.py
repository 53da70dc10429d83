"""`check --live` tells what works at a target from what the target really does."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import unused_port
from typer.testing import CliRunner

from landline.cli import app
from landline.cli.live_check import Attempt, list_attempts, reasons, results_table, try_all
from landline.cli.live_probes import CHECKS, Check, CheckResult
from landline.config import (
    AnthropicTargetSettings,
    ChatCompletionsTargetSettings,
    Config,
    GeminiTargetSettings,
    ModelSettings,
    ResponsesTargetSettings,
    ScriptedTargetSettings,
    TargetSettings,
)
from support.fakes.anthropic import API_KEY as ANTHROPIC_KEY
from support.fakes.anthropic import FakeAnthropicServer
from support.fakes.chat import FakeChatServer
from support.fakes.gemini import API_KEY as GEMINI_KEY
from support.fakes.gemini import FakeGeminiServer
from support.fakes.responses import FakeResponses, Received, Silence
from support.fakes.scenario import Received as ReceivedChat
from support.fakes.scenario import Scenario
from support.scripts.chat import Answer, Call, Refused, Step, call

KEY = "sk-secret-0123456789"


@pytest.fixture(scope="module")
def chat_server() -> Iterator[FakeChatServer]:
    with FakeChatServer() as server:
        yield server


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVE_KEY", KEY)


def answer_chat(received: ReceivedChat) -> Step:
    """A model that does all it is asked."""
    if received.body.get("tools") and received.messages[-1]["role"] != "tool":
        return call("get_weather", city="Oslo")
    return Answer(text="one, two, three, four")


def answer_responses(received: Received) -> Step:
    if received.body.get("tools") and received.conversation[-1]["type"] != "function_call_output":
        return call("get_weather", city="Oslo")
    return Answer(text="one, two, three, four")


def config_of(target: TargetSettings, model: str = "m") -> Config:
    return Config(targets={"t": target}, models={model: ModelSettings(targets=["t"])})


async def found(config: Config, *, timeout_s: float = 20.0, model: str | None = None) -> dict[Check, CheckResult]:
    [attempt] = attempts = list_attempts(config, model)
    await try_all(config, attempts, timeout_s=timeout_s)
    assert attempt.is_over
    return attempt.found


async def ask_chat(scenario: Scenario, server: FakeChatServer) -> dict[Check, CheckResult]:
    target = ChatCompletionsTargetSettings(base_url=server.base_url, api_key_env="LIVE_KEY")
    return await found(config_of(target, scenario.model))


async def ask_socket(server: FakeResponses) -> dict[Check, CheckResult]:
    async with server.serving():
        return await found(config_of(ResponsesTargetSettings(base_url=server.base_url, transport="websocket")))


async def test_a_chat_server_that_does_all_passes_every_check(chat_server: FakeChatServer) -> None:
    verdicts = await ask_chat(chat_server.scenario(answer_chat), chat_server)
    assert list(verdicts) == [check for check in CHECKS if check != "socket"]
    assert {verdict.mark for verdict in verdicts.values()} == {"yes"}
    assert re.fullmatch(r"[\d,]+ of [\d,]+", verdicts["cache"].figure)
    assert re.fullmatch(r"[\d,]+ in, [\d,]+ out", verdicts["usage"].figure)


async def test_a_refused_key_ends_the_checks_and_is_not_told(chat_server: FakeChatServer) -> None:
    refusal = Refused(401, f"Incorrect API key provided: {KEY}", code="invalid_api_key")
    verdicts = await ask_chat(chat_server.scenario([refusal]), chat_server)
    assert list(verdicts) == ["answers"]
    assert verdicts["answers"].mark == "no"
    assert "upstream_auth_error" in verdicts["answers"].reason
    assert KEY not in verdicts["answers"].reason


async def test_a_server_without_forced_calls_is_left_to_choose(chat_server: FakeChatServer) -> None:
    def choose(received: ReceivedChat) -> Step:
        is_forced = received.body.get("tool_choice") == "required"
        return Refused(400, "tool_choice must be auto") if is_forced else answer_chat(received)

    verdict = (await ask_chat(chat_server.scenario(choose), chat_server))["tool call"]
    assert (verdict.mark, verdict.reason) == ("yes", "only where the model chooses to; `required` is not obeyed")


async def test_a_model_that_makes_no_call_is_not_broken(chat_server: FakeChatServer) -> None:
    scenario = chat_server.scenario(lambda received: Answer(text="I cannot do that."))
    assert (await ask_chat(scenario, chat_server))["tool call"].mark == "lacks"


async def test_a_server_that_refuses_tools_does_not_work(chat_server: FakeChatServer) -> None:
    def choose(received: ReceivedChat) -> Step:
        return Refused(400, "no tools here") if received.body.get("tools") else Answer(text="one, two, three")

    verdict = (await ask_chat(chat_server.scenario(choose), chat_server))["tool call"]
    assert verdict.mark == "no"
    assert "no tools here" in verdict.reason


async def test_a_server_that_refuses_the_output_of_its_call_does_not_work(chat_server: FakeChatServer) -> None:
    def choose(received: ReceivedChat) -> Step:
        is_output = received.messages[-1]["role"] == "tool"
        return Refused(400, "property 'x' is unsupported") if is_output else answer_chat(received)

    verdict = (await ask_chat(chat_server.scenario(choose), chat_server))["tool call"]
    assert verdict.mark == "no"
    assert verdict.reason.startswith("the call came, but its output was refused: ")


async def test_arguments_that_are_not_the_tools_do_not_work(chat_server: FakeChatServer) -> None:
    def choose(received: ReceivedChat) -> Step:
        step = answer_chat(received)
        return call("get_weather", town="Oslo") if isinstance(step, Answer) and step.calls else step

    verdict = (await ask_chat(chat_server.scenario(choose), chat_server))["tool call"]
    assert (verdict.mark, verdict.reason) == (
        "no",
        'the call\'s arguments do not fit its parameters: \'{"town": "Oslo"}\'',
    )


async def test_what_is_not_counted_or_cached_is_lacking(chat_server: FakeChatServer) -> None:
    nothing = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}

    def choose(received: ReceivedChat) -> Step:
        step = answer_chat(received)
        return Answer(text="one", delta_chars=100, usage=nothing) if isinstance(step, Answer) and step.text else step

    verdicts = await ask_chat(chat_server.scenario(choose), chat_server)
    assert verdicts["streams"] == CheckResult("lacks", "the answer came in one piece")
    assert verdicts["cache"] == CheckResult("lacks", "none of the second turn's 9 tokens were reported as cached")


async def test_anthropic_passes_every_check_with_what_it_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(received: ReceivedChat) -> Step:
        last = received.messages[-1]["content"]
        is_answered = any(isinstance(block, dict) and block["type"] == "tool_result" for block in last)
        if received.body.get("tools") and not is_answered:
            return Answer(calls=(Call("get_weather", {"city": "Oslo"}),), reasoning="Let me see.")
        return Answer(text="one, two, three, four")

    monkeypatch.setenv("LIVE_KEY", ANTHROPIC_KEY)
    with FakeAnthropicServer() as server:
        model = server.scenario(choose).model
        verdicts = await found(
            config_of(AnthropicTargetSettings(base_url=server.base_url, api_key_env="LIVE_KEY"), model)
        )
    assert {check: verdict.mark for check, verdict in verdicts.items()} == {
        check: "yes" for check in CHECKS if check != "socket"
    }


async def test_gemini_passes_every_check_with_what_it_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(received: ReceivedChat) -> Step:
        is_answered = "functionResponse" in received.body["contents"][-1]["parts"][0]
        if received.body.get("tools") and not is_answered:
            return call("get_weather", city="Oslo")
        return Answer(text="one, two, three, four")

    monkeypatch.setenv("LIVE_KEY", GEMINI_KEY)
    with FakeGeminiServer() as server:
        model = server.scenario(choose).model
        verdicts = await found(config_of(GeminiTargetSettings(base_url=server.base_url, api_key_env="LIVE_KEY"), model))
    assert {check: verdict.mark for check, verdict in verdicts.items()} == {
        check: "yes" for check in CHECKS if check != "socket"
    }


async def test_deltas_over_a_socket_are_seen() -> None:
    server = FakeResponses(choose=answer_responses)
    verdicts = await ask_socket(server)
    assert verdicts["socket"] == CheckResult("yes", figure="deltas")
    assert {verdict.mark for verdict in verdicts.values()} == {"yes"}
    assert {each.transport for each in server.received} == {"websocket"}


async def test_a_server_that_upgrades_nothing_does_not_work_as_configured() -> None:
    verdicts = await ask_socket(FakeResponses(choose=answer_responses, upgrade_status=426))
    assert verdicts["answers"].mark == "yes"
    assert verdicts["socket"] == CheckResult("no", "no socket was to be had; turns go over HTTP")


async def test_a_server_that_forgets_gets_every_turn_in_full() -> None:
    server = FakeResponses()

    def forget(received: Received) -> Step:
        server.forgets = True
        return answer_responses(received)

    server.choose = forget
    assert (await ask_socket(server))["socket"].mark == "lacks"


async def test_silence_has_a_deadline() -> None:
    server = FakeResponses(Silence())
    async with server.serving():
        target = ResponsesTargetSettings(base_url=server.base_url)
        verdicts = await found(config_of(target), timeout_s=0.2)
    assert list(verdicts) == ["answers"]
    assert "no end within 0.2 s" in verdicts["answers"].reason


async def test_a_target_that_nothing_names_a_model_for_wants_one() -> None:
    config = config_of(ChatCompletionsTargetSettings(base_url=f"http://127.0.0.1:{unused_port()}/v1"), "*")
    verdicts = await found(config)
    assert verdicts["answers"].mark == "no"
    assert "--model NAME" in verdicts["answers"].reason
    assert "cannot be reached" in (await found(config, model="gpt"))["answers"].reason


def test_every_target_is_asked_once_for_each_model() -> None:
    chat = ChatCompletionsTargetSettings(base_url="http://127.0.0.1:1/v1")
    config = Config(
        targets={"a": chat, "b": chat, "s": ScriptedTargetSettings(transcript="x")},
        models={
            "x": ModelSettings(targets=["a", "b:big"]),
            "y": ModelSettings(targets=["b:big", "s"]),
            "*": ModelSettings(targets=["a", "s"]),
        },
    )
    assert [(each.target, each.model) for each in list_attempts(config)] == [("a", "x"), ("b", "big"), ("s", "any")]
    assert ("a", "z") in [(each.target, each.model) for each in list_attempts(config, "z")]


def test_a_reason_cannot_steer_the_terminal() -> None:
    attempt = Attempt("t", "m", {"answers": CheckResult("no", "\x1b[2Jgone [red]x[/red]")}, is_over=True)
    [line] = reasons([attempt])
    assert line.plain == "✗ t:m, answers: [2Jgone [red]x[/red]"
    assert results_table([attempt]).row_count == 1


@pytest.fixture
def run() -> CliRunner:
    return CliRunner(env={"COLUMNS": "200"})


def test_the_command_tells_all_and_its_exit_status_says_whether_all_works(
    run: CliRunner, chat_server: FakeChatServer, tmp_path: Path
) -> None:
    model = chat_server.scenario(answer_chat).model
    text = f'[targets.good]\ndialect = "chat_completions"\nbase_url = "{chat_server.base_url}"\n'
    text += f'[models."{model}"]\ntargets = ["good"]\n'
    file = tmp_path / "landline.toml"
    file.write_text(text, encoding="utf-8")
    result = run.invoke(app, ["check", str(file), "--live"])
    assert result.exit_code == 0, result.output
    assert re.search(rf"good\s+│ {model}\s+│ ✓ [\d.]+ s │ ✓", result.stdout)
    assert f"good:{model}, tool call: ✓" in result.stderr

    bad = f'[targets.bad]\ndialect = "gemini"\nbase_url = "http://127.0.0.1:{unused_port()}/v1beta"\n'
    file.write_text(text + bad + '[models.other]\ntargets = ["bad"]\n', encoding="utf-8")
    result = run.invoke(app, ["check", str(file), "--live"])
    assert result.exit_code == 1
    assert "✗ bad:other, answers: Target 'bad' cannot be reached" in result.stdout
