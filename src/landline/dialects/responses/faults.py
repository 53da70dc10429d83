"""Classifies errors of Responses servers: refusals, error events and failed responses, in any envelope."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from landline.dialects.faults import Fault, code_of, decode_fault, explain, public_message, read_wait_s, status_of
from landline.wire.errors import ERROR_RULES, ApiError, api_error
from landline.wire.readable import UNREADABLE

# fmt: off
_SAME_MEANING = frozenset((
    "invalid_json", "invalid_value", "missing_required_parameter", "unsupported_parameter", "unsupported_content",
    "invalid_stream_id", "websocket_stream_limit_reached", "websocket_connection_limit_reached",
    "previous_response_not_found", "tool_call_not_found", "context_length_exceeded", "invalid_encrypted_content",
    "invalid_prompt", "model_not_found", "conversation_locked", "payload_too_large", "insufficient_quota",
    "rate_limit_exceeded", "server_is_overloaded", "upstream_unavailable", "upstream_error", "upstream_auth_error",
    "model_error",
))
# fmt: on
"""Codes that mean the same from an upstream. Others (`server_error`, `invalid_api_key` …) would blame this server."""


class Failure(msgspec.Struct, frozen=True):
    """An upstream's error: Landline's error for it, and the upstream's own code and status."""

    error: ApiError
    code: str = ""
    status: int | None = None


class _Envelope(msgspec.Struct):
    """Members beside the error in an error event."""

    status: int | None = None
    status_code: int | None = None
    headers: dict[str, Raw] | None = None
    error: Raw = Raw(b"null")


class _ErrorHeaders(msgspec.Struct):
    headers: dict[str, Raw] | None = None


class _ErrorOfResponse(msgspec.Struct):
    error: Raw = Raw(b"null")


_ENVELOPE: msgspec.json.Decoder[_Envelope] = msgspec.json.Decoder(_Envelope)
_HEADERS: msgspec.json.Decoder[_ErrorHeaders] = msgspec.json.Decoder(_ErrorHeaders)
_FAILED: msgspec.json.Decoder[_ErrorOfResponse] = msgspec.json.Decoder(_ErrorOfResponse)
_STRING: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)


def read_refusal(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """The meaning of a non-2xx answer."""
    return _meaning(status, headers, decode_fault(body))


def read_failure(event: bytes) -> Failure:
    """The meaning of an error event: nested or flat, with a `status` or without, with `headers` beside or inside it."""
    fault = decode_fault(event)
    if fault.type in ("error", "response.error"):
        fault = msgspec.structs.replace(fault, type="")
    try:
        envelope = _ENVELOPE.decode(event)
    except UNREADABLE:
        return _meaning(None, {}, fault)
    status = envelope.status if envelope.status is not None else envelope.status_code
    return _meaning(status, _text_headers(envelope.headers or _headers_inside(envelope.error)), fault)


def read_failed_response(response: bytes) -> ApiError:
    """The meaning of a failed response's `error`, which may be its text alone."""
    try:
        error = _FAILED.decode(response).error
    except UNREADABLE:
        error = Raw(b"null")
    return _meaning(None, {}, decode_fault(b'{"error":' + bytes(error) + b"}")).error


def _meaning(status: int | None, headers: Mapping[str, str], fault: Fault) -> Failure:
    """The upstream's code if it means the same here, else the nearest by wording and status."""
    if fault.code in _SAME_MEANING:
        wait_s = read_wait_s(headers, fault.message) if ERROR_RULES[fault.code].retry == "after" else None
        message = public_message(fault) or f"The target answered {fault.code!r}."
        error = api_error(fault.code, message, param=fault.param, retry_after_s=wait_s)
        return Failure(error, fault.code, status)
    near = status or status_of(fault)
    if status is None and code_of(near, fault) == "upstream_error":
        error = api_error("upstream_error", f"The target's answer failed: {public_message(fault) or 'no reason given'}")
    else:
        error = explain(near, headers, fault)
    if fault.code and error.code not in (fault.code, "upstream_auth_error"):
        error = msgspec.structs.replace(error, message=f"{error.message} (`{fault.code}`)")
    return Failure(error, fault.code, status)


def _headers_inside(error: Raw) -> dict[str, Raw] | None:
    """Open Responses puts `headers` into the error itself."""
    try:
        return _HEADERS.decode(error).headers
    except UNREADABLE:
        return None


def _text_headers(headers: Mapping[str, Raw] | None) -> dict[str, str]:
    """Headers as text; numbers keep their spelling."""
    return {name: _text(value) for name, value in (headers or {}).items()}


def _text(value: Raw) -> str:
    data = bytes(value)
    return _STRING.decode(data) if data[:1] == b'"' else data.decode()
