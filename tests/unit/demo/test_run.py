"""`landline demo` as a process: its rows are what the server's ledger counted, and it ends as it was told."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from landline.demo.screen import size

LANDLINE = str(Path(sys.executable).parent / "landline")
FAST = ("--line", "lan", "--model-ms", "0", "--tokens-per-s", "100000", "--calls", "4")
_ROW = re.compile(r"^(HTTP, full history|line \(WebSocket\)) +[━─]+ +(\S+ \S+) +(\S+ \S+) +(\d+/\d+) ", re.MULTILINE)
_TIMEOUT_S = 60


def environment_in(folder: Path) -> dict[str, str]:
    return os.environ | {"LANDLINE_DATA_DIR": str(folder / "data"), "COLUMNS": "80"}


@contextmanager
def waiting_demo(folder: Path, *options: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """A demo that is over and still serves, with what it printed."""
    command = [LANDLINE, "demo", *options, "--wait"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment_in(folder)
    ) as process:
        try:
            assert process.stdout is not None
            output = ""
            while "until Ctrl-C" not in output:
                line = process.stdout.readline()
                assert line, output
                output += line
            yield process, output
        finally:
            process.kill()


def monitored(output: str) -> Any:
    url = re.search(r"http://127\.0\.0\.1:\d+/monitor", output)
    assert url is not None
    with urllib.request.urlopen(f"{url[0]}/state", timeout=_TIMEOUT_S) as reply:
        return json.load(reply)


def test_rows_are_what_the_ledger_counted(tmp_path: Path) -> None:
    with waiting_demo(tmp_path, *FAST) as (_, output):
        sessions = {row["transport"]: row for row in monitored(output)["sessions"]["rows"]}
    rows = {name: (sent, received, turns) for name, sent, received, turns in _ROW.findall(output)}
    assert rows == {
        "HTTP, full history": row_of(sessions["http"]),
        "line (WebSocket)": row_of(sessions["socket"]),
    }
    http, socket = sessions["http"], sessions["socket"]
    assert socket["uploaded_bytes"] < http["uploaded_bytes"] / 8
    assert "deflate" in socket["compression"]


def row_of(session: dict[str, Any]) -> tuple[str, str, str]:
    """What the session's row must be: all bytes of its connections, and all turns."""
    sent = session["uploaded_bytes"] + session["overhead_in_bytes"]
    received = session["downloaded_bytes"] + session["overhead_out_bytes"]
    return size(sent), size(received), f"{session['turns']}/5"


def test_interrupt_after_the_runs_ends_it_in_order_and_leaves_nothing(tmp_path: Path) -> None:
    with waiting_demo(tmp_path, *FAST) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(_TIMEOUT_S) == 0
    assert list(tmp_path.iterdir()) == []


def test_interrupt_during_the_runs_ends_it_without_a_verdict(tmp_path: Path) -> None:
    command = [LANDLINE, "demo", "--model-ms", "60000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment_in(tmp_path)) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("Monitor"):
            pass
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=_TIMEOUT_S)
    assert process.returncode == 130
    assert "less" not in output


def test_without_a_terminal_it_ends_by_itself(tmp_path: Path) -> None:
    done = run(tmp_path, *FAST)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(_ROW.findall(done.stdout)) == 2
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_upstream_is_asked_in_place_of_the_script(tmp_path: Path) -> None:
    with waiting_demo(tmp_path, *FAST) as (_, output):
        url = output[output.index("http://") :].partition("/monitor")[0]
        upstream = ("--upstream", f"{url}/v1", "--model", "demo", "--profile", "landline")
        done = run(tmp_path, "--line", "lan", "--calls", "4", *upstream)
        state = monitored(output)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [turns for _, _, _, turns in _ROW.findall(done.stdout)] == ["5/5", "5/5"]
    assert f"Model    demo at {url}/v1" in done.stdout
    assert "script" not in done.stdout
    assert state["totals"]["turns"] == 20  # ten of its own, ten for the other


def test_upstream_that_is_not_there_is_said_and_compared_with_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "--line", "lan", "--upstream", "http://127.0.0.1:9/v1", "--model", "m", "--calls", "1")
    assert done.returncode == 1
    assert "HTTP, full history failed in turn 1" in done.stdout
    assert "The line sent" not in done.stdout


def test_wrong_usage_is_refused_before_anything_runs(tmp_path: Path) -> None:
    done = run(tmp_path, "--uplink", "fast")
    assert done.returncode == 2
    assert "10mbit" in done.stderr


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LANDLINE, "demo", *options],
        capture_output=True,
        text=True,
        env=environment_in(folder),
        timeout=_TIMEOUT_S,
        check=False,
    )
