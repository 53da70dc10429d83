"""Classifies a server's error by wording and status as one of Landline's errors; keeps its text and how long to wait.

Called by the dialects for non-2xx answers and for error records in streams.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from math import isfinite

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.wire.errors import ApiError, api_error
from landline.wire.readable import UNREADABLE

MESSAGE_CHARS = 2000
"""Maximum length of an upstream's text that is passed on; error pages can be long."""
_OVERFLOW = re.compile(
    r"context[ _](?:length|window|size)|maximum context|max(?:imum)?[ _]model[ _]len|longer than the model"
    r"|exceeds? the (?:model'?s )?(?:available )?context|input (?:length|tokens?)[^.]{0,80}exceed"
    r"|(?:prompt|input) is too long|too many (?:input )?tokens|token count .{0,40}exceeds|exceed_context_size"
    r"|reduce the length of the (?:messages|prompt|input)|maximum prompt length|exceeded model token limit"
    r"|prompt exceeds max length|range of input length should be|`max_new_tokens` must be",
    re.IGNORECASE,
)
"""OpenAI and vLLM ("maximum context length is"), SGLang ("longer than the model's context length"), llama-server ("exceeds
the available context size"), Ollama ("input length exceeds the context length"), DeepSeek, OpenRouter, Gemini, Anthropic;
Bedrock ("Input is too long"), xAI ("maximum prompt length is"), Moonshot, Z.ai, Alibaba and TGI in that order."""
_QUOTA = re.compile(
    r"insufficient[ _](?:quota|balance|credit|funds)|exceeded your current quota|out of credits"
    r"|credit balance is too low|reached your specified api usage limits|usage (?:is|credits are) required for",
    re.IGNORECASE,
)
"""Anthropic has the last three as 400 and 429 of other kinds: no credit, a spending limit, a context that costs extra."""
_QUOTA_CODES = frozenset(
    ("insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached", "billing_error")
)
_OVERFLOW_CODES = frozenset(("context_length_exceeded", "exceed_context_size_error", "string_above_max_length"))
_PROMPT_CODES = frozenset(("content_filter", "content_policy_violation", "invalid_prompt", "data_inspection_failed"))
_MODEL_CODES = frozenset(("tool_use_failed",))
"""Groq: the model wrote a call that the parser could not read; a retry may succeed."""
_UNSUPPORTED_CODES = frozenset(("unsupported_parameter", "unsupported_value", "unknown_parameter"))
_NO_IMAGES = re.compile(
    r"image input is not supported|not a multimodal model|does not support (?:image|vision)", re.IGNORECASE
)
_OVERLOADED = re.compile(r"overloaded|at capacity|loading model|slow_down|no available workers", re.IGNORECASE)
_NO_MODEL = re.compile(r"\bmodel\b", re.IGNORECASE)
_SECRET = re.compile(r"\b(?:sk|key|gsk|xai)-[\w*.-]{6,}")
_PARAMS = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "messages": "input",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
}
"""Chat-completions field names → names in the request that our client sent."""
_STATUS_OF_TYPE = {
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "authentication_error": 401,
    "overloaded_error": 529,
    "service_unavailable_error": 503,
    "server_is_overloaded": 503,
    "unavailable_error": 503,
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "not_found_error": 404,
    "permission_error": 403,
    "request_too_large": 413,
}
"""The status that an error inside a stream would have had as an HTTP answer."""
_DURATION = re.compile(
    r"(\d+(?:\.\d+)?)\s*(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?)(?![a-z])"
)
_UNIT_S = {"m": 60.0, "s": 1.0, "h": 3600.0, "d": 86400.0}
_IN_TEXT = re.compile(
    r"(?:try again|retry|wait|reset\w*)\D{0,20}?"
    r"((?:\d+(?:\.\d+)?\s*(?:milliseconds?|ms|minutes?|mins?|seconds?|secs?|hours?|days?|[smhd])(?![a-z])\s*)+)"
)
_LIMITS = ("requests", "tokens")


class Fault(msgspec.Struct, frozen=True):
    """An upstream's error in its own words."""

    message: str = ""
    code: str = ""
    type: str = ""
    param: str | None = None


class _ErrorBody(msgspec.Struct, frozen=True):
    """`{"error": …}` (OpenAI, vLLM, llama-server), `{"object": "error", …}` (SGLang, older vLLM), `{"detail": …}` (FastAPI)."""

    error: Raw | UnsetType = UNSET
    message: Raw | UnsetType = UNSET
    detail: Raw | UnsetType = UNSET
    code: str | int | float | None = None
    type: str | None = None
    param: str | None = None
    metadata: Raw | UnsetType = UNSET


class _Metadata(msgspec.Struct, frozen=True):
    """The provider's own error in OpenRouter's; OpenRouter's message only says that a provider failed."""

    raw: Raw | UnsetType = UNSET


def read_fault(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The meaning of a non-2xx answer."""
    return explain(status, headers, decode_fault(body))


def read_stream_fault(record: bytes) -> ApiError:
    """The meaning of an error that came as a record of a stream that had begun."""
    fault = decode_fault(record)
    return explain(status_of(fault), {}, fault)


def status_of(fault: Fault) -> int:
    """The status of a fault that came without one."""
    status = int(fault.code) if re.fullmatch(r"[45]\d\d", fault.code) else _STATUS_OF_TYPE.get(fault.type.lower())
    return status or _STATUS_OF_TYPE.get(fault.code.lower(), 500)


def public_message(fault: Fault) -> str:
    """The upstream's text as it may be passed on: keys redacted, length limited."""
    return _SECRET.sub("[key]", fault.message)[:MESSAGE_CHARS]


def explain(status: int, headers: Mapping[str, str], fault: Fault) -> ApiError:
    """The fault as one of our errors."""
    message = public_message(fault)
    told = message or f"The target answered with status {status}."
    code = code_of(status, fault)
    if code == "upstream_auth_error" and status == 401:
        told = "The target refused the key that this server is configured with."
    elif code == "upstream_error":
        told = f"The target failed with status {status}: {message or 'no reason given'}"
    waits = code in ("rate_limit_exceeded", "server_is_overloaded", "upstream_error")
    wait_s = read_wait_s(headers, fault.message) if waits else None
    return api_error(code, told, param=_param_of(fault.param), retry_after_s=wait_s)


def code_of(status: int, fault: Fault) -> str:
    """The code in the error table; the fault's wording takes precedence over its status."""
    spelled = {fault.code, fault.type}
    if status == 402 or spelled & _QUOTA_CODES or (status in (400, 403, 429) and _QUOTA.search(fault.message)):
        return "insufficient_quota"
    if spelled & _OVERFLOW_CODES or (status in (400, 413, 422, 500) and _OVERFLOW.search(fault.message)):
        return "context_length_exceeded"
    if spelled & _MODEL_CODES:
        return "model_error"
    if _NO_IMAGES.search(fault.message):
        return "unsupported_content"
    if status in (400, 403, 422) and (spelled & _PROMPT_CODES):
        return "invalid_prompt"
    return _code_of_status(status, fault)


def _code_of_status(status: int, fault: Fault) -> str:
    match status:
        case 400 | 422:
            is_unsupported = bool({fault.code, fault.type} & _UNSUPPORTED_CODES)
            return "unsupported_parameter" if is_unsupported else "invalid_value"
        case 401 | 403:
            return "upstream_auth_error"
        case 404 if fault.code == "model_not_found" or _NO_MODEL.search(fault.message):
            return "model_not_found"
        case 413:
            return "rate_limit_exceeded" if "rate_limit" in fault.code else "context_length_exceeded"
        case 429:
            return "rate_limit_exceeded"
        case 503 | 529:
            return "server_is_overloaded"
        case _:
            return "server_is_overloaded" if _OVERLOADED.search(fault.message) else "upstream_error"


def decode_fault(body: bytes) -> Fault:
    """Decodes the error from any of the known envelopes; any other body is taken as the message."""
    text = body.removeprefix(BOM_UTF8).strip().decode("utf-8", "replace").encode()
    if text[:1] == b"[":
        text = _first_of(text)
    try:
        outer = msgspec.json.decode(text, type=_ErrorBody)
    except UNREADABLE:
        return Fault(message=_plain_text(body))
    if isinstance(outer.error, UnsetType):
        return _fault_in(outer)
    error = bytes(outer.error)
    if error[:1] != b"{":
        return Fault(message=_string_of(outer.error), code=_code_text(outer.code))
    try:
        return _fault_in(msgspec.json.decode(error, type=_ErrorBody))
    except UNREADABLE:
        return Fault(message=_plain_text(error))


def _fault_in(body: _ErrorBody) -> Fault:
    message = _string_of(body.message) or _string_of(body.detail)
    fault = Fault(message, _code_text(body.code), body.type or "", body.param)
    told = _told_by_provider(body)
    if not told:
        return fault
    inner = decode_fault(told.encode())
    return Fault(inner.message or message, fault.code, inner.code or inner.type or fault.type, inner.param)


def _told_by_provider(body: _ErrorBody) -> str:
    """A provider's own error inside a gateway's, as text; "" if there is none."""
    if isinstance(body.metadata, UnsetType):
        return ""
    try:
        return _string_of(msgspec.json.decode(body.metadata, type=_Metadata).raw)
    except UNREADABLE:
        return ""


def _first_of(text: bytes) -> bytes:
    """The first of a list of errors, as Gemini's chat-completions layer sends them."""
    try:
        errors = msgspec.json.decode(text, type=list[Raw])
    except UNREADABLE:
        return text
    return bytes(errors[0]) if errors else b""


def _code_text(code: str | float | None) -> str:
    return "" if code is None else code if isinstance(code, str) else str(int(code))


def _string_of(value: Raw | UnsetType) -> str:
    """A string's value; anything else as its JSON text."""
    if isinstance(value, UnsetType):
        return ""
    text = bytes(value)
    if text == b"null":
        return ""
    return msgspec.json.decode(text, type=str) if text[:1] == b'"' else text.decode()


def _plain_text(body: bytes) -> str:
    """The text of a body that is not JSON; HTML tags are removed."""
    text = body.decode("utf-8", "replace")
    if "<" in text:
        text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    return " ".join(text.split())[:MESSAGE_CHARS]


def _param_of(param: str | None) -> str | None:
    """The client's name of a chat-completions field; positions in `messages` are dropped, the client does not know them."""
    if not param:
        return None
    head = re.split(r"[.\[]", param, maxsplit=1)[0]
    return _PARAMS.get(head, param)


def read_wait_s(headers: Mapping[str, str], message: str) -> float | None:
    """Seconds to wait, or None if the answer names no wait.

    Sources in order: `retry-after-ms`, `retry-after` (seconds, or a date relative to the answer's own `date`), the
    message ("try again in 1.5s"), `x-ratelimit-reset-*` of the exhausted limit.
    """
    known = {name.lower(): value.strip() for name, value in headers.items()}
    waits = (_number(known.get("retry-after-ms"), 0.001), _retry_after(known), _wait_in(message), _reset_wait(known))
    return next((max(0.0, wait) for wait in waits if wait is not None), None)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "")
    return _number(value, 1.0) if not value or value[0].isdigit() else _until(value, headers)


def _wait_in(message: str) -> float | None:
    found = _IN_TEXT.search(message.lower())
    return _duration(found.group(1)) if found is not None else None


def _reset_wait(headers: Mapping[str, str]) -> float | None:
    waits = {
        limit: _reset_of(headers[f"x-ratelimit-reset-{limit}"], headers)
        for limit in _LIMITS
        if f"x-ratelimit-reset-{limit}" in headers
    }
    used_up = [wait for limit, wait in waits.items() if headers.get(f"x-ratelimit-remaining-{limit}") == "0"]
    known = [wait for wait in used_up or waits.values() if wait is not None]
    if known:
        return max(known)
    plain = headers.get("x-ratelimit-reset")
    return _reset_of(plain, headers) if plain is not None else None


def _reset_of(value: str, headers: Mapping[str, str]) -> float | None:
    """A reset as a duration (`6m0s`), as seconds, as a Unix time in s or ms, or as a date."""
    number = _number(value, 1.0)
    if number is None:
        return _duration(value) if _DURATION.match(value.lower()) else _until(value, headers)
    if number < 1e9:
        return number
    now = _date_s(headers.get("date", ""))
    return (number / 1000 if number > 1e11 else number) - now if now is not None else None


def _until(value: str, headers: Mapping[str, str]) -> float | None:
    until, now = _date_s(value), _date_s(headers.get("date", ""))
    return until - now if until is not None and now is not None else None


def _date_s(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None


def _duration(text: str) -> float | None:
    found = _DURATION.findall(text.lower())
    seconds = [
        float(number) * (0.001 if unit.startswith(("ms", "mil")) else _UNIT_S[unit[0]]) for number, unit in found
    ]
    return sum(seconds) if seconds else None


def _number(value: str | None, scale: float) -> float | None:
    try:
        number = float(value) * scale if value else None
    except ValueError:
        return None
    return number if number is not None and isfinite(number) else None
