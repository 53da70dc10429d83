"""Classifies errors of Google's APIs: a `google.rpc.Status` with its details as one of Landline's errors.

Sources: Gemini API troubleshooting guide, google.rpc.Code, and errors that users of google-gemini/gemini-cli reported
(2025 and 2026).
"""

import re
from collections.abc import Mapping

import msgspec
from msgspec import Raw

from landline.dialects import faults
from landline.dialects.faults import read_wait_s
from landline.wire.errors import ApiError, api_error
from landline.wire.readable import UNREADABLE

_CODES = {
    "INVALID_ARGUMENT": "invalid_value",
    "OUT_OF_RANGE": "invalid_value",
    "ALREADY_EXISTS": "invalid_value",
    "FAILED_PRECONDITION": "upstream_auth_error",
    "UNAUTHENTICATED": "upstream_auth_error",
    "PERMISSION_DENIED": "upstream_auth_error",
    "NOT_FOUND": "invalid_value",
    "UNIMPLEMENTED": "unsupported_parameter",
    "RESOURCE_EXHAUSTED": "rate_limit_exceeded",
    "UNAVAILABLE": "server_is_overloaded",
}
"""`FAILED_PRECONDITION` is a region or an account without billing. Any other status is a failure of the target."""
_HTTP_OF_STATUS = {"RESOURCE_EXHAUSTED": 429, "UNAVAILABLE": 503, "INVALID_ARGUMENT": 400}
_KEY_REASONS = frozenset(("API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "ACCESS_TOKEN_EXPIRED", "CREDENTIALS_MISSING"))
_OVERFLOW = re.compile(
    r"token count.{0,40}exceeds|exceeds the maximum number of tokens|payload size exceeds", re.IGNORECASE
)
_MODEL = re.compile(r"\bmodels?/|\bmodel\b", re.IGNORECASE)
_SPENT = re.compile(r"\blimit: 0\b|prepay|credits are depleted|check your plan and billing", re.IGNORECASE)


class _Violation(msgspec.Struct, rename="camel"):
    quota_id: str = ""


class _Detail(msgspec.Struct, rename="camel"):
    """The members that are read of any kind of detail."""

    reason: str = ""
    retry_delay: str = ""
    """Of `RetryInfo`: seconds, as in `37.5s`."""
    violations: list[_Violation] = []
    """Of `QuotaFailure`."""


class _Status(msgspec.Struct):
    status: str
    message: str = ""
    code: int | None = None
    details: list[_Detail] = []


class _StatusBody(msgspec.Struct):
    error: _Status


_DECODER: msgspec.json.Decoder[_StatusBody] = msgspec.json.Decoder(_StatusBody)
_LIST_DECODER: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])


def read_fault(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The meaning of a non-2xx answer; a body that is no `google.rpc.Status` is read like any server's."""
    error = _status_of(body)
    return faults.read_fault(status, headers, body) if error is None else _error_of(error, headers)


def read_stream_fault(record: bytes) -> ApiError:
    """The meaning of an error that came inside a stream that had begun."""
    error = _status_of(record)
    return faults.read_stream_fault(record) if error is None else _error_of(error, {})


def _status_of(body: bytes) -> _Status | None:
    """The status in `{"error": …}` or, as without `alt=sse`, in a list of such."""
    try:
        if body.lstrip()[:1] == b"[":
            records = _LIST_DECODER.decode(body)
            body = bytes(records[0]) if records else b""
        return _DECODER.decode(body).error
    except UNREADABLE:
        return None


def _error_of(error: _Status, headers: Mapping[str, str]) -> ApiError:
    code = _code_of(error)
    status = error.code or _HTTP_OF_STATUS.get(error.status, 500)
    message = faults.public_message(faults.Fault(message=error.message)) or f"The target answered {error.status}."
    if code == "upstream_auth_error" and (error.status == "UNAUTHENTICATED" or _reasons(error) & _KEY_REASONS):
        message = "The target refused the key that this server is configured with."
    elif code == "upstream_error":
        message = f"The target failed with status {status}: {message}"
    waits = code in ("rate_limit_exceeded", "server_is_overloaded", "upstream_error")
    return api_error(code, message, retry_after_s=_wait_s(error, headers) if waits else None)


def _code_of(error: _Status) -> str:
    """The code in the error table."""
    if _reasons(error) & _KEY_REASONS:
        return "upstream_auth_error"
    match error.status:
        case "INVALID_ARGUMENT" if _OVERFLOW.search(error.message):
            return "context_length_exceeded"
        case "NOT_FOUND" if _MODEL.search(error.message):
            return "model_not_found"
        case "RESOURCE_EXHAUSTED" if _is_spent(error):
            return "insufficient_quota"
        case status:
            return _CODES.get(status, "upstream_error")


def _is_spent(error: _Status) -> bool:
    """Whether a retry is pointless: a daily limit, or an account without credit.

    The sentence "check your plan and billing details" alone proves nothing: limits per minute have it too, with a wait.
    """
    quotas = [violation.quota_id for detail in error.details for violation in detail.violations]
    if any("PerDay" in quota for quota in quotas):
        return True
    has_wait = any(detail.retry_delay for detail in error.details)
    return bool(_SPENT.search(error.message)) and ("limit: 0" in error.message or not has_wait)


def _wait_s(error: _Status, headers: Mapping[str, str]) -> float | None:
    delays = [detail.retry_delay for detail in error.details if detail.retry_delay]
    try:
        return max(float(delay.removesuffix("s")) for delay in delays)
    except ValueError:
        return read_wait_s(headers, error.message)


def _reasons(error: _Status) -> set[str]:
    return {detail.reason for detail in error.details}
