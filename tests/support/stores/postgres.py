"""A private PostgreSQL server for a test session: on a free loopback port, in a temporary folder, gone afterwards.

Import the fixture `postgres` into a conftest.py to use it.
"""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from support.debian_packages import find_or_install

_INSTALLED = "/usr/lib/postgresql"
"""Where Debian and Ubuntu keep the programs, one folder a version."""
_MISSING = (
    "PostgreSQL's programs (initdb, pg_ctl) are not installed. On Debian and Ubuntu: apt-get install -y postgresql"
)
_NEEDED = ("initdb", "pg_ctl")


class PostgresServer:
    """A running server that trusts everyone who can reach its loopback port."""

    def __init__(self, *, is_durable: bool = False) -> None:
        """Unless it is durable, the server does not wait for its disk."""
        self._fsync = "on" if is_durable else "off"
        self._programs = _find_programs()
        self._folder = Path(tempfile.mkdtemp(prefix="landline-postgres-"))
        self._numbers = itertools.count()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres")
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync={self._fsync} -c max_connections=200"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-o", options, "-l", log, "-w", "start")

    def stop(self) -> None:
        """Ends the server and every connection to it at once, as a crash would."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")

    def cut_connections(self) -> None:
        """Ends every connection; the server goes on."""
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    def freeze(self) -> None:
        """Stops the server in its tracks: connections stay open, new ones are accepted by the system, nothing answers."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        main = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        for process_id in (main, *map(int, children)):
            with suppress(ProcessLookupError):  # a child that ended meanwhile
                os.kill(process_id, number)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def create_database(self) -> str:
        """The URL of an empty database."""
        name = f"store_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def execute(self, statement: str) -> None:
        """Runs SQL in the database `postgres`."""
        self._run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-q", "-c", statement)

    def _run(self, program: str, *arguments: str) -> None:
        # PostgreSQL refuses to run as root, and its own user may not be able to read the current folder.
        as_other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*as_other, str(self._programs / program), *arguments]
        ended = subprocess.run(
            command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
        )
        assert ended.returncode == 0, f"{program} failed: {ended.stderr.decode()}"


def _find_programs() -> Path:
    """The folder of PostgreSQL's programs; installs them if this is a throw-away machine where we are root."""
    found = find_or_install(_look_for_programs, "postgresql")
    if found is None:
        pytest.fail(_MISSING)
    return found


def _look_for_programs() -> Path | None:
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path(_INSTALLED).glob("*/bin"), reverse=True)
    return next((each for each in folders if all((each / name).exists() for name in _NEEDED)), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    cluster = PostgresServer()
    yield cluster
    cluster.remove()
