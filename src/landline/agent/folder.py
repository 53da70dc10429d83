"""One folder that tools may read: every path is resolved and kept inside it."""

import os
import re
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from landline.agent.tools import ToolError

_SEPARATORS = re.compile(r"[/\\]")
_MAX_HINTED_NAMES = 12
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""The path is resolved before it is opened, so a link there now was put there since; a pipe must not block."""


class Folder:
    """A root folder and the only ways to get from a model's path to a file in it."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))

    def resolve(self, path: str) -> Path:
        """The real path of what `path` names, which need not exist.

        Raises ToolError for `..`, for an absolute path outside and for a link that leads outside.
        """
        if ".." in _SEPARATORS.split(path):
            raise ToolError(f"`..` is not allowed in {path!r}; give a path inside the folder")
        try:
            real = Path(os.path.realpath(self.root / path))
        except (ValueError, OSError) as error:
            raise ToolError(f"{path!r} is not a path") from error
        if real != self.root and self.root not in real.parents:
            raise ToolError(f"{path!r} is outside the folder; give a path inside it, such as '.'")
        return real

    def name(self, path: Path) -> str:
        """How the model knows a resolved path: relative, with `/`, and printable whatever bytes the name has."""
        return printable_name(path.relative_to(self.root).as_posix())

    @contextmanager
    def open(self, path: str) -> Generator[tuple[BinaryIO, int]]:
        """A regular file inside the folder and its size in bytes; raises ToolError for anything else."""
        descriptor = self._open_regular(path)
        with os.fdopen(descriptor, "rb") as file:
            yield file, os.fstat(descriptor).st_size

    def scan(self, path: str) -> list[os.DirEntry[str]]:
        """The entries of a folder inside the folder, by name; raises ToolError if it is none."""
        real = self.resolve(path)
        try:
            with os.scandir(real) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except NotADirectoryError as error:
            raise ToolError(f"{path!r} is a file; read it with read_file") from error
        except (OSError, ValueError) as error:
            raise ToolError(self._reason(path, error)) from error

    def _open_regular(self, path: str) -> int:
        real = self.resolve(path)
        try:
            descriptor = os.open(real, _OPEN_FLAGS)
        except (OSError, ValueError) as error:
            raise ToolError(self._reason(path, error)) from error
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            return descriptor
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise ToolError(f"{path!r} is a folder; list it with ls")
        raise ToolError(f"{path!r} is not a regular file")

    def _reason(self, path: str, error: Exception) -> str:
        """Why a path cannot be read; small models make names up, so what there is comes with it."""
        if isinstance(error, FileNotFoundError):
            names = [printable_name(name) for name in sorted(os.listdir(self.root))]
            more = ", …" if len(names) > _MAX_HINTED_NAMES else ""
            return f"there is no {path!r}; the folder holds: {', '.join(names[:_MAX_HINTED_NAMES])}{more}"
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not readable"
        return f"{path!r}: {why}"


def printable_name(name: str) -> str:
    """A file name as valid text on one line: bytes that are no UTF-8 and control characters are shown as escapes."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
