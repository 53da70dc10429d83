"""The package indexes that pip and uv are configured for on this machine, without needing either, and the index that they ask
when none is configured.

Nothing is read from the working directory: a folder that a server happens to be started in does not say where it
downloads from.
"""

import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

DEFAULT_TIMEOUT_S = 30.0


class IndexSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where packages come from, in the order in which it is asked."""

    index_urls: tuple[str, ...] = ()
    """The configured default index first. Empty where only extra ones are configured, or none."""
    extra_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    """Folders, and pages with links."""
    no_index: bool = False
    """Whether only `find_links` may be asked."""
    ca_file: str | None = None
    client_cert: str | None = None
    proxy: str | None = None
    trusted_hosts: frozenset[str] = frozenset()
    """Hosts whose certificates are not checked."""
    timeout_s: float = DEFAULT_TIMEOUT_S


Lookup = Callable[[str], str | None]
"""The value of a setting by its name as pip writes it: `index-url`."""


def read_index_settings(environment: Mapping[str, str] = os.environ, home: Path | None = None) -> IndexSettings:
    """Variables before files, pip before uv; extra indexes and links of all of them."""
    home = home or Path.home()
    pip_file = _pip_files(environment, home)
    uv_file = _uv_tables(environment, home)
    pip: list[Lookup] = [lambda key: environment.get(f"PIP_{key.upper().replace('-', '_')}"), pip_file.get]
    indexes = [
        *_words(pip[0]("index-url"))[:1],
        *_words(environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL"))[:1],
        *_words(pip[1]("index-url"))[:1],
        *_uv_defaults(uv_file, environment),
    ]
    extras = [
        *(url for lookup in pip for url in _words(lookup("extra-index-url"))),
        *(_named(word, environment) for word in _words(environment.get("UV_INDEX"))),
        *_words(environment.get("UV_EXTRA_INDEX_URL")),
        *_uv_extras(uv_file, environment),
    ]
    links = [
        *(word for lookup in pip for word in _words(lookup("find-links"))),
        *(environment.get("UV_FIND_LINKS") or "").replace(",", " ").split(),
        *(word for table in uv_file for word in _texts(table.get("find-links"))),
    ]

    def first(key: str) -> str | None:
        return next((value for lookup in pip if (value := lookup(key))), None)

    hosts = {*_words(first("trusted-host")), *_words(environment.get("UV_INSECURE_HOST"))}
    return IndexSettings(
        index_urls=tuple(_named(url, environment) for url in dict.fromkeys(indexes)),
        extra_urls=tuple(dict.fromkeys(extras)),
        find_links=tuple(dict.fromkeys(links)),
        no_index=_is_true(first("no-index")) or _is_true(environment.get("UV_NO_INDEX")),
        ca_file=first("cert") or environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE"),
        client_cert=first("client-cert"),
        proxy=first("proxy"),
        trusted_hosts=frozenset(hosts),
        timeout_s=_seconds(first("default-timeout") or first("timeout")),
    )


def _pip_files(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """The settings of pip's configuration files, later ones over earlier ones, as pip reads them."""
    chosen = environment.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return {}
    files = [*_pip_global_files(environment)]
    if not chosen:
        files += _pip_user_files(environment, home)
    files.append(Path(sys.prefix) / ("pip.ini" if os.name == "nt" else "pip.conf"))
    files += [Path(chosen)] if chosen else []
    found: dict[str, str] = {}
    for file in files:
        parser = configparser.RawConfigParser(interpolation=None)
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue  # pip itself says so to whoever uses it
        for section in ("global", "download"):
            if parser.has_section(section):
                found.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    return found


def _pip_global_files(environment: Mapping[str, str]) -> list[Path]:
    if os.name == "nt":
        return [Path(environment.get("PROGRAMDATA", "C:/ProgramData")) / "pip" / "pip.ini"]
    if sys.platform == "darwin":
        return [Path("/Library/Application Support/pip/pip.conf")]
    folders = environment.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    return [*(Path(folder) / "pip" / "pip.conf" for folder in folders.split(":") if folder), Path("/etc/pip.conf")]


def _pip_user_files(environment: Mapping[str, str], home: Path) -> list[Path]:
    if os.name == "nt":
        return [home / "pip" / "pip.ini", Path(environment.get("APPDATA", home)) / "pip" / "pip.ini"]
    own = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    mac = home / "Library" / "Application Support" / "pip" / "pip.conf"
    return [home / ".pip" / "pip.conf", mac if sys.platform == "darwin" and mac.parent.is_dir() else own]


def _uv_tables(environment: Mapping[str, str], home: Path) -> list[dict[str, object]]:
    """uv's configuration files outside of projects, the user's first; a table `[pip]` comes before its file's own."""
    if _is_true(environment.get("UV_NO_CONFIG")):
        return []
    files = [Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "uv" / "uv.toml"]
    if os.name == "nt":
        files = [Path(environment.get("APPDATA", home)) / "uv" / "uv.toml"]
    files += [
        Path(folder) / "uv" / "uv.toml" for folder in (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    ]
    files.append(Path("/etc/uv/uv.toml"))
    chosen = environment.get("UV_CONFIG_FILE")
    tables: list[dict[str, object]] = []
    for file in [Path(chosen)] if chosen else files:
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            continue
        pip = table.get("pip")
        tables += [cast("dict[str, object]", pip), table] if isinstance(pip, dict) else [table]
    return tables


def _uv_defaults(tables: Iterable[Mapping[str, object]], environment: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    for table in tables:
        found += [_with_account(row, environment) for row in _rows(table) if row.get("default") is True]
        found += _texts(table.get("index-url"))
    return found


def _uv_extras(tables: Iterable[Mapping[str, object]], environment: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    for table in tables:
        found += [_with_account(row, environment) for row in _rows(table) if row.get("default") is not True]
        found += _texts(table.get("extra-index-url"))
    return found


def _rows(table: Mapping[str, object]) -> list[Mapping[str, object]]:
    """`[[index]]` tables that have a URL."""
    rows = table.get("index")
    listed = cast("list[object]", rows) if isinstance(rows, list) else []
    tables = [cast("Mapping[str, object]", row) for row in listed if isinstance(row, dict)]
    return [row for row in tables if isinstance(row.get("url"), str)]


def _with_account(row: Mapping[str, object], environment: Mapping[str, str]) -> str:
    name = row.get("name")
    url = str(row["url"])
    return _named(f"{name}={url}" if isinstance(name, str) else url, environment)


def _named(word: str, environment: Mapping[str, str]) -> str:
    """uv's `NAME=URL`, with what `UV_INDEX_NAME_USERNAME` and `_PASSWORD` say of it."""
    name, is_named, url = word.partition("=")
    if not is_named or ":" in name or "/" in name:
        return word
    variable = "UV_INDEX_" + "".join(each if each.isalnum() else "_" for each in name.upper())
    user, password = environment.get(f"{variable}_USERNAME"), environment.get(f"{variable}_PASSWORD")
    parts = urlsplit(url)
    if (user is None and password is None) or "@" in parts.netloc:
        return url
    account = f"{quote(user or '', safe='')}:{quote(password or '', safe='')}"
    return urlunsplit(parts._replace(netloc=f"{account}@{parts.netloc}"))


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [each for each in cast("list[object]", value) if isinstance(each, str)] if isinstance(value, list) else []


def _words(value: str | None) -> list[str]:
    return (value or "").split()


def _is_true(value: str | None) -> bool:
    return (value or "").strip().lower() in ("1", "true", "yes", "on", "y", "t")


def _seconds(value: str | None) -> float:
    try:
        seconds = float(value or "")
    except ValueError:
        return DEFAULT_TIMEOUT_S
    return seconds if seconds > 0 else DEFAULT_TIMEOUT_S


_INDEX_MODULE = "pip/_internal/models/index.py"
"""Where pip keeps the name, and the first of the indexes in it is the one that it asks."""
_INDEX = re.compile(r"""PackageIndex\(\s*["'](https://[^"']+)["']""")
_UV_DEFAULT = re.compile(r"by default[^<\n]{0,20}<?(https://[^\s>)]+/simple)")
_UV_TIMEOUT_S = 20.0


def default_index(environment: Mapping[str, str]) -> str | None:
    """The URL of its simple API; None if neither pip nor uv is anywhere to be found."""
    for source in _pip_sources():
        found = _INDEX.search(source)
        if found is not None:
            return found[1].rstrip("/") + "/simple"
    return _ask_uv(environment)


def _pip_sources() -> Iterator[str]:
    """The text of the module in each pip there is: installed here, for the interpreter that this environment was made
    from, or as the wheel that Python brings to install it."""
    spec = importlib.util.find_spec("pip")
    roots = [Path(spec.origin).parents[1]] if spec is not None and spec.origin is not None else []
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix, "installed_base": sys.base_prefix}
    roots += [Path(sysconfig.get_path(name, vars=base)) for name in ("purelib", "platlib")]
    roots.append(Path(sys.base_prefix) / "lib" / "python3" / "dist-packages")
    for root in roots:
        file = root / _INDEX_MODULE
        if file.is_file():
            yield file.read_text(encoding="utf-8", errors="replace")
    for folder in (*_bundles(), Path(sys.base_prefix) / "share" / "python-wheels"):
        for wheel in sorted(folder.glob("pip-*.whl")):
            try:
                with zipfile.ZipFile(wheel) as archive:
                    yield archive.read(_INDEX_MODULE).decode("utf-8", "replace")
            except (OSError, KeyError, zipfile.BadZipFile):
                continue


def _bundles() -> Iterator[Path]:
    spec = importlib.util.find_spec("ensurepip")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "_bundled"
    folder = sysconfig.get_config_var("WHEEL_PKG_DIR")
    if isinstance(folder, str) and folder:
        yield Path(folder)


def _ask_uv(environment: Mapping[str, str]) -> str | None:
    """uv tells in its help; it passes its own path on to what it runs."""
    program = environment.get("UV") or shutil.which("uv", path=environment.get("PATH"))
    if not program:
        return None
    try:
        done = subprocess.run(
            [program, "pip", "install", "--help"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_UV_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _UV_DEFAULT.search(done.stdout)
    return found[1] if found is not None else None
