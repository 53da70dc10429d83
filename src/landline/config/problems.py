"""What is wrong with a configuration, as values; a file's problems are all found before any is reported."""

from collections.abc import Iterable
from difflib import get_close_matches

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """One thing that the user has to change."""

    path: str
    """The key as TOML writes it (`server.port`, `models."gpt-5".targets`); "" for the file as a whole."""
    message: str
    """What was expected, what came, what to do."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def join_path(path: str, key: str) -> str:
    """The path of `key` inside `path`, quoted where TOML wants it."""
    bare = key.replace("-", "").replace("_", "")
    name = key if bare.isascii() and bare.isalnum() else f'"{key}"'
    return f"{path}.{name}" if path else name


def did_you_mean(key: str, known: Iterable[str]) -> str:
    """`; did you mean `port`?` for a near miss, else the list of what is known."""
    names = sorted(known)
    near = get_close_matches(key, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean `{near[0]}`?"
    return f"; known here: {', '.join(f'`{name}`' for name in names)}" if names else ""
