"""Where nobody configured an index, pip or uv says which one it asks; Landline names none."""

import importlib.util
import zipfile
from pathlib import Path

import pytest

from landline.engine import default_index as module
from landline.engine.default_index import default_index

SOURCE = 'class PackageIndex: ...\n\nOne = PackageIndex("https://one.test/", x="y")\nTwo = PackageIndex("https://two.test/")\n'


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """As in an environment and on a machine without pip; the base of the interpreter is in the folder."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(module.sysconfig, "get_path", lambda name, vars: str(tmp_path / name))
    monkeypatch.setattr(module.sysconfig, "get_config_var", lambda name: str(tmp_path / "wheels"))
    monkeypatch.setattr(module.sys, "base_prefix", str(tmp_path / "base"))
    return tmp_path


def test_the_pip_of_this_environment_says_it() -> None:
    found = default_index({"PATH": ""})
    assert found is not None
    assert found.startswith("https://")
    assert found.endswith("/simple")


def test_the_wheel_that_brings_pip_says_it(no_pip: Path) -> None:
    (no_pip / "wheels").mkdir()
    with zipfile.ZipFile(no_pip / "wheels" / "pip-99.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("pip/_internal/models/index.py", SOURCE)
    assert default_index({"PATH": ""}) == "https://one.test/simple"


def test_the_pip_of_the_interpreter_behind_the_environment_says_it(no_pip: Path) -> None:
    (no_pip / "purelib/pip/_internal/models").mkdir(parents=True)
    (no_pip / "purelib/pip/_internal/models/index.py").write_text(SOURCE)
    assert default_index({"PATH": ""}) == "https://one.test/simple"


@pytest.mark.parametrize("variable", ["PATH", "UV"])
def test_uv_says_it_where_there_is_no_pip(no_pip: Path, variable: str) -> None:
    uv = no_pip / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(
        "#!/bin/sh\necho '--default-index  The default package index (by default: <https://uv.test/simple>)'\n"
    )
    uv.chmod(0o755)
    folders = f"{uv.parent}:/usr/bin:/bin" if variable == "PATH" else "/nowhere"
    environment = {"PATH": folders} | ({"UV": str(uv)} if variable == "UV" else {})
    assert default_index(environment) == "https://uv.test/simple"


def test_nobody_is_there_to_say_it(no_pip: Path) -> None:
    assert default_index({"PATH": str(no_pip)}) is None
