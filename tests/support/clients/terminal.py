"""A program in a pseudo-terminal of its own: what it shows, what is typed, how large it is."""

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

TIMEOUT_S = 30.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][A-Z0-9]|\x1b[=>78]")
_HOME = "\x1b[H"
"""rich begins every full-screen picture so (ECMA-48, CUP)."""


class Terminal:
    """Runs the command until it ends; a context manager. The terminal stays open, so its settings can be read."""

    def __init__(self, command: Sequence[str], *, columns: int = 80, rows: int = 24) -> None:
        self._command = command
        self._output = ""
        self._ours, self._theirs = os.openpty()
        self._set_size(columns, rows)
        self.settings_before = termios.tcgetattr(self._theirs)

    @property
    def output(self) -> str:
        """Everything that was written, escape sequences and all."""
        return self._output

    @property
    def screen(self) -> str:
        """The last picture, without escape sequences."""
        return _ESCAPES.sub("", self._output.rpartition(_HOME)[2])

    @property
    def settings(self) -> object:
        return termios.tcgetattr(self._theirs)

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """As a window manager does it: the program is told by a signal."""
        self._set_size(columns, rows)

    def wait_for(self, is_there: str | Callable[[str], bool]) -> str:
        """The first screen with the text, or of which the condition holds. Fails with the last one when none comes."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            screen = self.screen
            if is_there(screen) if callable(is_there) else is_there in screen:
                return screen
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"expected {is_there!r} on the screen:\n{screen}"
            self._read(left_s)

    def wait(self) -> int:
        """Blocks until the program ends; its exit code."""
        while self._process.poll() is None:
            self._read(0.1)
        self._read(0.0)
        return self._process.returncode

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
            env={name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
            | {"TERM": "xterm-256color"},
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def _read(self, timeout_s: float) -> None:
        ready, _, _ = select.select([self._ours], [], [], timeout_s)
        if ready:
            with contextlib.suppress(OSError):
                self._output += os.read(self._ours, 1 << 16).decode(errors="replace")

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
