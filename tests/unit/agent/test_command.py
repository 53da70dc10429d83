"""`landline agent` as a user runs it, piped: what it prints and how it exits."""

import json
import socket
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from landline.agent.command import agent_command
from support.fakes.responses import Fail, FakeResponses, Reply

APP = typer.Typer()
APP.command()(agent_command)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(APP, ["what is here?", *arguments])


def test_answer_and_numbers_are_printed_and_the_exit_is_0(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with FakeResponses(Reply(calls=[("ls", '{"path":"."}')]), Reply("One file: a.txt")).in_thread() as fake:
        result = invoke("--dir", str(tmp_path), "--url", fake.base_url)
    assert result.exit_code == 0
    assert 'tool  ls {"path":"."} → 15 B' in result.stdout
    for number in (len(frame) for frame in fake.frames):
        assert f"sent  {number:,} B (ws" in result.stdout
    assert "30 tokens in, 20 cached, 5 out" in result.stdout
    assert "without a session" in result.stdout
    totals = next(line for line in result.stdout.splitlines() if line.split()[:1] == ["all"])
    _, sent, wire, stateless, saved, *_ = (each.replace(",", "") for each in totals.split())
    assert int(sent) == sum(map(len, fake.frames))
    assert float(saved) == pytest.approx(100 * (1 - int(wire) / int(stateless)), abs=0.05)
    assert "\x1b" not in result.stdout


def test_giving_up_is_said_on_stderr_and_the_exit_is_1(tmp_path: Path) -> None:
    with FakeResponses(Reply(" "), Reply(" ")).in_thread() as fake:
        result = invoke("--dir", str(tmp_path), "--url", fake.base_url, "--model", "m")
    assert result.exit_code == 1
    assert result.stderr.strip() == "the model gave up: an empty answer"


@pytest.mark.parametrize("transport", ["ws", "http"])
@pytest.mark.parametrize("model", [("--model", "m"), ()])
def test_server_that_is_not_there_is_named_and_nothing_is_called_saved(transport: str, model: tuple[str, ...]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        result = invoke("--url", url, "--transport", transport, *model)
    assert result.exit_code == 1
    assert url.removeprefix("http") in result.stderr
    assert "connection refused" in result.stderr
    assert "Connect" not in result.stderr
    assert "saved" not in result.stdout


def test_servers_error_exits_1(tmp_path: Path) -> None:
    fail = Fail({"error": {"code": "model_not_found", "message": "no [bold]such[/bold] model"}}, status=404)
    with FakeResponses(fail).in_thread() as fake:
        result = invoke("--dir", str(tmp_path), "--url", fake.base_url, "--model", "m", "--transport", "http")
    assert result.exit_code == 1
    assert "no [bold]such[/bold] model" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--dir", "/does/not/exist"),
        ("--transport", "pigeon"),
        ("--url", "ftp://somewhere"),
        ("--max-turns", "0"),
        ("--api-key-env", "LANDLINE_TEST_NO_SUCH_KEY"),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments).exit_code == 2


def test_key_comes_from_the_named_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESAME", "open")
    with FakeResponses(Reply("done")).in_thread() as fake:
        invoke("--dir", str(tmp_path), "--url", fake.base_url, "--api-key-env", "SESAME")
    assert fake.upgrades[0]["Authorization"] == "Bearer open"


def test_nothing_that_others_wrote_steers_the_terminal(tmp_path: Path) -> None:
    hostile = "a\x1b[2Jb\x9bc\u202ed\u2066e\u200f"
    call = ("ls\x1b[0m\n  sent  0 B", '{"path":"\u202e\x1b]0;title\x07"}')
    refusal = Fail({"error": {"code": "x\x1bc", "message": f"no\n{hostile}"}}, status=400)
    with FakeResponses(Reply(hostile, calls=[call]), refusal).in_thread() as fake:
        result = invoke("--dir", str(tmp_path), "--url", fake.base_url, "--model", "m", "--transport", "http")
    assert result.exit_code == 1
    assert all(line.isprintable() for line in result.output.splitlines())
    assert not any(line.startswith("  sent  0 B") for line in result.stdout.splitlines())
    assert "no a[2Jbcde" in result.stderr


@pytest.mark.parametrize(("words", "expected"), [((), 2048), (("--max-output-tokens", "100"), 100)], ids=str)
def test_what_the_model_may_write_in_a_turn_is_bounded(tmp_path: Path, words: tuple[str, ...], expected: int) -> None:
    with FakeResponses(Reply("done")).in_thread() as fake:
        invoke("--dir", str(tmp_path), "--url", fake.base_url, "--model", "m", *words)
    assert json.loads(fake.frames[0])["max_output_tokens"] == expected
