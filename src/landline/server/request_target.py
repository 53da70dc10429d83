"""The target of an HTTP request's first line, where it is a whole URL (RFC 9112 §3.2.2), as of a client that takes us for
a proxy."""

import re

from landline.server.replies import Header

_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)([^#]*)", re.DOTALL)


def split_target(target: bytes, headers: list[Header]) -> tuple[bytes, list[Header]]:
    """The path and query of the target, and the headers with the URL's host among them.

    That host counts, whatever `Host` says. It must say the same, so another one is kept beside it, to be refused as two.
    """
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return target, headers
    host, path = absolute.groups()
    if not any(name == b"host" and value.lower() == host.lower() for name, value in headers):
        headers = [*headers, (b"host", host)]
    return path if path.startswith(b"/") else b"/" + path, headers
