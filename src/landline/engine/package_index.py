"""Finds a wheel in package indexes (the simple API: PEP 503 as HTML, PEP 691 as JSON) and downloads it."""

import contextlib
import hashlib
import http.client
import netrc
import re
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit
from urllib.request import url2pathname

import msgspec

from landline import __version__
from landline.engine.index_settings import IndexSettings

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1, */*;q=0.01"
_PAGE_BYTES = 32 * 1024 * 1024
_BLOCK_BYTES = 256 * 1024
_TRIES = 5
"""Of one download; a try that brought something does not count."""
_WHEEL = ".whl"

Report = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes in all; 0 where nobody says how many."""


class IndexUnreadableError(Exception):
    """An index or a file could not be read; the message says which and why, without passwords."""


class Wheel(msgspec.Struct, frozen=True):
    """A wheel that an index lists."""

    filename: str
    url: str
    sha256: str | None = None


class PackageIndex:
    """The configured indexes."""

    def __init__(self, settings: IndexSettings) -> None:
        self._settings = settings
        self._context = _tls_context(settings)
        self._netrc = _read_netrc()
        proxy = settings.proxy
        self._proxy = f"http://{proxy}" if proxy and "://" not in proxy else proxy

    def find(self, package: str, version: str, urls: list[str]) -> Wheel | None:
        """The package's wheel, from the links first and then from the first index that has it.

        None if all could be read and none has it. Raises `IndexUnreadableError` if one could not be read and no other has it.
        """
        failures: list[str] = []
        pages = [(link, False) for link in self._settings.find_links]
        pages += [(f"{url.rstrip('/')}/{_normal(package)}/", True) for url in urls]
        for url, is_index in pages:
            try:
                wheels = self._wheels(url, is_index=is_index)
            except IndexUnreadableError as error:
                failures.append(str(error))
                continue
            fitting = [wheel for wheel in wheels if _is_of(wheel.filename, package, version)]
            if fitting:
                return sorted(fitting, key=lambda wheel: not wheel.filename.endswith("-none-any.whl"))[0]
        if failures:
            raise IndexUnreadableError("; ".join(failures))
        return None

    def download(self, wheel: Wheel, target: Path, report: Report) -> None:
        """Writes the wheel to the file, going on where a connection broke. Raises `IndexUnreadableError`."""
        tries = _TRIES
        while True:
            before = target.stat().st_size if target.exists() else 0
            try:
                self._read_on(wheel.url, target, before, report)
                break
            except IndexUnreadableError:
                raise
            except (OSError, http.client.HTTPException) as error:
                came = target.stat().st_size if target.exists() else 0
                tries = _TRIES if came > before else tries - 1
                if tries == 0:
                    raise IndexUnreadableError(
                        f"{shown(wheel.url)} broke off after {came:,} bytes: {_reason(error)}"
                    ) from error
        if wheel.sha256 is not None:
            with target.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != wheel.sha256:
                target.unlink()
                raise IndexUnreadableError(
                    f"{wheel.filename} is damaged: the index says sha256 {wheel.sha256}, it has {found}"
                )

    def _wheels(self, url: str, *, is_index: bool) -> list[Wheel]:
        if not is_index and "://" not in url:
            return _in_folder(Path(url).expanduser())
        if urlsplit(url).scheme == "file":
            folder = Path(url2pathname(urlsplit(url).path))
            if folder.is_dir() and not is_index:
                return _in_folder(folder)
            if not (folder / "index.html").is_file() and is_index:
                return []
            url = (folder / "index.html").as_uri() if folder.is_dir() else url
        try:
            with self._open(url, {"Accept": _ACCEPT}) as answer:
                body = answer.read(_PAGE_BYTES)
                base = answer.url
                kind = answer.headers.get_content_type()
        except urllib.error.HTTPError as error:
            if error.code in (404, 410):
                return []
            raise IndexUnreadableError(f"{shown(url)} answered with status {error.code}{_hint(error.code)}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise IndexUnreadableError(f"{shown(url)} cannot be read: {_reason(error)}") from error
        account = urlsplit(url).netloc.rpartition("@")[0]
        wheels = _from_json(body) if kind.endswith("json") else _from_html(body.decode("utf-8", "replace"))
        return [_resolved(wheel, base, account) for wheel in wheels if wheel.filename.endswith(_WHEEL)]

    def _read_on(self, url: str, target: Path, start: int, report: Report) -> None:
        headers = {"Range": f"bytes={start}-"} if start else {}
        try:
            answer = self._open(url, headers)
        except urllib.error.HTTPError as error:
            if error.code == 416 and start:  # all was there, or it is another file now
                target.unlink()
                raise ConnectionError("the file changed while it was read") from error
            if error.code < 500:
                raise IndexUnreadableError(
                    f"{shown(url)} answered with status {error.code}{_hint(error.code)}"
                ) from error
            raise
        with answer:
            is_rest = getattr(answer, "status", None) == 206  # files have none
            done = start if is_rest else 0
            length = answer.headers.get("Content-Length")
            total = done + int(length) if length and length.isdigit() else 0
            with target.open("ab" if is_rest else "wb") as sink:
                while block := answer.read(_BLOCK_BYTES):
                    sink.write(block)
                    done += len(block)
                    report(done, total)
            if total and done < total:
                raise ConnectionError(f"{total - done:,} bytes are missing")

    def _open(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        bare, account = _split_account(url)
        request = urllib.request.Request(bare, headers={"User-Agent": f"landline/{__version__}", **headers})
        host = urlsplit(bare).hostname or ""
        if account is None and self._netrc is not None and (found := self._netrc.authenticators(host)) is not None:
            account = f"{found[0]}:{found[2]}"
        if account is not None:  # not to another host that a redirect leads to
            request.add_unredirected_header("Authorization", f"Basic {b64encode(account.encode()).decode()}")
        is_trusted = bool({host, urlsplit(bare).netloc} & self._settings.trusted_hosts)
        context = _unverified_context() if is_trusted else self._context
        proxies = {"http": self._proxy, "https": self._proxy} if self._proxy else None
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)
        )
        return cast("http.client.HTTPResponse", opener.open(request, timeout=self._settings.timeout_s))


def shown(url: str) -> str:
    """The URL without its account and fragment, for messages."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def _split_account(url: str) -> tuple[str, str | None]:
    parts = urlsplit(urldefrag(url)[0])
    account, is_there, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=host)), unquote(account) if is_there else None


def _tls_context(settings: IndexSettings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if settings.ca_file is not None:
        is_folder = Path(settings.ca_file).is_dir()
        with contextlib.suppress(OSError):  # the handshake then fails with its own message
            context.load_verify_locations(
                cafile=None if is_folder else settings.ca_file, capath=settings.ca_file if is_folder else None
            )
    elif not context.cert_store_stats()["x509_ca"]:
        with contextlib.suppress(ImportError):  # Python on macOS, for one, brings no certificates of its own
            import certifi  # noqa: PLC0415

            context.load_verify_locations(cafile=certifi.where())
    if settings.client_cert is not None:
        with contextlib.suppress(OSError):
            context.load_cert_chain(settings.client_cert)
    return context


def _unverified_context() -> ssl.SSLContext:
    """For a host that the configuration of pip or uv trusts as it is."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _read_netrc() -> netrc.netrc | None:
    try:
        return netrc.netrc()
    except (OSError, netrc.NetrcParseError):
        return None


class _File(msgspec.Struct):
    filename: str
    url: str
    hashes: dict[str, str] = {}


class _Page(msgspec.Struct):
    files: list[_File] = []


_PAGES: msgspec.json.Decoder[_Page] = msgspec.json.Decoder(_Page)


def _from_json(body: bytes) -> list[Wheel]:
    try:
        files = _PAGES.decode(body).files
    except msgspec.DecodeError as error:
        raise IndexUnreadableError(f"the index's answer is no list of files: {error}") from error
    return [Wheel(file.filename, file.url, file.hashes.get("sha256")) for file in files]


class _Links(HTMLParser):
    """The targets of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "base" and href:
            self.base = href
        elif tag == "a" and href:
            self.found.append(href.strip())


def _from_html(page: str) -> list[Wheel]:
    links = _Links()
    links.feed(page)
    links.close()
    return [_from_link(urljoin(links.base, href) if links.base else href) for href in links.found]


def _from_link(href: str) -> Wheel:
    url, fragment = urldefrag(href)
    name, _, value = fragment.partition("=")
    return Wheel(unquote(urlsplit(url).path.rpartition("/")[2]), url, value if name == "sha256" else None)


def _in_folder(folder: Path) -> list[Wheel]:
    return [Wheel(file.name, file.resolve().as_uri()) for file in sorted(folder.glob(f"*{_WHEEL}"))]


def _resolved(wheel: Wheel, base: str, account: str) -> Wheel:
    """With its whole URL; a file on the index's own host is asked for with the account of the index."""
    url = urljoin(base, wheel.url)
    parts = urlsplit(url)
    if account and "@" not in parts.netloc and parts.netloc == urlsplit(base).netloc.rpartition("@")[2]:
        url = urlunsplit(parts._replace(netloc=f"{account}@{parts.netloc}"))
    return msgspec.structs.replace(wheel, url=url)


def _is_of(filename: str, package: str, version: str) -> bool:
    parts = filename.removesuffix(_WHEEL).split("-")
    return len(parts) >= 5 and _normal(parts[0]) == _normal(package) and parts[1] == version


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def _hint(status: int) -> str:
    match status:
        case 401 | 403:
            return " (it wants other credentials, in the index's URL or in .netrc)"
        case 407:
            return " (the proxy wants credentials)"
        case _:
            return ""


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(reason) or type(reason).__name__
