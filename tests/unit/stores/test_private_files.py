"""What holds prompts is its user's alone, from the moment that it exists."""

import asyncio
import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from landline.stores import is_claimed, make_store
from landline.stores.private_files import make_data_folder, make_private_file, tighten_file
from landline.stores.store import StoredConversation, StoreError

NAMES = ("landline.db", "sealing.key")


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """Nothing is private only because the tests' user is careful."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def database_files(folder: Path) -> dict[str, int]:
    return {each.name: mode(each) for each in folder.iterdir()}


async def write_into(path: Path) -> dict[str, int]:
    """The modes of the files of a store that is open and has been written to."""
    store = make_store(f"sqlite:///{path}")
    await store.open()
    try:
        await store.create_conversation("", StoredConversation(conversation_id="c", created_at=0.0, metadata={}), [])
        return database_files(path.parent)
    finally:
        await store.close()


async def test_new_database_and_all_that_lies_beside_it_is_private(tmp_path: Path) -> None:
    modes = await write_into(tmp_path / "kept.db")
    assert {"kept.db", "kept.db-wal", "kept.db-shm", "kept.db.lock"} <= set(modes)
    assert set(modes.values()) == {0o600}


async def test_database_that_others_could_read_is_private_once_it_is_opened(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "kept.db")
    old.execute("PRAGMA journal_mode = WAL")
    old.execute("CREATE TABLE unrelated (n)")
    (tmp_path / "kept.db.lock").touch(0o644)
    assert mode(tmp_path / "kept.db-wal") & 0o077
    modes = await write_into(tmp_path / "kept.db")
    old.close()
    assert set(modes.values()) == {0o600}
    assert {"kept.db", "kept.db-wal", "kept.db-shm", "kept.db.lock"} <= set(modes)


async def test_folder_that_a_url_names_is_left_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(0o755)
    await write_into(shared / "kept.db")
    assert mode(shared) == 0o755


async def test_database_behind_a_link_is_private_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "kept.db").symlink_to(tmp_path / "real" / "there.db")
    store = make_store(f"sqlite:///{tmp_path}/kept.db")
    await store.open()
    await store.close()
    assert mode(tmp_path / "real" / "there.db") == 0o600


async def test_asking_whether_a_file_is_free_does_not_free_it(tmp_path: Path) -> None:
    store = make_store(f"sqlite:///{tmp_path}/kept.db")
    await store.open()
    assert is_claimed(f"{tmp_path}/kept.db")
    code = f"from landline.stores import is_claimed; print(is_claimed({str(tmp_path / 'kept.db')!r}))"
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert (await other.communicate())[0] == b"True\n"
    await store.close()


async def test_folder_that_is_missing_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be locked"):
        await make_store(f"sqlite:///{tmp_path}/no/kept.db").open()


def test_file_is_made_private_and_stays_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    make_private_file(path)
    assert mode(path) == 0o600
    path.write_text("content")
    path.chmod(0o644)
    make_private_file(path)
    assert (mode(path), path.read_text()) == (0o600, "content")


def test_mode_that_is_narrower_already_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o400)
    tighten_file(path)
    assert mode(path) == 0o400


def test_file_that_is_not_there_is_not_made_by_tightening_it(tmp_path: Path) -> None:
    tighten_file(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_file_that_cannot_be_made_private_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.touch(0o644)

    def refuse(*_: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "chmod", refuse)
    with capture_logs() as logs:
        tighten_file(path)
    assert [(entry["event"], entry["wanted"]) for entry in logs] == [("not_private", "0600")]


def test_data_folder_is_made_private(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    make_data_folder(folder, NAMES)
    assert mode(folder) == 0o700


def test_data_folder_of_an_older_version_is_made_private(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(0o755)
    for name in ("landline.db", "landline.db-wal", "landline.db.lock", "sealing.key"):
        (folder / name).touch()
    make_data_folder(folder, NAMES)
    assert mode(folder) == 0o700


@pytest.mark.parametrize("kind", ["foreign files", "others write", "sticky", "home"])
def test_folder_that_is_shared_stays_so(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    modes = {"others write": 0o777, "sticky": 0o1755}
    folder.chmod(modes.get(kind, 0o755))
    (folder / "landline.db").touch()
    if kind == "foreign files":
        (folder / "photos").mkdir()
    if kind == "home":
        monkeypatch.setenv("HOME", str(folder))
    make_data_folder(folder, NAMES)
    assert mode(folder) == modes.get(kind, 0o755)


def test_data_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(OSError, match="exists"):
        make_data_folder(tmp_path / "data", NAMES)
