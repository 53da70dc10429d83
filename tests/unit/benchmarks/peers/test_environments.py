"""What is never installed, and what is said of an installation that failed."""

import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from peers import environments
from peers.adapters import LITELLM
from peers.environments import NotInstalledError, check_version, find_python, install, last_error


def test_refused_version_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    with pytest.raises(NotInstalledError, match=r"1\.107\.0 is refused: a compromised release"):
        install(replace(LITELLM, versions=["1.107.0"]), "0")
    assert list(tmp_path.iterdir()) == []


def test_other_versions_and_packages_are_not_refused() -> None:
    check_version("litellm[proxy]", "1.110.2")
    check_version("other", "1.107.0")


def test_failed_installation_is_remembered_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    (tmp_path / "litellm-1.0.failed").write_text("no such file")
    with pytest.raises(NotInstalledError, match=r"^1\.0: no such file$"):
        install(replace(LITELLM, versions=["1.0"]), "0")


def test_python_that_runs_this_is_taken_when_it_is_new_enough() -> None:
    assert find_python((3, 11)) == sys.executable


def test_python_that_nobody_has_is_named() -> None:
    with pytest.raises(NotInstalledError, match=r"needs Python 3\.90"):
        find_python((3, 90))


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("WARNING: old\nERROR: no version\nhint", "ERROR: no version"),
        ("npm warn x\nnpm error code E404\n", "npm error code E404"),
        ("just\nthis\n", "this"),
        ("", "failed without a word"),
        ("ERROR: " + "x" * 300, "ERROR: " + "x" * 193 + " …"),
    ],
)
def test_last_error_is_the_last_line_that_names_one(output: str, line: str) -> None:
    assert last_error(output) == line
