"""What a release is checked for, and the entries that it gathers."""

import importlib.util
import io
import re
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = """
[project]
name = "landline"
license = "Apache-2.0"
requires-python = ">=3.11"
dependencies = ["one[extra]>=1.0,<2", "two>=3; sys_platform != 'win32'"]
"""
METADATA = """Metadata-Version: 2.4
Name: landline
Version: 1.2.3
License-Expression: Apache-2.0
Requires-Python: >=3.11
Requires-Dist: one[extra]<2,>=1.0
Requires-Dist: two>=3; sys_platform != 'win32'
"""
TRACKED = ("README.md", "src/landline/__init__.py", "src/landline/page.css")
WHEEL = {
    "landline/__init__.py": "",
    "landline/page.css": "",
    "landline-1.2.3.dist-info/METADATA": METADATA,
    "landline-1.2.3.dist-info/licenses/LICENSE": "",
}


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("distributions", ROOT / "release" / "distributions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DISTRIBUTIONS = _load()


def _wheel(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "landline-1.2.3-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return folder / "landline-1.2.3-py3-none-any.whl"


def _sdist(folder: Path, names: tuple[str, ...]) -> Path:
    with tarfile.open(folder / "landline-1.2.3.tar.gz", "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f"landline-1.2.3/{name}"), io.BytesIO())
    return folder / "landline-1.2.3.tar.gz"


def test_version_may_be_released_that_is_new_and_described() -> None:
    assert DISTRIBUTIONS.check_version("1.2.3", "# Changelog\n\n## 1.2.3 (2026-12-01)\n", [], ["v1.2.2"]) == []


@pytest.mark.parametrize(
    ("version", "changelog", "fragments", "tags", "word"),
    [
        ("1.2", "## 1.2 (x)", [], [], "1.2.3"),
        ("1.2.3", "## 1.2.3 (x)", [], ["v1.2.3"], "tag"),
        ("1.2.3", "## 1.2.30 (x)", [], [], "section"),
        ("1.2.3", "## 1.2.3 (x)", ["a.fixed.md"], [], "a.fixed.md"),
    ],
)
def test_version_may_not_be_released(
    version: str, changelog: str, fragments: list[str], tags: list[str], word: str
) -> None:
    [wrong] = DISTRIBUTIONS.check_version(version, changelog, fragments, tags)
    assert word in wrong


def test_sdist_is_what_is_tracked(tmp_path: Path) -> None:
    assert DISTRIBUTIONS.check_sdist(_sdist(tmp_path, (*TRACKED, "PKG-INFO")), TRACKED) == []


def test_sdist_that_lacks_a_file_or_has_another_is_refused(tmp_path: Path) -> None:
    [lacking, beyond] = DISTRIBUTIONS.check_sdist(_sdist(tmp_path, (*TRACKED[1:], "notes.txt")), TRACKED)
    assert "lacks README.md" in lacking
    assert "notes.txt" in beyond


def test_wheel_is_the_package_and_metadata_that_agrees(tmp_path: Path) -> None:
    assert DISTRIBUTIONS.check_wheel(_wheel(tmp_path, WHEEL), "1.2.3", TRACKED, PYPROJECT) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"landline/page.css": None}, "lacks landline/page.css"),
        ({"tests/test_one.py": ""}, "tests/test_one.py"),
        ({"landline-1.2.3.dist-info/licenses/LICENSE": None}, "license"),
        ({"landline-1.2.3.dist-info/METADATA": METADATA.replace("Version: 1.2.3", "Version: 1.2.4")}, "Version"),
        ({"landline-1.2.3.dist-info/METADATA": METADATA + "Requires-Dist: three\n"}, "three"),
    ],
)
def test_wheel_that_differs_is_refused(tmp_path: Path, change: dict[str, str | None], word: str) -> None:
    files = {name: text for name, text in (WHEEL | change).items() if text is not None}
    [wrong] = DISTRIBUTIONS.check_wheel(_wheel(tmp_path, files), "1.2.3", TRACKED, PYPROJECT)
    assert word in wrong


def test_wheel_from_the_sdist_is_the_same(tmp_path: Path) -> None:
    first = _wheel(tmp_path / "first", WHEEL)
    assert DISTRIBUTIONS.check_rebuilt(first, _wheel(tmp_path / "second", WHEEL)) == []
    other = _wheel(tmp_path / "third", WHEEL | {"landline/page.css": "*"})
    assert DISTRIBUTIONS.check_rebuilt(first, other) == [
        "Built from the sdist, the wheel differs in landline/page.css."
    ]


def test_entries_are_of_a_kind_that_the_changelog_has() -> None:
    kinds = {
        kind["directory"] for kind in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]["type"]
    }
    for entry in (ROOT / "changes").glob("*.md"):
        if entry.name == "README.md":
            continue
        found = re.fullmatch(r"[a-z0-9-]+\.([a-z]+)\.md", entry.name)
        assert found is not None, entry.name
        assert found[1] in kinds, entry.name
        assert "\n\n" not in entry.read_text(encoding="utf-8"), f"{entry.name}: one sentence"
