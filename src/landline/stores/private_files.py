"""Files and folders that hold conversations: readable by this user only, from the moment that they exist.

Windows has no such modes: there, the user's data folder is private by its access list, and nothing is changed.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

import platformdirs
import structlog

DATA_DIR_VARIABLE = "LANDLINE_DATA_DIR"
DATA_FILES = ("landline.db", "sealing.key")
"""What the data folder holds; files beside them begin with their names."""
_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
_OTHERS = 0o077
_OTHERS_MAY_WRITE = 0o022

_log = structlog.stdlib.get_logger(__name__)


def make_private_file(path: Path) -> None:
    """Makes the file with mode 0600 if it is missing, and takes others' rights away if it is there.

    Raises OSError when it cannot be made. A file that is there is not opened: closing it would free the locks that this
    process holds on it (POSIX).
    """
    real = Path(os.path.realpath(path))  # a link to a file that is to be made
    try:
        os.close(os.open(real, os.O_CREAT | os.O_EXCL | os.O_RDWR, _FILE_MODE))
    except FileExistsError:
        tighten_file(real)


def tighten_file(path: Path) -> None:
    """Takes others' rights to the file away; ignored if it is not there, logged if it cannot be done."""
    _tighten(path, _FILE_MODE)


def default_data_dir() -> Path:
    """`LANDLINE_DATA_DIR`, else the user's data folder of this platform; it need not exist."""
    chosen = os.environ.get(DATA_DIR_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_dir("landline"))


def make_data_folder(path: Path, own_names: Iterable[str] = DATA_FILES) -> None:
    """Makes the folder with mode 0700 if it is missing; if it is there and only ours, it gets that mode.

    It is ours when it holds nothing but what begins with one of the names, others cannot write in it, and it is not the
    home folder: the data folder may be set to one that is shared, which must stay so. Raises OSError.
    """
    try:
        path.mkdir(parents=True, mode=_FOLDER_MODE)
    except FileExistsError:
        if not path.is_dir():
            raise
        if _is_ours(path, tuple(own_names)):
            _tighten(path, _FOLDER_MODE)


def _is_ours(path: Path, own_names: tuple[str, ...]) -> bool:
    try:
        mode = path.stat().st_mode
        if mode & (_OTHERS_MAY_WRITE | stat.S_ISVTX) or path.resolve() == Path.home().resolve():
            return False
        return all(name.startswith(own_names) for name in os.listdir(path))
    except (OSError, RuntimeError):  # no home folder is known
        return False


def _tighten(path: Path, mode: int) -> None:
    if os.name == "nt":
        return
    try:
        if path.stat().st_mode & _OTHERS:
            path.chmod(mode)
    except FileNotFoundError:
        pass
    except OSError as error:
        _log.warning("not_private", path=str(path), wanted=f"{mode:04o}", error=str(error))
