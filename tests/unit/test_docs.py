"""The reference pages say what the code does, and what any page tells its readers to type or to look at exists."""

import ast
import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

from landline.agent.command import make_agent
from landline.cli import app
from landline.config import Config, load_config

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs" / "adr").glob("README.md"),
        *(ROOT / "changes").glob("README.md"),
        *(ROOT / "benchmarks").glob("*.md"),
        *(ROOT / "aiperf-responses-websocket").glob("*.md"),
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


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MADE_PAGES = [
    "api.md",
    "configuration.md",
    "errors.md",
    "commands.md",
    "profiles.md",
    "prices.md",
    "metrics.md",
    "architecture.md",
]


@pytest.mark.parametrize("name", MADE_PAGES)
def test_made_page_is_what_the_code_makes_now(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == _generator().pages()[name], "run `make docs`"


def test_every_made_page_is_compared() -> None:
    assert set(_generator().pages()) == set(MADE_PAGES)


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "docs/configuration.md",
        "docs/anthropic.md",
        "docs/gemini.md",
        "docs/responses.md",
        "docs/telemetry.md",
    ],
)
def test_configurations_that_are_shown_are_accepted(name: str, tmp_path: Path) -> None:
    keys: dict[str, str] = dict.fromkeys(("ONE_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY"), "key")
    examples = re.findall(r"```toml\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        (tmp_path / "landline.toml").write_text(example, encoding="utf-8")
        found = load_config(tmp_path / "landline.toml", keys)
        wrong = [] if isinstance(found, Config) else [str(each) for each in found if each.path != "models"]
        assert wrong == [], example


def test_links_between_the_documents_lead_somewhere() -> None:
    documents = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "changes").glob("*.md"),
        *(ROOT / "aiperf-responses-websocket").glob("*.md"),
    ]
    broken = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
        if not target.startswith(("http:", "https:")) and not (document.parent / target).exists()
    ]
    assert broken == []


def test_decisions_are_listed_by_their_titles() -> None:
    folder = ROOT / "docs" / "adr"
    decisions = {
        each.name: each.read_text(encoding="utf-8").partition("\n")[0].split(" · ")[1]
        for each in sorted(folder.glob("0*.md"))
    }
    listed = re.findall(r"^- \[\d{4}\]\((.*)\) (.*)$", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(listed) == decisions
    assert [name for name, _ in listed] == list(decisions)


def test_package_table_and_diagram_name_every_package() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages = [
        each.stem
        for each in (ROOT / "src" / "landline").iterdir()
        if not each.name.startswith("_") and (each.suffix == ".py" or (each / "__init__.py").exists())
    ]
    for package in packages:
        assert f"| `{package}` |" in page
        assert re.search(rf"^    ({package} --> \w+|\w+ --> {package})$", page, re.MULTILINE), package


def test_walk_names_functions_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    walk = page[page.index("## The way of one frame") :]
    hops = re.findall(r"^\| \d+ \| `([a-z_/]+\.py)` ([^|]+) \|", walk, flags=re.MULTILINE)
    assert len(hops) > 10
    for path, names in hops:
        module = ast.parse((ROOT / "src" / "landline" / path).read_text())
        classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
        owner = ""
        for name in re.findall(r"`([\w.]+)`", names):
            owner, _, function = name.rpartition(".") if "." in name else (owner, "", name)
            methods = {
                each.name for each in classes[owner].body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            }
            assert function in methods, f"{path}: {name}"


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
    if words[:1] == ["agent"]:
        command, words = typer.main.get_command(make_agent()), words[1:]
    for word in words:
        if word.startswith("-"):
            options = {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}
            if word.partition("=")[0] not in options:
                return word
        elif hasattr(command, "commands"):
            below = command.commands.get(word)
            if below is None:
                return word
            command = below
    return None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_of_landline_exist_with_their_options(document: Path) -> None:
    for words in _commands(document.read_text(encoding="utf-8"), "landline"):
        assert _wrong_option(words) is None, " ".join(words)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_targets_of_make_exist(document: Path) -> None:
    targets = set(_TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    targets |= {f"bench-{each.stem}" for each in (ROOT / "benchmarks").glob("*.py")}
    for words in _commands(document.read_text(encoding="utf-8"), "make"):
        assert {word for word in words if "=" not in word} <= targets, words


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_paths_exist(document: Path) -> None:
    named = [path for snippet in _snippets(document.read_text(encoding="utf-8")) for path in _PATH.findall(snippet)]
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_into_a_page_lead_to_a_heading(document: Path) -> None:
    for target, anchor in _ANCHOR_LINK.findall(document.read_text(encoding="utf-8")):
        page = document.parent / target if target else document
        headings = {_slug(heading) for heading in _HEADING.findall(page.read_text(encoding="utf-8"))}
        assert anchor in headings, f"{target}#{anchor}"


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
