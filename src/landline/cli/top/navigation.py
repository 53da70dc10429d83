"""Where the user of `landline top` is, and the keys that move them: of a POSIX terminal, one at a time."""

import asyncio
import os
import termios
import tty
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import get_args

from landline.monitor.state import PAGE_MAX, Shown, Snapshot, Sort, View


class Key(Enum):
    QUIT = auto()
    UP = auto()
    DOWN = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()
    FIRST = auto()
    LAST = auto()
    ENTER = auto()
    BACK = auto()
    SORT = auto()
    SHOW = auto()


_KEYS = {
    b"q": Key.QUIT,
    b"Q": Key.QUIT,
    b"\x03": Key.QUIT,
    b"k": Key.UP,
    b"\x1b[A": Key.UP,
    b"\x1bOA": Key.UP,
    b"j": Key.DOWN,
    b"\x1b[B": Key.DOWN,
    b"\x1bOB": Key.DOWN,
    b"\x1b[5~": Key.PAGE_UP,
    b"\x02": Key.PAGE_UP,
    b"\x1b[6~": Key.PAGE_DOWN,
    b"\x06": Key.PAGE_DOWN,
    b" ": Key.PAGE_DOWN,
    b"g": Key.FIRST,
    b"\x1b[H": Key.FIRST,
    b"\x1b[1~": Key.FIRST,
    b"G": Key.LAST,
    b"\x1b[F": Key.LAST,
    b"\x1b[4~": Key.LAST,
    b"\r": Key.ENTER,
    b"\n": Key.ENTER,
    b"l": Key.ENTER,
    b"\x1b[C": Key.ENTER,
    b"\x1bOC": Key.ENTER,
    b"\x1b": Key.BACK,
    b"h": Key.BACK,
    b"\x7f": Key.BACK,
    b"\x1b[D": Key.BACK,
    b"\x1bOD": Key.BACK,
    b"s": Key.SORT,
    b"a": Key.SHOW,
}
_LONGEST = max(map(len, _KEYS))


@contextmanager
def listening(fd: int, on_key: Callable[[Key], None]) -> Generator[None]:
    """Calls `on_key` for each key that means something; the terminal is as it was afterwards."""
    before = termios.tcgetattr(fd)
    loop = asyncio.get_running_loop()

    def read() -> None:
        data = os.read(fd, 1024)
        if not data:
            loop.remove_reader(fd)
            on_key(Key.QUIT)
        for key in decode_keys(data):
            on_key(key)

    tty.setcbreak(fd, termios.TCSADRAIN)
    loop.add_reader(fd, read)
    try:
        yield
    finally:
        loop.remove_reader(fd)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def decode_keys(data: bytes) -> list[Key]:
    """The keys in what a terminal sent; what means nothing is left out, whole escape sequences of it."""
    keys: list[Key] = []
    while data:
        length = next((size for size in range(_LONGEST, 0, -1) if data[:size] in _KEYS), 0)
        if length == 1 and data[:1] == b"\x1b" and len(data) > 1:
            data = data[_sequence_length(data) :]
            continue
        if length:
            keys.append(_KEYS[data[:length]])
        data = data[length or 1 :]
    return keys


def _sequence_length(data: bytes) -> int:
    """Of an escape sequence that is none of ours: ECMA-48 CSI ends with a byte of 0x40 to 0x7E, any other has two bytes."""
    if data[1:2] != b"[":
        return 2
    return next((place + 1 for place in range(2, len(data)) if 0x40 <= data[place] <= 0x7E), len(data))


SORTS: tuple[Sort, ...] = get_args(Sort)


@dataclass
class Navigation:
    """A cursor in the list of sessions, or in the turns of one."""

    sort: Sort = "changed"
    show: Shown = "all"
    selected: str = ""
    """The session under the cursor."""
    top: int = 0
    """The first session that is shown; of turns, how many newer ones are below the screen."""
    opened: str = ""
    """The session that is looked at closely."""
    rows: int = 10
    """Rows that the last screen had room for."""

    @property
    def view(self) -> View:
        """What to ask the server for."""
        return View(sessions=PAGE_MAX, sort=self.sort, show=self.show, session=self.opened)

    def press(self, key: Key, snapshot: Snapshot) -> None:
        """Moves by the key; `QUIT` is handled by the caller."""
        match key:
            case Key.BACK:
                self.opened, self.top = "", 0
            case Key.ENTER if not self.opened:
                self.opened, self.top = self.cursor(snapshot), 0
            case Key.SORT if not self.opened:
                self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
            case Key.SHOW if not self.opened:
                self.show = "live" if self.show == "all" else "all"
            case _:
                self._move(self._step(key), snapshot)

    def cursor(self, snapshot: Snapshot) -> str:
        """The selected session, or the first when that one is not there; "" when there is none."""
        ids = [row.id for row in snapshot.sessions.rows]
        return self.selected if self.selected in ids else next(iter(ids), "")

    def _step(self, key: Key) -> int:
        far = 10**9
        page = max(1, self.rows - 1)
        steps = {Key.UP: -1, Key.DOWN: 1, Key.PAGE_UP: -page, Key.PAGE_DOWN: page, Key.FIRST: -far, Key.LAST: far}
        return steps.get(key, 0)

    def _move(self, step: int, snapshot: Snapshot) -> None:
        if self.opened:
            turns = len(snapshot.session.turns) if snapshot.session is not None else 0
            self.top = max(0, min(self.top - step, turns - self.rows))
            return
        ids = [row.id for row in snapshot.sessions.rows]
        if ids:
            at = ids.index(self.cursor(snapshot))
            self.selected = ids[max(0, min(at + step, len(ids) - 1))]
