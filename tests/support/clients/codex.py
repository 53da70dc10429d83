"""Runs the unmodified Codex CLI against a Responses server, with a private home (made new for each run) and no terminal."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from support.clients.node import CLIENTS_FOLDER, NODE, require_node_clients

RUN_TIMEOUT_S = 120.0
_CODEX = [str(NODE), str(CLIENTS_FOLDER / "node_modules" / "@openai" / "codex" / "bin" / "codex.js")]
PLAIN_TOOLS_SLUG = "gpt-5.5"
"""A built-in model of Codex 0.169 with the custom `apply_patch` tool and a `tools` field."""
CODE_MODE_SLUG = "gpt-6-sol"
"""A built-in model of Codex 0.169 in code mode: tools come as an `additional_tools` item, `exec` is a custom tool."""


@dataclass(frozen=True)
class CodexRun:
    exit_code: int
    events: list[dict[str, Any]]
    """What `--json` printed."""
    stderr: str

    @property
    def answer(self) -> str:
        """The last message of the agent."""
        items = [each["item"] for each in self.events if each["type"] == "item.completed"]
        messages = [each["text"] for each in items if each["type"] == "agent_message"]
        return messages[-1] if messages else ""

    @property
    def report(self) -> str:
        """For the message of a failed assertion."""
        return f"exit code {self.exit_code}\n{self.stderr}\n{json.dumps(self.events)[-3000:]}"


def run_codex(  # noqa: PLR0913 - each is an option of the program
    prompt: str,
    *,
    base_url: str,
    model: str,
    home: Path,
    work_folder: Path,
    websockets: bool = True,
    like: str = "",
    provider_name: str = "landline",
    settings: Mapping[str, int] = MappingProxyType({}),
) -> CodexRun:
    """One `codex exec` of one prompt. `like` gives the model name the abilities of a built-in model; the provider name
    "OpenAI" switches remote compaction on; `settings` are more lines of its configuration."""
    require_node_clients()
    home.mkdir(parents=True)
    environment = {**os.environ, "CODEX_HOME": str(home), "LANDLINE_TEST_KEY": "test-key", "HOME": str(home)}
    catalog = _write_catalog(home, like, model, environment) if like else ""
    lines = "\n".join(f"{name} = {value}" for name, value in settings.items())
    (home / "config.toml").write_text(lines + _config(base_url, model, websockets, catalog, provider_name))
    command = ["exec", "--json", "--skip-git-repo-check", "--sandbox", "danger-full-access", "-C", str(work_folder)]
    return _run([*command, prompt], environment, work_folder)


def resume_codex(prompt: str, *, home: Path, work_folder: Path) -> CodexRun:
    """Goes on with the newest thread of that home, in a new process."""
    environment = {**os.environ, "CODEX_HOME": str(home), "LANDLINE_TEST_KEY": "test-key", "HOME": str(home)}
    command = ["exec", "resume", "--last", "--json", "--skip-git-repo-check"]
    return _run([*command, "--dangerously-bypass-approvals-and-sandbox", prompt], environment, work_folder)


def _run(arguments: list[str], environment: Mapping[str, str], work_folder: Path) -> CodexRun:
    done = subprocess.run(
        [*_CODEX, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        cwd=work_folder,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return CodexRun(done.returncode, events, done.stderr)


def _config(base_url: str, model: str, websockets: bool, catalog: str, provider_name: str) -> str:
    return f"""
model = {json.dumps(model)}
model_provider = "landline"
{f"model_catalog_json = {json.dumps(catalog)}" if catalog else ""}

[model_providers.landline]
name = {json.dumps(provider_name)}
base_url = {json.dumps(base_url)}
wire_api = "responses"
env_key = "LANDLINE_TEST_KEY"
supports_websockets = {json.dumps(websockets)}

[analytics]
enabled = false
"""


def _write_catalog(home: Path, like: str, model: str, environment: dict[str, str]) -> str:
    """A catalog of one model: the built-in one under our model's name."""
    listed = subprocess.run(
        [*_CODEX, "debug", "models"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        timeout=RUN_TIMEOUT_S,
        check=True,
    )
    entry = next(each for each in json.loads(listed.stdout)["models"] if each["slug"] == like)
    path = home / "models.json"
    path.write_text(json.dumps({"models": [{**entry, "slug": model}]}))
    return str(path)
