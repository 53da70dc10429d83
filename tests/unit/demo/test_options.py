"""What the demo's command line stands for: the line, the server's configuration, and the words for both."""

from pathlib import Path
from typing import Any

import pytest
import typer
from msgspec.structs import replace

from landline.cli.demo import DemoArguments, read_options
from landline.config import (
    ChatCompletionsTargetSettings,
    Config,
    ResponsesTargetSettings,
    ScriptedTargetSettings,
    TargetSettings,
)
from landline.demo.options import DemoOptions, demo_config, describe, limits
from landline.workload import LINES, LinkShape, make_task, recorded_profile, scripted_turns

DEFAULTS = DemoArguments(line="home", model_ms=400, tokens_per_s=300, port=0)


def options_of(*, is_terminal: bool = False, **arguments: Any) -> DemoOptions:
    return read_options(replace(DEFAULTS, **arguments), is_terminal=is_terminal)


def target_of(
    environment: dict[str, str] | None = None, transcript: Path = Path("unused"), **arguments: Any
) -> tuple[TargetSettings, Config]:
    config = demo_config(options_of(**arguments), transcript, environment or {})
    assert isinstance(config, Config), config
    return config.targets["upstream"], config


def test_named_line_is_taken_and_each_part_of_it_can_be_replaced() -> None:
    assert options_of(line="mobile").shape == LINES["mobile"]
    shape = options_of(uplink="1mbit", rtt="120ms", slow_start=False).shape
    assert shape == LinkShape(uplink_bits_per_s=1e6, downlink_bits_per_s=50e6, round_trip_s=0.12, has_slow_start=False)
    assert options_of(downlink="2mbit").shape.downlink_bits_per_s == 2e6


@pytest.mark.parametrize("wrong", [{"uplink": "fast"}, {"downlink": "0mbit"}, {"rtt": "50"}])
def test_unreadable_line_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(typer.BadParameter, match="such as"):
        options_of(**wrong)


def test_upstream_and_its_model_go_together_and_nothing_describes_a_missing_one() -> None:
    wrong: list[dict[str, Any]] = [
        {"upstream": "http://127.0.0.1:9/v1"},
        {"model": "m"},
        {"profile": "vllm"},
        {"api_key_env": "KEY"},
    ]
    for arguments in wrong:
        with pytest.raises(typer.BadParameter):
            options_of(**arguments)


def test_server_stays_open_at_a_terminal_unless_told_otherwise() -> None:
    assert [options_of(is_terminal=it).waits for it in (True, False)] == [True, False]
    assert options_of(is_terminal=True, wait=False).waits is False
    assert options_of(wait=True).waits is True


def test_runs_go_one_after_the_other_where_they_would_slow_each_other_down() -> None:
    assert [options_of(model_ms=ms).together for ms in (0, 99, 100)] == [False, False, True]
    assert options_of(model_ms=0, together=True).together is True


def test_script_is_played_on_loopback_and_nothing_is_kept(tmp_path: Path) -> None:
    transcript = tmp_path / "transcript.jsonl"
    transcript.write_bytes(scripted_turns(make_task(recorded_profile(), 1), options_of().pace))
    target, config = target_of(transcript=transcript, port=9)
    assert target == ScriptedTargetSettings(transcript=str(transcript))
    assert list(config.models) == ["demo"]
    assert (config.server.host, config.server.port, config.store.url) == ("127.0.0.1", 9, "memory")


def test_unknown_upstream_is_asked_for_chat_completions_and_a_known_one_by_its_profile() -> None:
    target, config = target_of(upstream="http://127.0.0.1:9/v1", model="m")
    assert isinstance(target, ChatCompletionsTargetSettings)
    assert list(config.models) == ["m"]
    target, _ = target_of({"OPENAI_API_KEY": "k"}, upstream="https://api.openai.com/v1", model="m")
    assert isinstance(target, ResponsesTargetSettings)
    assert (target.profile, target.api_key_env) == ("openai", "OPENAI_API_KEY")
    target, _ = target_of(
        {"MINE": "k"}, upstream="http://127.0.0.1:9/v1", model="m", profile="landline", api_key_env="MINE"
    )
    assert isinstance(target, ResponsesTargetSettings)
    assert (target.profile, target.api_key_env) == ("landline", "MINE")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"line": "lan", "slow_start": False, "model_ms": 0},
        {"calls": 500, "tokens_per_s": 65.5, "uplink": "500kbit", "rtt": "0.3s"},
    ],
)
def test_words_fit_into_80_columns(arguments: dict[str, Any]) -> None:
    options = options_of(**arguments)
    task = make_task(recorded_profile(), options.calls)
    lines = [*describe(options, task, "http://127.0.0.1:65535/monitor"), *limits(options)]
    assert max(map(len, lines)) <= 80


def test_words_say_what_the_line_is_and_what_is_not_modelled() -> None:
    options = options_of()
    assert (
        "home: 10 Mbit/s up, 50 Mbit/s down, 50 ms round trip"
        in describe(options, make_task(recorded_profile(), 1), "")[1]
    )
    assert "slow start" in limits(options)[1]
    assert "slow start" not in limits(options_of(slow_start=False))[1]
    assert limits(options)[0].startswith("Both ran at once")
    assert limits(options_of(model_ms=0))[0].startswith("One ran after the other")
    real = options_of(upstream="http://127.0.0.1:9/v1", model="m")
    assert "script" not in " ".join(limits(real))
