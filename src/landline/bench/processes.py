"""The processes that are measured: how they are started, and what they take of the processor and of memory."""

import os
import queue
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psutil

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 15.0
_LOG_TAIL_BYTES = 600
_LANDLINE_ADDRESS = re.compile(r"listens on (http://[\d.]+:\d+/v1)")
_UPSTREAM_ADDRESS = re.compile(r"answers on (http://[\d.]+:\d+/v1)")
UpstreamApi = str
UPSTREAM_TARGETS: Mapping[UpstreamApi, str] = {
    "chat": 'dialect = "chat_completions"',
    "responses": 'dialect = "responses"\ntransport = "http"',
    "socket": 'dialect = "responses"\ntransport = "websocket"',
}
"""How the Landline that is started asks its upstream, as settings of its target."""


class BenchError(Exception):
    """What was to be measured failed; the message is for the table."""


class StartedProcess(msgspec.Struct, frozen=True):
    """A server that listens."""

    base_url: str
    pid: int


@contextmanager
def started_upstream() -> Generator[StartedProcess]:
    """The scripted upstream on a free port. Raises `BenchError`."""
    with _started(["bench", "upstream", "--port", "0"], _UPSTREAM_ADDRESS) as process:
        yield process


@contextmanager
def started_landline(folder: Path, configuration: str | None) -> Generator[StartedProcess]:
    """`landline serve` on a free port, with its files in `folder`; without a configuration, on the embedded model.

    It logs no turns. Raises `BenchError` with what it said instead of starting.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["serve", "--port", "0", "--log-level", "error"]
    if configuration is not None:
        path = folder / "landline.toml"
        path.write_text(configuration)
        command += ["--config", str(path)]
    with _started(command, _LANDLINE_ADDRESS, {"LANDLINE_DATA_DIR": str(folder / "data")}) as process:
        yield process


def configuration_for(upstream_url: str, api: UpstreamApi) -> str:
    """The `landline.toml` of a server that passes any model's name on to the upstream; everything else is default."""
    target = f'[targets.scripted]\nbase_url = "{upstream_url}"\n{UPSTREAM_TARGETS[api]}\n'
    return f'{target}[models."*"]\ntargets = ["scripted"]\n'


@contextmanager
def _started(
    arguments: list[str], address: re.Pattern[str], environment: Mapping[str, str] | None = None
) -> Generator[StartedProcess]:
    process = subprocess.Popen(
        [sys.executable, "-m", "landline", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield StartedProcess(_announced(process, address), process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _announced(process: subprocess.Popen[str], address: re.Pattern[str]) -> str:
    """The address that the process prints. A thread reads on to the end of its output, so that it never waits for us."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    said = ""
    deadline = time.monotonic() + _START_TIMEOUT_S
    with suppress(queue.Empty):
        while (line := lines.get(timeout=max(0.0, deadline - time.monotonic()))) is not None:
            said += line
            if (found := address.search(line)) is not None:
                return found[1]
    raise BenchError(f"a server did not start: {said[-_LOG_TAIL_BYTES:].strip() or 'it said nothing'}")


class ProcessMeter:
    """Reads what a process and its children have taken so far. Raises `BenchError` once it is gone."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._processes = self._find()

    def refresh(self) -> None:
        """Looks for children again; call it outside of what is timed."""
        self._processes = self._find()

    def cpu_s(self) -> float:
        """Processor time: to the nanosecond where the kernel tells it (Linux), else in its ticks, often of 10 ms."""
        return sum(_cpu_s(process) for process in self._processes)

    def resident_bytes(self) -> int:
        try:
            return sum(process.memory_info().rss for process in self._processes)
        except psutil.Error as error:
            raise BenchError(f"process {self._pid} cannot be read: {error}") from None

    def _find(self) -> list[psutil.Process]:
        try:
            process = psutil.Process(self._pid)
            return [process, *process.children(recursive=True)]
        except psutil.Error as error:
            raise BenchError(f"process {self._pid} cannot be read: {error}") from None


def _cpu_s(process: psutil.Process) -> float:
    threads = Path(f"/proc/{process.pid}/task")
    try:
        return sum(int((each / "schedstat").read_bytes().split(None, 1)[0]) for each in threads.iterdir()) / 1e9
    except (OSError, ValueError, IndexError):
        pass
    try:
        times = process.cpu_times()
    except psutil.Error as error:
        raise BenchError(f"process {process.pid} cannot be read: {error}") from None
    return times.user + times.system


class Watch:
    """What passes between `start` and `stop`: time, a server's processor time, and the load generator's own."""

    def __init__(self, meter: ProcessMeter | None) -> None:
        self._meter = meter
        self.started_at = 0.0
        self.wall_s = 0.0
        self.server_s: float | None = None
        """None where the server's process is not known."""
        self.generator_share = 0.0
        """Of one core. Near 1 the generator is the limit, not the server."""

    def start(self) -> None:
        self._own_s = time.process_time()
        self._server_s = self._meter.cpu_s() if self._meter is not None else 0.0
        self.started_at = time.perf_counter()

    def stop(self) -> None:
        self.wall_s = time.perf_counter() - self.started_at
        if self._meter is not None:
            self.server_s = self._meter.cpu_s() - self._server_s
        self.generator_share = (time.process_time() - self._own_s) / self.wall_s


def raise_descriptor_limit() -> int:
    """As many open files as the system lets this process and its children have; returns the number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
