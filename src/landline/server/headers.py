"""What a client says of itself in the headers of a request or an upgrade: its trace, and the WebSocket subprotocols it offers.

The trace (W3C Trace Context, https://www.w3.org/TR/trace-context/) is kept as it came; the tracer that
continues it checks it.

Browsers fail a connection for which they offered subprotocols and none was chosen. They also can send no header of their
own, so some clients offer their key as one: the choice goes back as it came, and must not be that.
"""

import re
from collections.abc import Sequence

import msgspec
from starlette.types import Scope

_CODEX_MARK = "ws_request_header_traceparent"
"""Codex CLI 0.169 names the trace of each turn on a socket in the create's `client_metadata`, because the socket's own
headers are of the upgrade alone."""


class TraceContext(msgspec.Struct, frozen=True):
    """Both headers; "" for one that did not come."""

    parent: str = ""
    state: str = ""


NO_TRACE = TraceContext()


class _CodexNotes(msgspec.Struct):
    parent: str = msgspec.field(default="", name="ws_request_header_traceparent")
    state: str = msgspec.field(default="", name="ws_request_header_tracestate")


class _Create(msgspec.Struct):
    client_metadata: _CodexNotes | None = None


_CREATE: msgspec.json.Decoder[_Create] = msgspec.json.Decoder(_Create)


def trace_of(scope: Scope) -> TraceContext:
    """Of a request's or an upgrade's headers."""
    return TraceContext(_header(scope, b"traceparent"), _header(scope, b"tracestate"))


def trace_of_frame(trace: TraceContext, frame: bytes | str) -> TraceContext:
    """The trace that a socket's frame names itself, else the upgrade's."""
    return _codex_trace(frame) or trace


def _header(scope: Scope, name: bytes) -> str:
    """A `tracestate` may come in parts; a `traceparent` that does is none."""
    return ",".join(value.decode("latin-1") for header, value in scope["headers"] if header == name)


def _codex_trace(frame: bytes | str) -> TraceContext | None:
    is_marked = _CODEX_MARK in frame if isinstance(frame, str) else _CODEX_MARK.encode() in frame
    if not is_marked:
        return None
    try:
        notes = _CREATE.decode(frame).client_metadata
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return TraceContext(notes.parent, notes.state) if notes is not None and notes.parent else None


PREFERRED = ("responses", "realtime")
"""Chosen before others: the name of this API, and of the API whose browser clients offer their key beside it."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~A-Za-z0-9-]+")
"""A token of RFC 9110, which is what RFC 6455 §4.1 allows."""
_SECRET = re.compile(r"(?i)(key|token|secret|bearer|authorization|organization|project)[.:=_-]|^(sk-|eyj)")
_LONG = 40
"""Names are shorter, most keys and tokens longer."""


def choose_subprotocol(offered: Sequence[str]) -> str | None:
    """One of those offered, or None if none is: a preferred one, else the first that carries no secret by its looks, else the
    first, because a browser that offers nothing but its key would get no connection at all."""
    names = [name for name in offered if _NAME.fullmatch(name)]
    preferred = [name for wanted in PREFERRED for name in names if name.lower() == wanted]
    plain = [name for name in names if len(name) <= _LONG and not _SECRET.search(name)]
    return next(iter([*preferred, *plain, *names]), None)
