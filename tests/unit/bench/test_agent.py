"""`landline bench agent`: its options, and a small real run whose bytes and structure are checked, never its times."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from landline.bench.agent import TRANSPORTS
from landline.cli import app
from landline.cli.bench import LineName, ProfileName, TransportName
from landline.workload import LINES, PROFILES
from support.fakes.responses import FakeResponses, Reply

LANDLINE = str(Path(sys.executable).parent / "landline")
FAST = ("--line", "lan", "--model-ms", "0", "--tokens-per-s", "100000", "--calls", "4", "--rounds", "1")
HTTP, CHAINED, SOCKET, DEFLATE, LANES = (each.name for each in TRANSPORTS.values())
_TIMEOUT_S = 280


def _measured(folder: Path, *arguments: str) -> dict[str, Any]:
    """The JSON of a run that ended well."""
    file = folder / "result.json"
    done = subprocess.run(
        [LANDLINE, "bench", "agent", "--json", str(file), *FAST, *arguments],
        env=os.environ | {"LANDLINE_DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Not shown:" in done.stdout
    return json.loads(file.read_bytes())


def test_the_command_offers_every_profile_line_and_transport() -> None:
    assert ProfileName.__args__ == PROFILES
    assert set(LineName.__args__) == LINES.keys()
    assert {each.value for each in TransportName} == TRANSPORTS.keys()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--server", "http://h/v1"], "--model"),
        (["--uplink", "fast"], "expected a rate"),
        (["--profile", "x"], "codex"),
    ],
)
def test_wrong_usage_is_said(arguments: list[str], reason: str) -> None:
    result = CliRunner().invoke(app, ["bench", "agent", *arguments])
    assert result.exit_code == 2
    assert reason in result.output


def test_a_line_carries_no_tls() -> None:
    result = CliRunner().invoke(app, ["bench", "agent", *FAST, "--server", "https://h/v1", "--model", "m"])
    assert result.exit_code == 1
    assert "carries no TLS" in result.output


def test_each_transport_uploads_less_than_the_one_before(tmp_path: Path) -> None:
    report = _measured(tmp_path, "--agents", "2")
    [table] = report["tables"]
    assert table["subject_column"] == "transport"
    by_case = {(row["subject"], row["case"]["agents"]): row for row in table["rows"]}
    assert by_case.keys() == {(name, agents) for name in (HTTP, CHAINED, SOCKET, DEFLATE, LANES) for agents in "12"} - {
        (LANES, "1")
    }
    assert all(row["error"] is None for row in table["rows"])
    for agents in "12":
        sent = [by_case[name, agents]["values"]["sent"]["median"] for name in (HTTP, CHAINED, SOCKET, DEFLATE)]
        assert sent == sorted(sent, reverse=True)
    change = by_case[DEFLATE, "1"]["values"]["sent change"]["median"]
    assert -100 < change < -80
    assert "sent change" not in by_case[HTTP, "1"]["values"]


def test_transports_are_chosen_and_compared_with_full_histories(tmp_path: Path) -> None:
    report = _measured(tmp_path, "--only", "deflate", "--agents", "1", "--profile", "swe-bench")
    [table] = report["tables"]
    assert [row["subject"] for row in table["rows"]] == [HTTP, DEFLATE]


def test_a_server_that_fails_is_shown_with_its_error(tmp_path: Path) -> None:
    """This one answers each of the first two turns, then has nothing more to say."""
    with FakeResponses(*[Reply(calls=[("run_command", "{}")])] * 2).in_thread() as fake:
        report = _measured(tmp_path, "--server", fake.base_url, "--model", "m", "--agents", "1", "--only", "http")
    [table] = report["tables"]
    [row] = table["rows"]
    assert row["values"] == {}
    assert "failed" in row["error"]
