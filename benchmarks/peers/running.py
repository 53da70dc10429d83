"""Starts what is compared, each in a process group of its own, and the upstream of the probe."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from peers.adapters import MODEL, Peer, Place
from peers.environments import Installed

START_TIMEOUT_S = 180.0
"""On a busy machine LiteLLM needs more than a minute."""
STOP_TIMEOUT_S = 10.0


class NotStartedError(Exception):
    """A server that did not become ready; the message holds the end of its output."""


class Running:
    """A server that is ready, at `base_url` (with `/v1`)."""

    def __init__(self, peer: Peer, installed: Installed, place: Place, process_id: int) -> None:
        self.peer = peer
        self.version = installed.version
        self.base_url = f"http://127.0.0.1:{place.port}/v1"
        # No server here asks for a key of its own; some pass on to the upstream what they get.
        added = {name: value.format(upstream=place.upstream) for name, value in peer.headers.items()}
        self.headers = {"authorization": "Bearer none", **added}
        self.log = place.folder / "log"
        self.process_id = process_id

    @property
    def model(self) -> str:
        """What this server calls the upstream's model."""
        return self.peer.model_prefix + MODEL


@contextmanager
def started(peer: Peer, installed: Installed, upstream: str) -> Generator[Running]:
    """The server in front of the upstream. Raises NotStartedError."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        place = Place(installed.program, Path(name), _free_port(), upstream)
        start = peer.start(place)
        environment = {**_environment(), "HOME": name, "XDG_DATA_HOME": name, "XDG_CACHE_HOME": name}
        with (place.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*installed.command, *start.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=place.folder,
                env={**environment, **start.environment},
                start_new_session=True,
            )
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{place.port}{peer.ready_path}", place.folder / "log")
            yield Running(peer, installed, place, process.pid)
        finally:
            _stop(process)


@contextmanager
def probe_upstream() -> Generator[str]:
    """The base URL, without `/v1`, of the probe's upstream in a process of its own."""
    command = [sys.executable, "-m", "peers.probe_upstream"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


def _environment() -> dict[str, str]:
    """This process's, without what would lead a server to a virtual environment or to keys that are not its own."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("VIRTUAL_ENV", "PYTHON", "LANDLINE_")) and not name.endswith("_API_KEY")
    }


def _free_port() -> int:
    """A port that is free now, and the one above it, too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise NotStartedError(f"ended with {process.returncode}: {_tail(log)}")
        try:
            urllib.request.urlopen(url, timeout=5).read()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise NotStartedError(f"not ready within {START_TIMEOUT_S:.0f} s: {_tail(log)}")


def _tail(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").split("\n")[-6:])[-400:]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the whole group: some servers leave children behind."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
