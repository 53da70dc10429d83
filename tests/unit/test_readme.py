"""Each command of the README works as it stands: what can be tried without a network is tried here, as it is written there."""

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from landline.cli import app
from landline.config import Config
from landline.demo.screen import RunFigures, board, verdict
from support import REPOSITORY
from support.fakes.responses import FakeResponses, Reply
from support.readme import benchmarks, blocks, commands, scripts

SERVE = import_module("landline.cli.serve")
LIVE_CHECK = import_module("landline.cli.live_check")
KEYS = {"ANTHROPIC_API_KEY": "sk-0123456789", "OPENAI_API_KEY": "sk-0123456789", "LANDLINE_PORT": "0"}
FIGURES = RunFigures(
    name="HTTP, full history",
    colour="cyan",
    turn=1,
    turns=1,
    sent_bytes=1000,
    received_bytes=1000,
    elapsed_s=1.0,
    is_over=True,
)
PROGRAMS = ("make", "landline", "export")
"""What commands at a prompt begin with, each tried by a test below."""
SCRIPTED = ("curl", "codex")
"""What scripts begin with; `tests/e2e/test_readme.py` runs them by the real clients."""


def make(*words: str) -> str:
    """What make would run, without running it."""
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def of(program: str) -> list[str]:
    return [command for command in commands() if shlex.split(command)[0] == program]


def test_every_command_is_of_a_kind_that_is_tried() -> None:
    assert {shlex.split(command)[0] for command in commands()} == set(PROGRAMS)
    assert {shlex.split(script)[0] for script in scripts()} == set(SCRIPTED)
    assert len(blocks("python")) == 1, "tests/e2e/test_examples.py runs the one there was"


@pytest.mark.parametrize("command", of("make"))
def test_targets_of_make_exist(command: str) -> None:
    words = shlex.split(command)
    assert f"landline {words[1]}" in make(*words[1:])


def test_output_that_is_shown_is_drawn_by_the_demo_as_it_is_now() -> None:
    [shown] = blocks("text")
    head, full, line, _, sentence = shown.splitlines()
    console = Console(width=80)
    with console.capture() as capture:
        console.print(board([FIGURES, FIGURES], 1))
    assert capture.get().splitlines()[0].rstrip() == head
    assert [row[:18].rstrip() for row in (full, line)] == ["HTTP, full history", "line (WebSocket)"]
    numbers = re.compile(r"[\d.]+")
    assert numbers.sub("0", sentence) == numbers.sub("0", verdict(FIGURES, FIGURES, 0.5))


def test_options_that_make_passes_on_are_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [
        word.removeprefix("ARGS=") for command in of("make") for word in shlex.split(command)[1:] if "ARGS" in word
    ]
    inline = re.findall(r'`make serve ARGS="([^"]*)"`', (REPOSITORY / "README.md").read_text())
    assert given
    assert inline
    monkeypatch.setattr(SERVE, "run_serve", lambda options: 7)
    for options in (*given, *inline):
        assert CliRunner().invoke(app, ["serve", *shlex.split(options)]).exit_code == 7


def test_commands_are_where_the_path_says() -> None:
    [export] = of("export")
    assert export == 'export PATH="$PWD/.venv/bin:$PATH"'
    makefile = (REPOSITORY / "Makefile").read_text()
    assert "VENV := .venv\n" in makefile
    assert "BIN := $(VENV)/bin\n" in makefile
    assert commands().index(export) < min(commands().index(each) for each in of("landline"))


@pytest.mark.parametrize("command", of("landline"))
def test_commands_of_landline_are_run(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fake at the network's edge: what would be served is only looked at, what would be asked answers at once."""
    served: list[Config] = []

    def look(config: Config, **_: object) -> int:
        served.append(config)
        return 0

    monkeypatch.setattr(SERVE, "run_server", look)
    monkeypatch.setattr(LIVE_CHECK, "run_live_check", lambda config, **_: served.append(config) or 0)
    monkeypatch.chdir(tmp_path)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    [configuration] = blocks("toml")
    (tmp_path / "landline.toml").write_text(configuration)
    words = shlex.split(command)[1:]
    with FakeResponses(Reply(calls=[("ls", '{"path":"."}')]), Reply("A file.")).in_thread() as fake:
        where = ["--url", fake.base_url, "--model", "m"] if words[0] == "agent" else []
        result = CliRunner().invoke(app, [*words, *where])
    assert result.exit_code == 0, result.output
    assert served or words[0] == "agent"


@pytest.mark.parametrize("command", benchmarks())
def test_benchmarks_of_the_table_have_all_that_they_need(command: str) -> None:
    """As far as they can be started: what they import is there after what make installs for them."""
    words = shlex.split(command)
    assert words[0] == "make"
    assert len(words) == 2
    told = make(words[1])
    if words[1] == "bench":
        assert "landline bench serve" in told
        return
    name = words[1].removeprefix("bench-")
    assert f"benchmarks/{name}.py" in told
    folder = str(REPOSITORY / "benchmarks")
    program = (
        f"import runpy, sys; sys.path.insert(0, {folder!r}); runpy.run_path({folder!r} + '/{name}.py', run_name='x')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", benchmarks())
def test_what_make_installs_for_a_benchmark_comes_before_it(command: str, tmp_path: Path) -> None:
    """In a checkout where nothing was made yet, make would install the tests' requirements first."""
    for name in ("Makefile", "pyproject.toml", "requirements", "benchmarks", "tests"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    done = subprocess.run(
        ["make", "-n", command.removeprefix("make ")],
        cwd=tmp_path,
        env={**os.environ, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = done.stdout
    script = steps.index(
        "landline bench" if command == "make bench" else f"benchmarks/{command.removeprefix('make bench-')}.py"
    )
    assert -1 < steps.find("install -r requirements/dev.txt") < script
    assert -1 < steps.find("install -r requirements/build.txt -r requirements/run.txt") < script
