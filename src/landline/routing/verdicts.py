"""What a target's error says about the target, and whether another one may do better."""

from collections.abc import Sequence
from typing import Literal

from landline.wire.errors import DEFAULT_RETRY_AFTER_S, ApiError

Verdict = Literal["fault", "busy", "elsewhere", "final"]
"""`fault`: the target failed. `busy`: it works and asks for a wait. `elsewhere`: it works and has not what the turn needs.
`final`: the turn itself is at fault, or its model; every target would say the same. All but the last may be tried at
another target."""

_VERDICTS: dict[str, Verdict] = {
    "rate_limit_exceeded": "busy",
    "insufficient_quota": "fault",
    "model_not_found": "elsewhere",
    "model_error": "final",
}
"""By code. Every other 5xx is a fault, whatever else is final. A target's account without credit fails every turn until
somebody pays, so it counts as a fault."""

_USEFUL_FIRST = ("rate_limit_exceeded", "server_is_overloaded", "upstream_error", "upstream_unavailable")
"""Errors that a client can do something about: wait, and how long is told."""


def verdict(error: ApiError) -> Verdict:
    """What the error means for its target."""
    return _VERDICTS.get(error.code, "fault" if error.status >= 500 else "final")


def wait_of(error: ApiError) -> float:
    """Seconds for which a busy target is left alone."""
    return DEFAULT_RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s


def most_useful(errors: Sequence[ApiError]) -> ApiError:
    """What a client is told when every target failed: of rate limits the one with the shortest wait."""
    return min(errors, key=_usefulness)


def _usefulness(error: ApiError) -> tuple[int, float]:
    order = _USEFUL_FIRST.index(error.code) if error.code in _USEFUL_FIRST else len(_USEFUL_FIRST)
    return order, wait_of(error)
