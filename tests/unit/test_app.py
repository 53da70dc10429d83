"""What the parts are made of: targets by their dialect, and where responses are kept when the configuration does not say."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from landline.app import build_app, make_target
from landline.config import (
    AnthropicTarget,
    ChatCompletionsTarget,
    Config,
    GeminiTarget,
    RemoteTarget,
    ResponsesTarget,
    StoreSettings,
)
from landline.stores.memory import MemoryStore
from landline.stores.sql import SqlStore
from landline.stores.store import Store, StoreError
from landline.upstream.http import HttpTarget
from landline.upstream.websocket import ResponsesSocketTarget

URL = "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (ChatCompletionsTarget(base_url=URL), HttpTarget),
        (AnthropicTarget(), HttpTarget),
        (GeminiTarget(), HttpTarget),
        (ResponsesTarget(base_url=URL), HttpTarget),
        (ResponsesTarget(base_url=URL, transport="websocket"), ResponsesSocketTarget),
    ],
)
def test_every_dialect_has_its_target(settings: RemoteTarget, kind: type[object]) -> None:
    made = make_target("t", settings)
    assert isinstance(made, kind)
    assert made.name == "t"


def store_of(settings: StoreSettings) -> Store:
    return build_app(Config(store=settings)).store


async def test_default_store_is_a_file_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDLINE_DATA_DIR", str(tmp_path / "deep" / "data"))
    app = build_app(Config())
    async with app.opened():
        assert isinstance(app.store, SqlStore)
        assert (tmp_path / "deep" / "data" / "landline.db").is_file()


async def test_second_server_keeps_its_state_in_memory_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDLINE_DATA_DIR", str(tmp_path))
    first = build_app(Config())
    async with first.opened():
        with capture_logs() as logs:
            assert isinstance(store_of(StoreSettings()), MemoryStore)
        assert [entry["event"] for entry in logs] == ["store_in_memory"]
    assert isinstance(store_of(StoreSettings()), SqlStore)


async def test_folder_that_cannot_be_made_means_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LANDLINE_DATA_DIR", str(tmp_path / "file"))
    assert isinstance(store_of(StoreSettings()), MemoryStore)


async def test_file_that_was_asked_for_and_is_in_use_stops_the_start(tmp_path: Path) -> None:
    settings = Config(store=StoreSettings(url=f"sqlite:///{tmp_path}/kept.db"))
    async with build_app(settings).opened():
        with pytest.raises(StoreError, match="One process at a time"):
            async with build_app(settings).opened():
                pass
