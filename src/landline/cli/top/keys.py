"""Keys of a POSIX terminal, one at a time, without waiting for a line."""

import asyncio
import os
import termios
import tty
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import Enum, auto


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
