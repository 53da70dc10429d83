"""Other servers' errors, in every shape they come in, and what this client does about each.

Seen: nested (`{"type":"error","status":…,"error":{…}}`), flat (`{"type":"error","code":…}`), without a `type` at the top,
with the code as a number, and an HTTP body that only has `detail` (protocol: error frames; other servers).
"""

import os
import socket
from collections.abc import Mapping
from typing import Literal, assert_never

import msgspec

from landline.wire.errors import DEFAULT_RETRY_AFTER_S, ERROR_RULES, ApiError

Step = Literal["resend", "reconnect", "wait", "give_up"]
"""`resend`: at once, in full, on the same socket; `reconnect`: the same on a new socket; `wait`: later."""

_FINAL_CODES = frozenset(
    ("insufficient_quota", "credit_balance_exhausted", "context_length_exceeded", "model_not_found", "invalid_api_key")
)
_FINAL_STATUSES = frozenset((401, 403, 413))
_WAIT_STATUSES = frozenset((408, 409, 429))


class Cut(msgspec.Struct, frozen=True):
    """The line ended before the response did."""

    reason: str
    is_worth_retrying: bool = True


class UpgradeRefused(msgspec.Struct, frozen=True):
    """The server does not speak WebSocket here; 426 says so outright."""

    status: int


class _ErrorObject(msgspec.Struct):
    code: str | int | None = None
    type: str | None = None
    message: str | None = None
    param: object = None
    headers: dict[str, object] | None = None


class _ErrorFrame(msgspec.Struct):
    error: _ErrorObject | str | None = None
    code: str | int | None = None
    message: str | None = None
    param: object = None
    detail: object = None
    status: int | None = None
    status_code: int | None = None
    headers: dict[str, object] | None = None


_FRAME_DECODER: msgspec.json.Decoder[_ErrorFrame] = msgspec.json.Decoder(_ErrorFrame, strict=False)


def decode_failure(data: bytes, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> ApiError:
    """Reads an error frame or an HTTP error body; what is missing is filled in from the error table."""
    try:
        frame = _FRAME_DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = data[:300].decode("utf-8", "replace").strip()
        frame = _ErrorFrame(message=text or None)
    error = _error_object(frame)
    status = frame.status or frame.status_code or status or _status_of(error)
    hints = {**_lowered(headers), **_lowered(frame.headers), **_lowered(error.headers)}
    return ApiError(
        code=error.code if isinstance(error.code, str) else _code_of(status),
        message=error.message or f"the server gave no reason (status {status})",
        param=error.param if isinstance(error.param, str) else None,
        status=status,
        type=error.type or "server_error",
        retry_after_s=_retry_after_s(hints),
    )


def next_step(failure: ApiError, *, is_delta: bool) -> Step:
    """What to do about an error (client rules: Responses guide, WebSocket mode; the SDKs' retry rules).

    A refused delta is always worth one full request: the server forgets the parent of a failed continuation anyway, and
    some servers cannot continue a response that was not stored, and say so in words of their own.
    """
    if failure.code == "websocket_connection_limit_reached":
        return "reconnect"
    if failure.code in _FINAL_CODES or failure.status in _FINAL_STATUSES:
        return "give_up"
    if failure.status in _WAIT_STATUSES or failure.status >= 500:
        return "wait"
    return "resend" if is_delta else "give_up"


def wait_s(failure: ApiError) -> float:
    """Seconds to wait before the same request is worth sending again."""
    return DEFAULT_RETRY_AFTER_S if failure.retry_after_s is None else failure.retry_after_s


def unreachable(url: str, error: Exception) -> Cut:
    """No connection could be made; says why in the system's words, not in the client library's."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, socket.gaierror):
        reason = "no such host"
    elif isinstance(cause, TimeoutError):
        reason = "it did not answer in time"
    elif isinstance(cause, OSError) and cause.errno:
        reason = os.strerror(cause.errno).lower()
    else:
        reason = str(error) or type(error).__name__
    return Cut(f"cannot reach {url}: {reason}. Is a server running there?", is_worth_retrying=False)


def describe(ending: ApiError | Cut | UpgradeRefused) -> str:
    """One line for a person."""
    match ending:
        case ApiError():
            return f"{ending.code} (status {ending.status}): {ending.message}"
        case Cut(reason, is_worth_retrying):
            return f"the line was cut: {reason}" if is_worth_retrying else reason
        case UpgradeRefused(status):
            return f"the server refused the upgrade to WebSocket with status {status}"
        case _:
            assert_never(ending)


def _error_object(frame: _ErrorFrame) -> _ErrorObject:
    if isinstance(frame.error, _ErrorObject):
        return frame.error
    detail = frame.detail if isinstance(frame.detail, str) else None
    return _ErrorObject(
        code=frame.code, message=frame.error or frame.message or detail, param=frame.param, headers=frame.headers
    )


def _status_of(error: _ErrorObject) -> int:
    if isinstance(error.code, int):
        return error.code if 400 <= error.code < 600 else 500
    rule = ERROR_RULES.get(error.code or "")
    if rule is not None:
        return rule.status
    return 400 if error.type is not None and error.type.startswith("invalid_request") else 500


def _code_of(status: int) -> str:
    if status == 429:
        return "rate_limit_exceeded"
    if status == 401:
        return "invalid_api_key"
    return "server_error" if status >= 500 else "invalid_value"


def _lowered(headers: Mapping[str, object] | None) -> dict[str, str]:
    return {name.lower(): str(value) for name, value in (headers or {}).items()}


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """`retry-after-ms` before `retry-after`; its form as a date is not read."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    return None
