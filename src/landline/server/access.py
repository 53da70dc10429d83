"""Who may ask: which hosts a request may name, and which pages of a browser may make one. Pure; `middleware.Gate` applies it.

A server on loopback trusts whoever reaches it, and every page that its user visits can reach it. Two headers that a page
cannot choose tell them apart: `Host` betrays a name that was rebound to this machine, `Origin` a page from elsewhere.
Hosts and origins are values here, in one spelling to compare.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Self

import msgspec
from starlette.types import Scope

from landline.wire.errors import ApiError, api_error

_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>[0-9]{0,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>.+)")
_MAX_PORT = 65535
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
LOCALHOST = "localhost"


class Authority(msgspec.Struct, frozen=True):
    """A host and perhaps a port."""

    host: str
    """A name in lower case without the root's dot, or an IP address in its shortest form; an IPv4-mapped one as IPv4."""
    port: int | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can be meant: RFC 6761 §6.3 reserves `localhost` and all names below it."""
        address = as_address(self.host)
        if address is not None:
            return address.is_loopback
        return self.host == LOCALHOST or self.host.endswith(f".{LOCALHOST}")


class PageOrigin(msgspec.Struct, frozen=True):
    """What a browser says of the page that makes a request (RFC 6454)."""

    scheme: str
    authority: Authority
    """Its port is None where it is the scheme's default one."""

    def is_at(self, authority: Authority) -> bool:
        """Whether the page came from that host and port. The schemes may differ, because TLS may end at a proxy."""
        default_port = _DEFAULT_PORTS.get(self.scheme)
        if default_port is None:
            return False
        ports = [each.port or default_port for each in (self.authority, authority)]
        return self.authority.host == authority.host and ports[0] == ports[1]


class HostPattern(msgspec.Struct, frozen=True):
    """One entry of `allowed_hosts`: a host, or every name below one; at any port, or at one."""

    authority: Authority
    is_below: bool = False
    """Whether the names below the host are meant, without itself."""

    def covers(self, authority: Authority) -> bool:
        own = self.authority
        if own.port is not None and own.port != authority.port:
            return False
        return authority.host.endswith(f".{own.host}") if self.is_below else authority.host == own.host


def parse_authority(text: str) -> Authority | None:
    """The value of a `Host` header (RFC 9110 §7.2); None if it is none."""
    parts = _AUTHORITY.fullmatch(text)
    if parts is None:
        return None
    host = _parse_host(parts["host"])
    port = int(parts["port"]) if parts["port"] else None
    if host is None or (port is not None and not 0 < port <= _MAX_PORT):
        return None
    return Authority(host, port)


def parse_origin(text: str) -> PageOrigin | None:
    """The value of an `Origin` header; None for `null`, which many pages are, and for anything else that names no page."""
    parts = _ORIGIN.fullmatch(text)
    authority = parse_authority(parts["authority"]) if parts is not None else None
    if parts is None or authority is None:
        return None
    scheme = parts["scheme"].lower()
    if authority.port == _DEFAULT_PORTS.get(scheme):
        authority = Authority(authority.host)
    return PageOrigin(scheme, authority)


def parse_pattern(text: str) -> HostPattern | None:
    """An entry of `allowed_hosts`: `NAME`, `*.NAME` or an address, each with or without `:PORT`; None if it is none."""
    address = as_address(text)
    if address is not None:
        return HostPattern(Authority(_shortest(address)))
    name = text.removeprefix("*.")
    authority = parse_authority(name)
    is_below = name != text
    if authority is None or (is_below and as_address(authority.host) is not None):
        return None
    return HostPattern(authority, is_below)


def parse_address(text: str) -> str | None:
    """The host of an address that a socket is bound to, as `Authority` spells it; None for a name or a path."""
    address = as_address(text.partition("%")[0])
    return _shortest(address) if address is not None else None


def as_address(text: str) -> IPv4Address | IPv6Address | None:
    """The IP address that the text is, if any."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _parse_host(text: str) -> str | None:
    if text.startswith("["):
        address = as_address(text[1:-1])
        return _shortest(address) if isinstance(address, IPv6Address) else None
    name = text.lower().removesuffix(".")
    return name if all(name.split(".")) else None


def _shortest(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


_READ = frozenset(
    (
        b"host",
        b"origin",
        b"sec-fetch-site",
        b"sec-fetch-mode",
        b"content-type",
        b"content-length",
        b"transfer-encoding",
        b"access-control-request-method",
    )
)
_SHOWN_CHARS = 100
_OWN_SITES = ("", "same-origin", "none")
"""What `Sec-Fetch-Site` says of a request that no page from elsewhere made; absent where the client is no browser."""
_BODYLESS = ("GET", "HEAD", "DELETE", "OPTIONS")


class AccessVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a request, by its headers."""

    error: ApiError | None = None
    """Why it is refused."""
    origin: str | None = None
    """Of an allowed page on another origin, as it was sent: it may read the answer. None for other callers."""
    is_preflight: bool = False
    """Whether the browser asks what such a page may send (Fetch §4.8), and sends nothing itself."""


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that decide."""

    listening: Authority | None = None
    """What the server was told to listen on."""
    hosts: tuple[HostPattern, ...] = ()
    origins: frozenset[PageOrigin] = frozenset()

    @classmethod
    def of(cls, host: str, allowed_hosts: Iterable[str], allowed_origins: Iterable[str]) -> Self:
        """From settings that were checked: what names no host or origin is left out."""
        patterns = [parse_pattern(each) for each in allowed_hosts]
        origins = [parse_origin(each) for each in allowed_origins]
        address = parse_address(host)
        return cls(
            listening=Authority(address) if address is not None else parse_authority(host),
            hosts=tuple(each for each in patterns if each is not None),
            origins=frozenset(each for each in origins if each is not None),
        )

    def judge(self, scope: Scope) -> AccessVerdict:
        """Whether the request may go on, by its headers alone."""
        headers = _AccessHeaders(scope)
        host = self._admit_host(headers, scope)
        if isinstance(host, ApiError):
            return AccessVerdict(error=host)
        origin = self._admit_page(headers, host)
        if isinstance(origin, ApiError):
            return AccessVerdict(error=origin)
        if origin is not None and _is_preflight(headers, scope):
            return AccessVerdict(origin=origin, is_preflight=True)
        return AccessVerdict(origin=origin, error=_refuse_body(headers, scope) if headers.has_origin else None)

    def _admit_host(self, headers: "_AccessHeaders", scope: Scope) -> Authority | ApiError | None:
        """The host that the request names. None is HTTP/1.0's right (RFC 9112 §3.2); no browser makes use of it."""
        values = headers.all(b"host")
        if not values and _version(scope) in ("0.9", "1.0"):
            return None
        if len(values) != 1:
            return api_error("invalid_value", f"Expected one `Host` header; got {len(values) or 'none'}.")
        host = parse_authority(values[0])
        if host is None:
            message = f"Expected `Host` to be a name or an address, with or without a port; got {_shown(values[0])}."
            return api_error("invalid_value", message)
        if host.is_loopback or self._is_listening_on(host, scope) or any(each.covers(host) for each in self.hosts):
            return host
        message = (
            "Expected `Host` to be a loopback name, the address that this server listens on, or one of "
            f"`allowed_hosts` in `[server]`; got {_shown(values[0])}."
        )
        return api_error("host_not_allowed", message)

    def _is_listening_on(self, host: Authority, scope: Scope) -> bool:
        """Whether it is the setting, or the address that this connection came to: behind a wildcard, one of this machine's.

        A name is only believed from the settings: some ASGI servers take `server` from the request.
        """
        if self.listening is not None and host.host == self.listening.host:
            return True
        server = scope.get("server")
        return server is not None and parse_address(server[0]) == host.host

    def _admit_page(self, headers: "_AccessHeaders", host: Authority | None) -> str | ApiError | None:
        """The origin, if it is an allowed one; None for this server's own pages, and for programs."""
        site = ", ".join(headers.all(b"sec-fetch-site")).lower()
        if not headers.has_origin:
            # A page loads pictures and scripts without an Origin. A link from the same site may be followed.
            is_link = site == "same-site" and headers.one(b"sec-fetch-mode") == "navigate"
            if site in _OWN_SITES or is_link:
                return None
            return _page_error(f"`Sec-Fetch-Site: {site[:_SHOWN_CHARS]}`, which a page from elsewhere has")
        value = headers.one(b"origin")
        origin = parse_origin(value) if value is not None else None
        if origin is not None and origin in self.origins:
            return value
        is_own = origin is not None and host is not None and origin.is_at(host)
        if is_own and site in _OWN_SITES:
            return None
        return _page_error(_shown(value) if value is not None else "several")


def _is_preflight(headers: "_AccessHeaders", scope: Scope) -> bool:
    return scope.get("method") == "OPTIONS" and headers.one(b"access-control-request-method") is not None


def _refuse_body(headers: "_AccessHeaders", scope: Scope) -> ApiError | None:
    """A page may send text and forms without being asked first (Fetch §2.2.2), so those are never taken for JSON."""
    if not _has_body(headers, scope):
        return None
    value = headers.one(b"content-type") or ""
    kind = value.partition(";")[0].strip(" \t").lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json") and "," not in kind):
        return None
    message = f"Expected `content-type: application/json` of a body that came with an `Origin`; got {_shown(value)}."
    return api_error("unsupported_media_type", message)


def _has_body(headers: "_AccessHeaders", scope: Scope) -> bool:
    if scope["type"] != "http":
        return False
    if headers.all(b"transfer-encoding"):
        return True
    sizes = headers.all(b"content-length")
    if sizes:
        return any(size.strip() != "0" for size in sizes)
    # Later versions frame a body without saying so in a header; browsers send its length even if it is 0.
    return not _version(scope).startswith(("0", "1")) and scope["method"] not in _BODYLESS


def _version(scope: Scope) -> str:
    return scope.get("http_version", "1.1")


def _page_error(came: str) -> ApiError:
    message = (
        "Expected no `Origin`, this server's own, or one of `allowed_origins` in `[server]`, because any web page "
        f"could ask otherwise; got {came}."
    )
    return api_error("origin_not_allowed", message)


def _shown(value: str) -> str:
    return repr(value if len(value) <= _SHOWN_CHARS else f"{value[:_SHOWN_CHARS]}…")


class _AccessHeaders:
    """The few headers that decide, read in one pass."""

    def __init__(self, scope: Scope) -> None:
        self._values: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            if name in _READ:
                self._values.setdefault(name, []).append(value.decode("latin-1").strip(" \t"))
        self.has_origin = b"origin" in self._values

    def all(self, name: bytes) -> list[str]:
        return self._values.get(name, [])

    def one(self, name: bytes) -> str | None:
        """The header's value; None if it did not come once."""
        values = self._values.get(name, ())
        return values[0] if len(values) == 1 else None
