"""The index is the one that pip or uv is configured for, wherever that is said."""

from pathlib import Path

import pytest

from landline.engine import index_settings
from landline.engine.index_settings import IndexSettings, read_index_settings

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
