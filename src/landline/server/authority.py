"""Hosts and origins as values: what `Host`, `Origin` and the settings about them name, in one spelling to compare."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec

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


class Origin(msgspec.Struct, frozen=True):
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


def parse_origin(text: str) -> Origin | None:
    """The value of an `Origin` header; None for `null`, which many pages are, and for anything else that names no page."""
    parts = _ORIGIN.fullmatch(text)
    authority = parse_authority(parts["authority"]) if parts is not None else None
    if parts is None or authority is None:
        return None
    scheme = parts["scheme"].lower()
    if authority.port == _DEFAULT_PORTS.get(scheme):
        authority = Authority(authority.host)
    return Origin(scheme, authority)


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
