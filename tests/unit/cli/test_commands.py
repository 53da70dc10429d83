"""The commands answer with the right text and exit status, and start quickly."""

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import landline
from landline.cli import app
from landline.cli.models import fetch_model
from landline.cli.serve import ServeOptions, choose_config
from landline.config import Config, EmbeddedTargetSettings
from landline.engine.catalog import CACHE_DIR_VARIABLE, CATALOGUE, DEFAULT_MODEL, ModelUnavailableError, cached_path
from support.engine.gguf_files import Value, write_gguf

GOOD = """
[targets.fake]
dialect = "chat_completions"
base_url = "http://127.0.0.1:9100/v1"
[models."demo"]
targets = ["fake:other"]
[models."*"]
targets = ["fake"]
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """Runs commands in this process."""
    monkeypatch.setenv(CACHE_DIR_VARIABLE, str(tmp_path / "cache"))
    return CliRunner(env={"COLUMNS": "200"})


def put(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_version_is_the_packages(run: CliRunner) -> None:
    assert run.invoke(app, ["--version"]).stdout == f"landline {landline.__version__}\n"


@pytest.mark.parametrize("words", [[], ["serve"], ["check"], ["models"], ["models", "list"], ["models", "pull"]])
def test_every_command_explains_itself(run: CliRunner, words: list[str]) -> None:
    result = run.invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_the_agents_own_options_are_explained(run: CliRunner) -> None:
    result = run.invoke(app, ["agent", "--help"])
    assert result.exit_code == 0
    assert "--transport" in result.stdout


def test_help_loads_no_server_and_no_engine() -> None:
    program = "import sys, landline.cli; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"msgspec", "aiohttp", "starlette", "uvicorn", "xllamacpp", "structlog"} & set(done.stdout.split())


def test_check_prints_every_problem_and_fails(run: CliRunner, tmp_path: Path) -> None:
    file = put(tmp_path / "bad.toml", '[server]\nprot = 1\n[targets.a]\n[models.m]\ntargets = ["a"]\n')
    result = run.invoke(app, ["check", file])
    assert result.exit_code == 1
    assert f"{file}: server.prot: unknown key; did you mean `port`?" in result.stderr
    assert f"{file}: targets.a.dialect: missing" in result.stderr
    assert "2 problems" in result.stderr


def test_check_shows_what_a_file_offers(run: CliRunner, tmp_path: Path) -> None:
    result = run.invoke(app, ["check", put(tmp_path / "good.toml", GOOD)])
    assert result.exit_code == 0
    assert re.search(r"fake\s+│ chat_completions\s+│ http://127.0.0.1:9100/v1", result.stdout)
    assert re.search(r"demo\s+│ fake:other", result.stdout)
    assert re.search(r"\* \(any other name\)\s+│ fake", result.stdout)


def test_check_shows_what_a_profile_came_to_and_no_secret(
    run: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XAI_API_KEY", "sk-secret")
    lines = [
        '[targets.t]\nprofile = "xai"\nheaders = { X-Own = "sk-mine" }',
        '[models.a]\ntargets = ["t"]\nweights = [2]',
    ]
    result = run.invoke(app, ["check", put(tmp_path / "good.toml", "\n".join(lines))])
    assert result.exit_code == 0
    for shown in (
        "https://api.x.ai/v1 (key from XAI_API_KEY), profile xai",
        'transport = "websocket"',
        'instructions_with_previous = "omit"',
        "headers = X-Own",
        "t (weight 2)",
    ):
        assert shown in result.stdout
    assert "sk-" not in result.output


def test_check_shows_that_a_vendors_target_has_no_key(run: CliRunner, tmp_path: Path) -> None:
    targets = '[targets.g]\nprofile = "gemini"\nbase_url = "http://proxy.test/v1beta"\n[models.m]\ntargets = ["g"]\n'
    result = run.invoke(app, ["check", put(tmp_path / "good.toml", targets)])
    assert result.exit_code == 0
    assert "http://proxy.test/v1beta (no key), profile gemini" in result.stdout


@pytest.mark.parametrize("words", [["models"], ["models", "list"]])
def test_models_lists_a_configuration_and_the_catalogue(run: CliRunner, tmp_path: Path, words: list[str]) -> None:
    result = run.invoke(app, [*words, "--config", put(tmp_path / "good.toml", GOOD)])
    assert result.exit_code == 0
    assert "demo" in result.stdout
    assert re.search(rf"{DEFAULT_MODEL} \(default\).*no: landline models pull", result.stdout)


def test_models_takes_the_configuration_from_the_environment(run: CliRunner, tmp_path: Path) -> None:
    result = run.invoke(app, ["models"], env={"LANDLINE_CONFIG": put(tmp_path / "good.toml", GOOD)})
    assert "demo" in result.stdout


def test_pulling_an_unknown_model_says_which_there_are(run: CliRunner) -> None:
    result = run.invoke(app, ["models", "pull", "gpt-9"])
    assert result.exit_code == 1
    assert result.stderr == f"No model 'gpt-9' to fetch; there is `{DEFAULT_MODEL}`.\n"


def test_a_model_that_is_there_is_not_fetched_again(run: CliRunner) -> None:
    row = CATALOGUE[DEFAULT_MODEL]
    path = cached_path(row)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(row.size_bytes)
    assert fetch_model(DEFAULT_MODEL) == path


def test_serve_refuses_a_wrong_file(run: CliRunner, tmp_path: Path) -> None:
    result = run.invoke(app, ["serve", "--config", put(tmp_path / "bad.toml", "[server]\nprot = 1\n")])
    assert result.exit_code == 1
    assert "server.prot" in result.stderr


@pytest.mark.parametrize("option", ["gguf", "model", "context", "slots"])
def test_a_model_option_beside_a_file_is_refused(tmp_path: Path, option: str) -> None:
    options = ServeOptions(
        config=Path(put(tmp_path / "good.toml", GOOD)),
        gguf=tmp_path / "x.gguf" if option == "gguf" else None,
        model="x" if option == "model" else None,
        context=4096 if option == "context" else None,
        slots=4 if option == "slots" else None,
    )
    found = choose_config(options)
    assert isinstance(found, list)
    assert f"`--{option}` goes without a configuration" in str(found[0])


def test_a_gguf_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"x\.gguf"):
        choose_config(ServeOptions(gguf=tmp_path / "x.gguf"))


def test_address_options_stand_above_the_file(tmp_path: Path) -> None:
    config = choose_config(ServeOptions(config=Path(put(tmp_path / "good.toml", GOOD)), host="::1", port=0))
    assert isinstance(config, Config)
    assert (config.server.host, config.server.port) == ("::1", 0)


def test_a_gguf_file_is_served_under_its_own_name(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(16))
    config = choose_config(ServeOptions(gguf=file))
    assert isinstance(config, Config)
    assert list(config.models) == ["tiny"]
    assert config.targets == {"embedded": EmbeddedTargetSettings(gguf=str(file))}


def test_context_of_the_embedded_model_is_an_option(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(16))
    config = choose_config(ServeOptions(gguf=file, context=32768, slots=2))
    assert isinstance(config, Config)
    assert config.targets == {"embedded": EmbeddedTargetSettings(gguf=str(file), context_per_slot=32768, slots=2)}


def test_a_server_that_starts_says_what_to_paste(
    run: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_and_stop(config: Config, *, on_started: Callable[[str, int], None], **_: object) -> int:
        on_started(config.server.host, 4711)
        return 3

    monkeypatch.setattr("landline.cli.serve.run_server", start_and_stop)
    result = run.invoke(app, ["serve", "--config", put(tmp_path / "good.toml", GOOD), "--port", "0"])
    assert result.exit_code == 3
    assert "Landline listens on http://127.0.0.1:4711/v1\nModel: demo\n" in result.stdout
    assert "32,768 tokens" not in result.stdout


def test_a_small_embedded_context_is_said_to_be_too_small_for_codex(
    run: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_and_stop(config: Config, *, on_started: Callable[[str, int], None], **_: object) -> int:
        on_started(config.server.host, 1)
        return 0

    monkeypatch.setattr("landline.cli.serve.run_server", start_and_stop)
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(16))
    words = ["serve", "--port", "0", "--gguf", str(tmp_path / "tiny.gguf"), "--context"]
    assert "Codex CLI needs 32,768 tokens of context" in run.invoke(app, [*words, "4096"]).stdout
    assert "Codex CLI needs" not in run.invoke(app, [*words, "32768"]).stdout


def test_start_says_what_the_context_takes_and_that_it_was_cut(
    run: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_and_stop(config: Config, *, on_started: Callable[[str, int], None], **_: object) -> int:
        on_started(config.server.host, 1)
        return 0

    monkeypatch.setattr("landline.cli.serve.run_server", start_and_stop)
    shape: dict[str, Value] = {"a.block_count": 10, "a.embedding_length": 1000, "a.attention.head_count": 10}
    file = write_gguf(tmp_path / "m.gguf", {"general.architecture": "a", "a.context_length": 10000, **shape})
    words = ["serve", "--port", "0", "--gguf", str(file), "--context"]
    cut = run.invoke(app, [*words, "32768"]).stdout
    assert "Context: 4 slots of 10,000 tokens each; its KV cache takes up to 1.6 GB, the weights 0 MB." in cut
    assert "The context asked for, 32,768 tokens, is more than the model was trained for: each slot has 10,000." in cut
    assert "this one has 10,000" in cut
    whole = run.invoke(app, [*words, "8192", "--slots", "1"]).stdout
    assert "Context: 1 slot of 8,192 tokens; its KV cache takes up to 328 MB" in whole
    assert "trained for" not in whole


@pytest.mark.parametrize("words", [[], ["--config"]])
def test_an_address_that_is_taken_is_told_before_anything_is_begun(
    run: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr("landline.cli.serve.run_server", begun)
    monkeypatch.setattr("landline.cli.serve.fetch_model", begun)
    words = [*words, put(tmp_path / "good.toml", GOOD)] if words else []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run.invoke(app, ["serve", *words, "--port", port])
    assert result.exit_code == 1
    assert result.output.startswith(f"Cannot listen on 127.0.0.1:{port}: Address already in use. Another program")


def test_an_address_of_another_machine_is_told(run: CliRunner, tmp_path: Path) -> None:
    config = GOOD + '[server]\ninsecure_allow_public = true\nhost = "192.0.2.1"\n'
    result = run.invoke(app, ["serve", "--config", put(tmp_path / "good.toml", config)])
    assert result.exit_code == 1
    assert "an address of this machine" in result.stderr


def begun(*_: object, **__: object) -> int:
    raise AssertionError("nothing should have been begun")
