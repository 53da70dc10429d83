"""Tries an installed Landline: serves a scripted model and asks it over HTTP and over a socket.

Run by the Python of the environment that is to be tried, outside of the repository: `python smoke.py FOLDER`, where FOLDER is
empty. `release/build_and_check.py` does. Only what Landline itself installs is imported.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from pathlib import Path

from websockets.sync.client import connect

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
ANSWER = "Installed and answered."
CONFIG = """
[targets.demo]
dialect = "scripted"
transcript = "demo.jsonl"
[models."demo"]
targets = ["demo"]
"""


def main(folder: Path) -> None:
    (folder / "landline.toml").write_text(CONFIG)
    (folder / "demo.jsonl").write_text(json.dumps([{"type": "text", "text": ANSWER}]) + "\n")
    landline = Path(sys.executable).parent / "landline"
    subprocess.run([landline, "check", "landline.toml"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with serving(landline, folder) as address:
        first = ask(f"http://{address}/v1/responses", {"model": "demo", "input": "Say something."})
        # Stored by default, so the tables of the store were made; the page brings its own files.
        assert ask(f"http://{address}/v1/responses/{first['id']}")["status"] == "completed"
        with urllib.request.urlopen(f"http://{address}/monitor") as page:
            assert page.status == 200
        ask_by_socket(f"ws://{address}/v1/responses")


@contextlib.contextmanager
def serving(landline: Path, folder: Path) -> Generator[str]:
    """The server's address while it serves. Raises RuntimeError when it does not start, or does not end well."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    command = [landline, "serve", "--config", "landline.toml", "--port", address.partition(":")[2]]
    environment = {**os.environ, "LANDLINE_DATA_DIR": str(folder / "data")}
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        wait_until_ready(f"http://{address}/ready", process)
        yield address
        process.terminate()
        if process.wait(STOP_TIMEOUT_S) != 0:
            raise RuntimeError(f"expected exit code 0 after SIGTERM; it is {process.returncode}")
    except BaseException:
        print(log.read_text(), file=sys.stderr)
        raise
    finally:
        process.kill()


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url):
            return
        time.sleep(0.1)
    raise RuntimeError("the server did not become ready")


def ask(url: str, body: object = None) -> dict[str, object]:
    """The response that a request is answered with: a POST when there is a body."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        found = answer.read()
    assert ANSWER.encode() in found, found
    return json.loads(found)


def ask_by_socket(url: str) -> None:
    with connect(url) as line:
        line.send(json.dumps({"type": "response.create", "model": "demo", "input": "Say something.", "store": False}))
        for message in line:
            event = json.loads(message)
            assert event["type"] not in ("error", "response.failed"), event
            if event["type"] == "response.completed":
                return
    raise RuntimeError("the server closed the socket before the response was complete")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
    print("smoke test passed")
