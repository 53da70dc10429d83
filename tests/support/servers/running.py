"""A real Landline in a process of its own, started by its command line, for end-to-end tests and benchmarks."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
_ADDRESS = re.compile(r"listens on http://127\.0\.0\.1:(\d+)")


class RunningServer:
    """`landline serve --port 0` as a subprocess; a context manager.

    `config` is the text of its `landline.toml`; None serves the embedded model without any, or whatever another `command`
    serves. What it stores lies in `folder`, so another one over the same folder finds it. Ready when it printed the
    address it listens on. Its output is kept in `log`.
    """

    def __init__(self, config: str | None, folder: Path, command: Sequence[str] = ("serve",)) -> None:
        self._folder = folder
        self._arguments = [*command, "--port", "0"]
        if config is not None:
            path = folder / "landline.toml"
            path.write_text(config)
            self._arguments += ["--config", str(path)]
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._log: list[str] = []
        self.port = 0
        self.ready_after_s = 0.0
        """From the start of the process to its address on the output."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def log(self) -> str:
        return "".join(self._log)

    def __enter__(self) -> Self:
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [str(Path(sys.executable).parent / "landline"), *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._folder,
            env=os.environ | {"LANDLINE_DATA_DIR": str(self._folder / "data")},
        )
        threading.Thread(target=self._read_output, daemon=True).start()
        try:
            found = _ADDRESS.search(self.wait_for_line("listens on"))
            assert found is not None, self.log
            self.port = int(found[1])
        except TimeoutError:
            self._stop()
            raise
        self.ready_after_s = time.perf_counter() - started
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def wait_for_line(self, text: str) -> str:
        """The next line of output that holds the text. Raises TimeoutError with the log when none comes."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(
                    f"no line with {text!r} within {START_TIMEOUT_S} s; its output:\n{self.log}"
                ) from None
            if line is None:
                raise TimeoutError(f"the server ended before a line with {text!r}; its output:\n{self.log}")
            if text in line:
                return line

    @property
    def process_id(self) -> int:
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Blocks until the process ends; its exit code."""
        return self._process.wait(STOP_TIMEOUT_S)

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._log.append(line)
            self._lines.put(line)
        self._lines.put(None)

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
