"""The trace that a client's request belongs to (W3C Trace Context), as it came; whoever continues it checks it.

https://www.w3.org/TR/trace-context/
"""

import msgspec
from starlette.types import Scope

from landline.session.meter import Meter

_CODEX_MARK = "ws_request_header_traceparent"
"""Codex CLI 0.169 names the trace of each turn on a socket in the create's `client_metadata`, because the socket's own
headers are of the upgrade alone."""


class TraceContext(msgspec.Struct, frozen=True):
    """Both headers; "" for one that did not come."""

    parent: str = ""
    state: str = ""


class _CodexNotes(msgspec.Struct):
    parent: str = msgspec.field(default="", name="ws_request_header_traceparent")
    state: str = msgspec.field(default="", name="ws_request_header_tracestate")


class _Create(msgspec.Struct):
    client_metadata: _CodexNotes | None = None


_CREATE: msgspec.json.Decoder[_Create] = msgspec.json.Decoder(_Create)


def trace_of(scope: Scope) -> TraceContext:
    """Of a request's or an upgrade's headers."""
    return TraceContext(_header(scope, b"traceparent"), _header(scope, b"tracestate"))


def note_trace(meter: Meter, trace: TraceContext, frame: bytes | str = b"") -> None:
    """Keeps the trace for the turn's entry; the one that a socket's frame names itself counts before the upgrade's."""
    own = _codex_trace(frame)
    if own is not None:
        trace = own
    meter.trace_parent, meter.trace_state = trace.parent, trace.state


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
