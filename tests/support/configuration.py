"""Configuration files of a test: loaded, and what is said against them."""

from pathlib import Path

from landline.config import (
    Config,
    Overrides,
    Problem,
    load_config,
)

MODEL = '[models."m"]\ntargets = ["t"]\n'
CHAT = '[targets.t]\ndialect = "chat_completions"\nbase_url = "http://127.0.0.1:1/v1"\n' + MODEL
WITH_A_KEY = """
[server]
host = "127.0.0.1"
port = 8080
[targets.fake]
dialect = "chat_completions"
base_url = "http://127.0.0.1:9100/v1"
api_key_env = "FAKE_KEY"
[models."demo"]
targets = ["fake"]
"""


def load(
    folder: Path,
    text: str,
    *,
    environment: dict[str, str] | None = None,
    host: str | None = None,
    port: int | None = None,
) -> Config | list[Problem]:
    file = folder / "landline.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, environment or {}, Overrides(host=host, port=port))


def problems(folder: Path, text: str, *, environment: dict[str, str] | None = None) -> list[str]:
    found = load(folder, text, environment=environment)
    assert isinstance(found, list), "the file was accepted"
    return [str(problem) for problem in found]


def accepted(found: Config | list[Problem]) -> Config:
    assert isinstance(found, Config), [str(problem) for problem in found]
    return found
