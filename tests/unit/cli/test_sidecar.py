"""`landline sidecar`: what its command line stands for, and what it tells to set."""

from typing import Any

import pytest

from landline.cli.sidecar import SidecarOptions, greet, sidecar_config
from landline.config import Config, Problem, ResponsesTargetSettings

UNKNOWN = "https://llm.example.org/v1"


def config_of(environment: dict[str, str] | None = None, **options: Any) -> Config:
    arguments: dict[str, Any] = {"upstream": UNKNOWN, **options}
    config = sidecar_config(SidecarOptions(**arguments), environment or {})
    assert isinstance(config, Config), config
    return config


def target_of(environment: dict[str, str] | None = None, **options: Any) -> ResponsesTargetSettings:
    target = config_of(environment, **options).targets["upstream"]
    assert isinstance(target, ResponsesTargetSettings)
    return target


def test_every_model_goes_to_one_target_and_the_server_stays_on_loopback() -> None:
    config = config_of(port=9)
    assert {name: model.targets for name, model in config.models.items()} == {"*": ["upstream"]}
    assert (config.server.host, config.server.port) == ("127.0.0.1", 9)
    assert config_of().server.port == 8080


def test_unknown_upstream_is_spoken_to_over_its_socket() -> None:
    assert target_of() == ResponsesTargetSettings(base_url=UNKNOWN, transport="websocket", foreign_reasoning="send")
    assert target_of(http=True).transport == "http"


@pytest.mark.parametrize(
    ("upstream", "profile", "transport", "key"),
    [
        ("https://api.openai.com/v1", "openai", "websocket", "OPENAI_API_KEY"),
        ("https://api.x.ai/v1", "xai", "websocket", "XAI_API_KEY"),
        ("https://mine.openai.azure.com/openai/v1", "azure", "websocket", "AZURE_OPENAI_API_KEY"),
        ("https://api.groq.com/openai/v1", "groq", "http", "GROQ_API_KEY"),
    ],
)
def test_known_vendor_is_found_by_its_host(upstream: str, profile: str, transport: str, key: str) -> None:
    target = target_of({key: "k", "OPENAI_API_KEY": "other"}, upstream=upstream)
    assert (target.profile, target.transport, target.api_key_env) == (profile, transport, key)


def test_named_profile_wins() -> None:
    target = target_of(profile="landline", upstream="http://127.0.0.1:9/v1")
    assert (target.foreign_reasoning, target.socket.lanes) == ("send", 16)
    assert target.base_url == "http://127.0.0.1:9/v1"


def test_key_is_the_one_that_is_named_else_openais_where_no_vendor_is_known() -> None:
    keys = {"OPENAI_API_KEY": "a", "MINE": "b"}
    assert target_of(keys).api_key_env == "OPENAI_API_KEY"
    assert target_of(keys, api_key_env="MINE").api_key_env == "MINE"
    assert target_of({}).api_key_env is None
    assert target_of(keys, profile="landline").api_key_env is None


def test_openais_key_is_not_given_to_another_vendor() -> None:
    problems = sidecar_config(SidecarOptions(upstream="https://api.x.ai/v1"), {"OPENAI_API_KEY": "a"})
    assert isinstance(problems, list)
    assert [problem.path for problem in problems] == ["targets.upstream.api_key_env"]
    assert all(isinstance(problem, Problem) for problem in problems)


def test_savings_are_counted_between_the_sidecar_and_the_upstream() -> None:
    assert config_of().ledger.hop == "upstreams"


def test_greeting_says_where_it_leads_and_what_to_set() -> None:
    config = config_of({"OPENAI_API_KEY": "secret"})
    text = greet(config, "127.0.0.1", 4711)
    assert f"Upstream: {UNKNOWN} over its WebSocket, with the key from OPENAI_API_KEY" in text
    assert "export OPENAI_BASE_URL=http://127.0.0.1:4711/v1" in text
    assert "secret" not in text
    assert "http://127.0.0.1:4711/monitor" in text
    over_http = greet(config_of(http=True, profile="landline"), "127.0.0.1", 1)
    assert "over HTTP, profile landline, without a key" in over_http
