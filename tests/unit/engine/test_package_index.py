"""A wheel is found in indexes of both forms and comes whole, or it is said why not."""

import os
from pathlib import Path

import pytest

from landline.engine.index_settings import IndexSettings
from landline.engine.package_index import IndexUnreadableError, PackageIndex, Wheel
from support.fakes.package_index import Form, PackageServer

DATA = os.urandom(700_000)
NAME = "Tiny_Model-1.0-py3-none-any.whl"
FILES = {
    "tiny_model-0.9-py3-none-any.whl": b"old",
    "tiny_model-1.0.tar.gz": b"no wheel",
    "other-1.0-py3-none-any.whl": b"another package",
    NAME: DATA,
}


def find(server: PackageServer, index: PackageIndex | None = None, url: str | None = None) -> Wheel:
    wheel = (index or PackageIndex(IndexSettings())).find("tiny-model", "1.0", [url or server.url])
    assert wheel is not None
    return wheel


def fetch(wheel: Wheel, folder: Path) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    PackageIndex(IndexSettings()).download(wheel, folder / "wheel", lambda *progress: seen.append(progress))
    assert (folder / "wheel").read_bytes() == DATA
    return seen


@pytest.mark.parametrize("form", ["html", "json"])
def test_the_wheel_of_the_version_is_found_and_comes_whole(form: Form, tmp_path: Path) -> None:
    with PackageServer("tiny-model", FILES, form).running() as server:
        wheel = find(server)
        assert wheel.filename == NAME
        assert wheel.sha256 is not None
        seen = fetch(wheel, tmp_path)
    assert seen[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("form", ["html", "json"])
@pytest.mark.parametrize("account", ["joe:secret", "__token__:p@ss/word", "token:"])
def test_an_account_in_the_url_opens_the_index_and_its_files(form: Form, account: str, tmp_path: Path) -> None:
    server = PackageServer("tiny-model", FILES, form)
    server.account = account
    quoted = account.replace("@", "%40").replace("/", "%2F")
    with server.running():
        wheel = find(server, url=server.url.replace("://", f"://{quoted}@"))
        fetch(wheel, tmp_path)
        with pytest.raises(IndexUnreadableError, match=r"status 401 \(it wants other credentials") as refused:
            find(server, url=server.url.replace("://", "://joe:wrong-secret@"))
    assert "wrong-secret" not in str(refused.value)


def test_an_account_in_netrc_opens_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login joe password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    server = PackageServer("tiny-model", FILES)
    server.account = "joe:secret"
    with server.running():
        wheel = find(server)
        PackageIndex(IndexSettings()).download(wheel, tmp_path / "wheel", lambda *_: None)


def test_an_account_does_not_follow_a_redirect(tmp_path: Path) -> None:
    server, other = PackageServer("tiny-model", FILES), PackageServer("x", {NAME: DATA})
    server.account = "joe:secret"
    with server.running(), other.running():
        server.elsewhere = other.url.replace("/simple", "/files").replace("127.0.0.1", "localhost")
        fetch(find(server, url=server.url.replace("://", "://joe:secret@")), tmp_path)
    assert [authorization for _, authorization in other.asked] == [None]


@pytest.mark.parametrize("honours_ranges", [True, False])
def test_a_download_that_broke_off_goes_on(honours_ranges: bool, tmp_path: Path) -> None:
    server = PackageServer("tiny-model", FILES)
    server.cut_after = [300_000, 200_000]
    server.honours_ranges = honours_ranges
    with server.running():
        fetch(find(server), tmp_path)


def test_a_server_that_sends_nothing_is_given_up(tmp_path: Path) -> None:
    server = PackageServer("tiny-model", FILES)
    server.cut_after = [0] * 9
    with server.running():
        wheel = find(server)
        with pytest.raises(IndexUnreadableError, match="broke off after 0 bytes"):
            PackageIndex(IndexSettings()).download(wheel, tmp_path / "wheel", lambda *_: None)
    assert len(server.asked) == 6


def test_a_file_that_is_not_what_the_index_says_is_refused(tmp_path: Path) -> None:
    server = PackageServer("tiny-model", FILES)
    server.wrong_hash = True
    with server.running():
        wheel = find(server)
        with pytest.raises(IndexUnreadableError, match="is damaged"):
            PackageIndex(IndexSettings()).download(wheel, tmp_path / "wheel", lambda *_: None)
    assert not (tmp_path / "wheel").exists()


def test_the_first_index_that_has_it_is_taken(tmp_path: Path) -> None:
    with PackageServer("something-else", {}).running() as empty, PackageServer("tiny-model", FILES).running() as full:
        index = PackageIndex(IndexSettings())
        wheel = index.find("tiny-model", "1.0", ["http://127.0.0.1:1/simple", empty.url, full.url + "/"])
        assert wheel is not None
        assert wheel.url.startswith(full.url.removesuffix("/simple"))
        assert index.find("tiny-model", "3.0", [empty.url, full.url]) is None
        with pytest.raises(IndexUnreadableError, match=r"http://127\.0\.0\.1:1/simple/tiny-model/ cannot be read: "):
            index.find("tiny-model", "3.0", ["http://127.0.0.1:1/simple", full.url])


@pytest.mark.parametrize("is_url", [True, False])
def test_folders_of_wheels_and_of_pages_are_read(is_url: bool, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(DATA)
    (tmp_path / "simple" / "tiny-model").mkdir(parents=True)
    (tmp_path / "simple" / "tiny-model" / "index.html").write_text(f'<a href="../../{NAME}">{NAME}</a>')
    links = (tmp_path.as_uri() if is_url else str(tmp_path),)
    found = PackageIndex(IndexSettings(find_links=links)).find("tiny-model", "1.0", [])
    listed = PackageIndex(IndexSettings()).find("tiny-model", "1.0", [(tmp_path / "simple").as_uri()])
    assert found is not None
    assert listed is not None
    assert found.url == listed.url
    fetch(found, tmp_path / "simple")
