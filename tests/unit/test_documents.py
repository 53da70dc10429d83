"""What the documents tell their readers to type and where to look exists: commands, options, make targets, paths, headings."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from landline.agent.command import make_agent
from landline.cli import app
from support import REPOSITORY

DOCUMENTS = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "docs").glob("*.md"),
        *(REPOSITORY / "docs" / "adr").glob("README.md"),
        *(REPOSITORY / "changes").glob("README.md"),
        *(REPOSITORY / "benchmarks").glob("*.md"),
    ]
)
"""Not decisions and results: they keep the names of their day."""
_FENCE = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_FOLDERS = "benchmarks|changes|docs|release|requirements|src|tests"
_PATH = re.compile(rf"(?:{_FOLDERS})/[\w./-]*\w/?")
_PARTS = re.compile(r"&&|\|\||;|\|")
_TARGET = re.compile(r"^([\w-]+):", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_ANCHOR_LINK = re.compile(r"\]\(([^)#\s:]*)#([^)\s]+)\)")


def _snippets(text: str) -> list[str]:
    """What a document shows as code: lines of shell blocks, and inline code outside of blocks."""
    shell = [block for kind, block in _FENCE.findall(text) if kind in ("console", "sh")]
    lines = [line.strip().removeprefix("$ ") for block in shell for line in block.splitlines()]
    return [*lines, *_INLINE.findall(_FENCE.sub("", text))]


def _commands(text: str, program: str) -> list[list[str]]:
    """The words of each command of that program, without the program."""
    parts = [part.strip() for snippet in _snippets(text) for part in _PARTS.split(snippet)]
    called = [part for part in parts if re.match(rf"(\S*/bin/)?{program}( |$)", part)]
    return [_words(part)[1:] for part in called]


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command, comments=True)
    except ValueError:  # cut off in the middle of a quoted word
        return command.split()


def _wrong_option(words: list[str]) -> str | None:
    """The first word that no command of Landline takes, walking down its commands."""
    command: Any = typer.main.get_command(app)
    for word in words:
        if word.startswith("-"):
            options = {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}
            if word.partition("=")[0] not in options:
                return word
        elif hasattr(command, "commands"):
            below = command.commands.get(word)
            if below is None:
                return word
            command = typer.main.get_command(make_agent()) if word == "agent" else below
    return None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_of_landline_exist_with_their_options(document: Path) -> None:
    for words in _commands(document.read_text(encoding="utf-8"), "landline"):
        assert _wrong_option(words) is None, " ".join(words)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_targets_of_make_exist(document: Path) -> None:
    targets = set(_TARGET.findall((REPOSITORY / "Makefile").read_text(encoding="utf-8")))
    targets |= {f"bench-{each.stem}" for each in (REPOSITORY / "benchmarks").glob("*.py")}
    for words in _commands(document.read_text(encoding="utf-8"), "make"):
        assert {word for word in words if "=" not in word} <= targets, words


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_paths_exist(document: Path) -> None:
    named = [path for snippet in _snippets(document.read_text(encoding="utf-8")) for path in _PATH.findall(snippet)]
    assert [path for path in named if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_into_a_page_lead_to_a_heading(document: Path) -> None:
    for target, anchor in _ANCHOR_LINK.findall(document.read_text(encoding="utf-8")):
        page = document.parent / target if target else document
        headings = {_slug(heading) for heading in _HEADING.findall(page.read_text(encoding="utf-8"))}
        assert anchor in headings, f"{target}#{anchor}"


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
