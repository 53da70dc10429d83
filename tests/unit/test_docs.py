"""The reference pages say what the code does."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from landline.config import Config, load_config

ROOT = Path(__file__).resolve().parents[2]


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["api.md", "configuration.md", "errors.md", "commands.md", "profiles.md", "metrics.md", "architecture.md"]
)
def test_made_page_is_what_the_code_makes_now(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == _generator().pages()[name], "run `make docs`"


def test_every_made_page_is_compared() -> None:
    assert set(_generator().pages()) == {
        "api.md",
        "configuration.md",
        "errors.md",
        "commands.md",
        "profiles.md",
        "metrics.md",
        "architecture.md",
    }


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
    keys = dict.fromkeys(("ONE_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY"), "key")
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
