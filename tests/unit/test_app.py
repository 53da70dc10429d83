"""The composition root: building touches nothing, and opening chooses where responses are kept by default."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from landline.app import build_app
from landline.config import Config, SealingSettings, StoreSettings
from landline.stores.default import chosen_store
from landline.stores.memory import MemoryStore
from landline.stores.sql import SqlStore
from landline.stores.store import Store, StoreError


async def opened_store(settings: StoreSettings) -> Store:
    app = build_app(Config(store=settings))
    async with app.opened():
        return chosen_store(app.store)


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o500, None])
def test_building_touches_nothing(mode: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data"
    if mode is not None:
        folder.mkdir(mode=mode)
    monkeypatch.setenv("LANDLINE_DATA_DIR", str(folder))
    before = contents(tmp_path)
    build_app(Config())
    build_app(Config(store=StoreSettings(url=f"sqlite:///{folder}/kept.db"), sealing=SealingSettings(keys_env="UNSET")))
    assert contents(tmp_path) == before


def contents(folder: Path) -> list[tuple[Path, int]]:
    """Every file and folder, with its mode."""
    return sorted((path, path.stat().st_mode) for path in folder.rglob("*"))


async def test_default_store_is_a_file_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDLINE_DATA_DIR", str(tmp_path / "deep" / "data"))
    app = build_app(Config())
    async with app.opened():
        assert isinstance(chosen_store(app.store), SqlStore)
        assert (tmp_path / "deep" / "data" / "landline.db").is_file()


async def test_second_server_keeps_its_state_in_memory_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDLINE_DATA_DIR", str(tmp_path))
    first = build_app(Config())
    async with first.opened():
        with capture_logs() as logs:
            assert isinstance(await opened_store(StoreSettings()), MemoryStore)
        assert [entry["event"] for entry in logs] == ["store_in_memory"]
    assert isinstance(await opened_store(StoreSettings()), SqlStore)


async def test_folder_that_cannot_be_made_means_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LANDLINE_DATA_DIR", str(tmp_path / "file"))
    assert isinstance(await opened_store(StoreSettings()), MemoryStore)


async def test_file_that_was_asked_for_and_is_in_use_stops_the_start(tmp_path: Path) -> None:
    settings = Config(store=StoreSettings(url=f"sqlite:///{tmp_path}/kept.db"))
    async with build_app(settings).opened():
        with pytest.raises(StoreError, match="One process at a time"):
            async with build_app(settings).opened():
                pass
