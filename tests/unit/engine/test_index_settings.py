"""The index is the one that pip or uv is configured for, wherever that is set; where nobody configured one, the one that pip
or uv asks. Landline names none.
"""

import importlib.util
import zipfile
from pathlib import Path

import pytest

from landline.engine import index_settings
from landline.engine.index_settings import IndexSettings, default_index, read_index_settings

A, B, C = "https://a.test/simple", "https://b.test/simple", "https://c.test/simple"


@pytest.fixture(autouse=True)
def no_files_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(index_settings, "_pip_global_files", lambda environment: [])
    monkeypatch.setattr(index_settings.sys, "prefix", str(tmp_path / "prefix"))


def read(tmp_path: Path, environment: dict[str, str] | None = None) -> IndexSettings:
    return read_index_settings({"XDG_CONFIG_DIRS": str(tmp_path / "none"), **(environment or {})}, tmp_path)


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_nothing_configured_is_nothing(tmp_path: Path) -> None:
    assert read(tmp_path) == IndexSettings()


@pytest.mark.parametrize(
    "environment",
    [{"PIP_INDEX_URL": A}, {"UV_DEFAULT_INDEX": A}, {"UV_INDEX_URL": A}, {"UV_DEFAULT_INDEX": f"corp={A}"}],
    ids=str,
)
def test_a_variable_names_the_index(tmp_path: Path, environment: dict[str, str]) -> None:
    assert read(tmp_path, environment).index_urls[-1] in (A, f"corp={A}".partition("=")[2])


def test_extra_indexes_and_links_of_both_are_asked_too(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {
            "PIP_EXTRA_INDEX_URL": f"{A} {B}",
            "UV_INDEX": f"corp={C}",
            "UV_INDEX_CORP_USERNAME": "joe",
            "UV_INDEX_CORP_PASSWORD": "p@ss",
            "PIP_FIND_LINKS": "/one",
            "UV_FIND_LINKS": "/two,/three",
        },
    )
    assert found.index_urls == ()
    assert found.extra_urls == (A, B, "https://joe:p%40ss@c.test/simple")
    assert found.find_links == ("/one", "/two", "/three")


def test_pips_files_are_read_and_a_variable_stands_above_them(tmp_path: Path) -> None:
    put(
        tmp_path / ".config/pip/pip.conf",
        f"[global]\nindex-url = {A}\ncert = /ca.pem\ntrusted_host =\n  a.test\n  b.test\n[download]\nproxy = p:1\n",
    )
    found = read(tmp_path)
    assert (found.index_urls, found.ca_file, found.proxy) == ((A,), "/ca.pem", "p:1")
    assert found.trusted_hosts == {"a.test", "b.test"}
    assert read(tmp_path, {"PIP_INDEX_URL": B}).index_urls == (B, A)
    assert read(tmp_path, {"PIP_CONFIG_FILE": "/dev/null"}) == IndexSettings()
    other = put(tmp_path / "other.conf", f"[global]\nindex_url = {C}\nno-index = true\n")
    chosen = read(tmp_path, {"PIP_CONFIG_FILE": str(other)})
    assert (chosen.index_urls, chosen.no_index) == ((C,), True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'index-url = "{A}"\n', ((A,), ())),
        (f'[pip]\nindex-url = "{A}"\nextra-index-url = ["{B}"]\n', ((A,), (B,))),
        (f'[[index]]\nname = "x"\nurl = "{B}"\n[[index]]\nurl = "{A}"\ndefault = true\n', ((A,), (B,))),
    ],
)
def test_uvs_file_is_read(tmp_path: Path, text: str, expected: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    file = put(tmp_path / ".config/uv/uv.toml", text)
    found = read(tmp_path)
    assert (found.index_urls, found.extra_urls) == expected
    assert read(tmp_path, {"UV_NO_CONFIG": "1"}) == IndexSettings()
    moved = file.rename(tmp_path / "elsewhere.toml")
    assert read(tmp_path, {"UV_CONFIG_FILE": str(moved)}).index_urls == expected[0]


def test_files_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path / ".config/uv/uv.toml", "[[")
    put(tmp_path / ".config/pip/pip.conf", "index-url")
    assert read(tmp_path) == IndexSettings()


SOURCE = 'class PackageIndex: ...\n\nOne = PackageIndex("https://one.test/", x="y")\nTwo = PackageIndex("https://two.test/")\n'


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """As in an environment and on a machine without pip; the base of the interpreter is in the folder."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(index_settings.sysconfig, "get_path", lambda name, vars: str(tmp_path / name))
    monkeypatch.setattr(index_settings.sysconfig, "get_config_var", lambda name: str(tmp_path / "wheels"))
    monkeypatch.setattr(index_settings.sys, "base_prefix", str(tmp_path / "base"))
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
