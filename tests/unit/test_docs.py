"""The reference pages say what the code does."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["api.md", "configuration.md", "errors.md", "commands.md", "profiles.md"])
def test_made_page_is_what_the_code_makes_now(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == _generator().pages()[name], "run `make docs`"


def test_every_made_page_is_compared() -> None:
    assert set(_generator().pages()) == {
        "api.md",
        "configuration.md",
        "errors.md",
        "commands.md",
        "profiles.md",
    }


def test_links_between_the_documents_lead_somewhere() -> None:
    documents = [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "changes").glob("*.md"),
    ]
    broken = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
        if not target.startswith(("http:", "https:")) and not (document.parent / target).exists()
    ]
    assert broken == []
