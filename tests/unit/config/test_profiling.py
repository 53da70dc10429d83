"""What a profile gives a target, which key it takes, and who serves behind it."""

from pathlib import Path

import pytest

from landline.config import (
    AnthropicTargetSettings,
    ChatCompletionsTargetSettings,
    Config,
    EmbeddedTargetSettings,
    GeminiTargetSettings,
    Problem,
    RemoteTargetSettings,
    ResponsesTargetSettings,
    ScriptedTargetSettings,
    TargetSettings,
    load_config,
    provider_of,
)
from landline.config.reading import read_config
from landline.dialects.profiles import PROFILES, VendorApi
from landline.telemetry.conventions import Provider

MODEL = '[models."m"]\ntargets = ["t"]\n'
KEY = "sk-1"


def load(folder: Path, lines: str, environment: dict[str, str] | None = None) -> Config | list[Problem]:
    file = folder / "landline.toml"
    file.write_text(f"[targets.t]\n{lines}\n{MODEL}", encoding="utf-8")
    return load_config(file, environment or {})


def target(folder: Path, lines: str, environment: dict[str, str] | None = None) -> RemoteTargetSettings:
    config = load(folder, lines, environment)
    assert isinstance(config, Config), [str(problem) for problem in config]
    found = config.targets["t"]
    assert isinstance(found, RemoteTargetSettings)
    return found


def problem(folder: Path, lines: str, environment: dict[str, str] | None = None) -> str:
    found = load(folder, lines, environment)
    assert isinstance(found, list)
    (only,) = found
    return str(only)


@pytest.mark.parametrize(
    ("name", "api"), [(name, api) for name, profile in PROFILES.items() for api in profile.apis], ids=str
)
def test_every_way_of_every_profile_makes_a_target(name: str, api: VendorApi) -> None:
    url = {"base_url": "https://a.test/v1"} if api.base_url is None else {}
    reading = read_config({"targets": {"t": {"profile": name, "dialect": api.dialect, **url}}})
    assert reading.problems == []
    made = reading.config.targets["t"]
    assert not isinstance(made, ScriptedTargetSettings)
    assert made.__struct_config__.tag == api.dialect


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_says_where_it_is_from_and_what_is_its_key(name: str) -> None:
    profile = PROFILES[name]
    assert profile.source
    assert len({api.dialect for api in profile.apis}) == len(profile.apis)
    assert profile.key_envs or not profile.needs_key
    assert all(api.base_url is not None or profile.url_example for api in profile.apis)
    assert all(api.base_url is None or not api.base_url.endswith("/") for api in profile.apis)


def test_a_profile_gives_dialect_url_flags_and_key(tmp_path: Path) -> None:
    found = target(tmp_path, 'profile = "groq"', {"GROQ_API_KEY": KEY})
    assert isinstance(found, ChatCompletionsTargetSettings)
    assert found.base_url == "https://api.groq.com/openai/v1"
    assert (found.reasoning_field, found.forward, found.affinity_headers) == ("reasoning", ("user",), ())
    assert (found.profile, found.api_key_env) == ("groq", "GROQ_API_KEY")


def test_what_the_file_says_stands_above_the_profile(tmp_path: Path) -> None:
    lines = 'profile = "groq"\nreasoning_field = "none"\napi_key_env = "MINE"\nbase_url = "http://127.0.0.1:1/v1"'
    found = target(tmp_path, lines, {"GROQ_API_KEY": KEY, "MINE": KEY})
    assert isinstance(found, ChatCompletionsTargetSettings)
    assert (found.reasoning_field, found.base_url, found.api_key_env) == ("none", "http://127.0.0.1:1/v1", "MINE")
    assert found.forward == ("user",)


def test_a_dialect_in_the_file_takes_the_vendors_other_way(tmp_path: Path) -> None:
    environment = {"OPENAI_API_KEY": KEY}
    found = target(tmp_path, 'profile = "openai"', environment)
    assert isinstance(found, ResponsesTargetSettings)
    assert (found.transport, found.socket.lanes) == ("websocket", 16)
    found = target(tmp_path, 'profile = "openai"\ndialect = "chat_completions"', environment)
    assert isinstance(found, ChatCompletionsTargetSettings)
    assert (found.developer_role, found.max_tokens_field) == ("developer", "max_completion_tokens")


def test_a_table_of_the_file_is_filled_in_key_by_key(tmp_path: Path) -> None:
    found = target(tmp_path, 'profile = "vercel"\nsocket = { max_sockets = 2 }', {"VERCEL_OIDC_TOKEN": KEY})
    assert isinstance(found, ResponsesTargetSettings)
    assert (found.socket.max_sockets, found.socket.has_one_model) == (2, True)
    assert found.api_key_env == "VERCEL_OIDC_TOKEN"


def test_the_vendors_of_one_dialect_need_no_profile(tmp_path: Path) -> None:
    found = target(tmp_path, 'dialect = "anthropic"', {"ANTHROPIC_API_KEY": KEY})
    assert isinstance(found, AnthropicTargetSettings)
    assert (found.base_url, found.key_header) == ("https://api.anthropic.com/v1", "x-api-key")
    assert found.api_key_env == "ANTHROPIC_API_KEY"
    found = target(tmp_path, 'dialect = "gemini"', {"GOOGLE_API_KEY": KEY})
    assert isinstance(found, GeminiTargetSettings)
    assert (found.key_header, found.api_key_env) == ("x-goog-api-key", "GOOGLE_API_KEY")


def test_the_defaults_of_those_dialects_are_their_profiles(tmp_path: Path) -> None:
    assert AnthropicTargetSettings().base_url == PROFILES["anthropic"].apis[0].base_url
    assert GeminiTargetSettings().base_url == PROFILES["gemini"].apis[0].base_url


def test_a_key_is_not_sent_to_a_url_that_is_not_its_vendors(tmp_path: Path) -> None:
    found = target(tmp_path, 'profile = "groq"\nbase_url = "https://proxy.test/v1"', {"GROQ_API_KEY": KEY})
    assert found.api_key_env is None
    found = target(tmp_path, 'profile = "groq"\nbase_url = "https://api.groq.com/openai/v1/"', {"GROQ_API_KEY": KEY})
    assert found.api_key_env == "GROQ_API_KEY"


def test_a_server_of_the_users_own_gets_its_key_wherever_it_is(tmp_path: Path) -> None:
    lines = 'profile = "vllm"\nbase_url = "http://gpu.test:8000/v1"'
    assert target(tmp_path, lines, {"VLLM_API_KEY": KEY}).api_key_env == "VLLM_API_KEY"
    assert target(tmp_path, lines).api_key_env is None
    azure = 'profile = "azure"\nbase_url = "https://mine.openai.azure.com/openai/v1"'
    found = target(tmp_path, azure, {"AZURE_OPENAI_API_KEY": KEY})
    assert (found.key_header, found.api_key_env) == ("api-key", "AZURE_OPENAI_API_KEY")


def test_a_vendor_without_its_key_stops_the_start(tmp_path: Path) -> None:
    assert problem(tmp_path, 'profile = "gemini"') == (
        "targets.t.api_key_env: Google Gemini wants a key: export it as 'GEMINI_API_KEY' or 'GOOGLE_API_KEY', "
        "or name another environment variable here"
    )
    assert "Anthropic wants a key" in problem(tmp_path, 'dialect = "anthropic"')


def test_a_target_that_is_this_server_is_refused(tmp_path: Path) -> None:
    message = "targets.t.base_url: 'http://127.0.0.1:8080/v1' is where this server itself listens; give one of the two"
    assert problem(tmp_path, 'profile = "llama-server"').startswith(message)
    found = target(tmp_path, 'profile = "landline"\nbase_url = "http://other.test:8080/v1"')
    assert found.base_url == "http://other.test:8080/v1"


def test_a_key_in_a_header_of_the_file_is_a_key(tmp_path: Path) -> None:
    found = target(tmp_path, 'profile = "groq"\nheaders = { authorization = "Bearer x" }')
    assert found.api_key_env is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('profile = "gorq"', "targets.t.profile: no profile 'gorq'; did you mean `groq`?; docs/profiles.md"),
        ("profile = 3", "targets.t.profile: no profile 3; known here: `anthropic`"),
        (
            'profile = "mistral"\ndialect = "responses"',
            "targets.t.dialect: Mistral AI is spoken to in `chat_completions`, got 'responses'",
        ),
        ('profile = "azure"', "targets.t.base_url: missing; Azure OpenAI's URL is yours to give, as in 'https://RES"),
        ('profile = "groq"\nsocket = { max_sockets = 2 }', "targets.t.socket: unknown key"),
    ],
)
def test_a_profile_that_cannot_be_meant_is_named(tmp_path: Path, lines: str, expected: str) -> None:
    keys: dict[str, str] = dict.fromkeys(("GROQ_API_KEY", "MISTRAL_API_KEY", "AZURE_OPENAI_API_KEY"), KEY)
    assert problem(tmp_path, lines, keys).startswith(expected)


LOCAL = "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    ("target", "provider"),
    [
        (EmbeddedTargetSettings(), Provider("landline")),
        (ScriptedTargetSettings(transcript="it.jsonl"), Provider("landline")),
        (ChatCompletionsTargetSettings(base_url=LOCAL, profile="vllm"), Provider("vllm", "127.0.0.1", 8000)),
        (ChatCompletionsTargetSettings(base_url=LOCAL), Provider("openai", "127.0.0.1", 8000)),
        (ChatCompletionsTargetSettings(base_url="https://api.x.ai/v1"), Provider("x_ai", "api.x.ai", 443)),
        (
            ChatCompletionsTargetSettings(base_url="https://api.mistral.ai/v1"),
            Provider("mistral_ai", "api.mistral.ai", 443),
        ),
        (
            ChatCompletionsTargetSettings(base_url="https://api.groq.com/openai/v1"),
            Provider("groq", "api.groq.com", 443),
        ),
        (ResponsesTargetSettings(base_url="http://models.example/v1"), Provider("openai", "models.example", 80)),
        (
            ResponsesTargetSettings(base_url="https://it.openai.azure.com/openai/v1"),
            Provider("azure.ai.openai", "it.openai.azure.com", 443),
        ),
        (AnthropicTargetSettings(), Provider("anthropic", "api.anthropic.com", 443)),
        (AnthropicTargetSettings(base_url=LOCAL), Provider("anthropic", "127.0.0.1", 8000)),
        (GeminiTargetSettings(), Provider("gcp.gemini", "generativelanguage.googleapis.com", 443)),
        (GeminiTargetSettings(base_url=LOCAL), Provider("gcp.gemini", "127.0.0.1", 8000)),
        (
            GeminiTargetSettings(base_url="https://aiplatform.googleapis.com/v1"),
            Provider("gcp.vertex_ai", "aiplatform.googleapis.com", 443),
        ),
        (
            ChatCompletionsTargetSettings(base_url="https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1"),
            Provider("aws.bedrock", "bedrock-runtime.eu-west-1.amazonaws.com", 443),
        ),
    ],
)
def test_provider_has_the_conventions_name(target: TargetSettings, provider: Provider) -> None:
    assert provider_of(target) == provider
