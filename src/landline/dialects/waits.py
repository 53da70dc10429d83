"""How long a server asks to wait, wherever it says so."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from math import isfinite

_DURATION = re.compile(
    r"(\d+(?:\.\d+)?)\s*(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?)(?![a-z])"
)
_UNIT_S = {"m": 60.0, "s": 1.0, "h": 3600.0, "d": 86400.0}
_IN_TEXT = re.compile(
    r"(?:try again|retry|wait|reset\w*)\D{0,20}?"
    r"((?:\d+(?:\.\d+)?\s*(?:milliseconds?|ms|minutes?|mins?|seconds?|secs?|hours?|days?|[smhd])(?![a-z])\s*)+)"
)
_LIMITS = ("requests", "tokens")


def read_wait_s(headers: Mapping[str, str], message: str) -> float | None:
    """Seconds to wait, or None if nothing says so.

    In order: `retry-after-ms`, `retry-after` (seconds, or a date against the answer's own `date`), the words of the
    message ("try again in 1.5s"), `x-ratelimit-reset-*` of the limit that is used up.
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
