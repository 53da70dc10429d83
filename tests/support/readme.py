"""What the README tells its reader to type, read out of it. What is of a kind that no test knows yet is an error here."""

import re
import shlex

from support import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
KINDS = frozenset(("console", "sh", "python", "toml", "text"))
"""`text` is what a command printed."""
_BLOCK = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_PROMPT = "$ "


def blocks(kind: str) -> list[str]:
    """The fenced blocks of a kind, in order."""
    found: list[tuple[str, str]] = _BLOCK.findall(README)
    unknown = {name for name, _ in found} - KINDS
    assert not unknown, f"support/readme.py knows no blocks of kind {sorted(unknown)}: say there how they are tried"
    return [text for name, text in found if name == kind]


def commands() -> list[str]:
    """What is typed at a prompt, in order, without comments; what is chained by `&&` is taken apart."""
    lines = [line for block in blocks("console") for line in block.splitlines()]
    for line in lines:
        assert line.startswith(_PROMPT), f"a console block shows what is typed, after `$ `: {line!r}"
    return [part for line in lines for part in _parts(line.removeprefix(_PROMPT))]


def scripts() -> list[str]:
    """The shell scripts, each with the program that it runs first."""
    return blocks("sh")


def benchmarks() -> list[str]:
    """The commands in the table of numbers."""
    section = README.partition("\n## Numbers\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    assert rows, "the table of numbers is not where it was"
    cells = [row[1].strip() for row in rows]
    found = [cell.strip("`") for cell in cells if cell != "the same"]
    assert all(cell == f"`{name}`" for cell, name in zip([c for c in cells if c != "the same"], found, strict=True))
    return found


def _parts(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "&&":
            parts.append([])
        else:
            parts[-1].append(word)
    return [shlex.join(part) if "$" not in line else line for part in parts]
