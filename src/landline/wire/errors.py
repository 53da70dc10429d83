"""Every error a client can meet, in one table: code ↔ type ↔ HTTP status ↔ close code ↔ what a client may do next.

Sources: Open Responses 2026-04-24 (`ErrorPayload`, `WebSocketErrorEvent`), the Responses guide (WebSocket mode, errors),
and what recorded clients do with each (an error frame without an integer `status` makes Codex CLI 0.169 hang, and a 429
without a `retry-after` header ends its run).
"""

from typing import Literal

import msgspec

Retry = Literal["never", "after", "resend", "reconnect"]
"""`after`: the same request later; `resend`: at once with full history; `reconnect`: on a new socket with full history."""


class ErrorRule(msgspec.Struct, frozen=True):
    """What one error code means on every transport."""

    code: str
    type: str
    status: int
    """HTTP status; also the integer `status` of the error frame."""
    retry: Retry
    meaning: str
    close: int | None = None
    """WebSocket close code that follows the frame; None leaves the socket open."""


# WebSocket close codes that Landline sends or reads (RFC 6455 §7.4.1).
CLOSE_GOING_AWAY = 1001
CLOSE_ABNORMAL = 1006
"""Stands for a connection that was lost without a close frame; never sent."""
CLOSE_POLICY_VIOLATION = 1008
"""Sent to a client that does not read its answers."""
CLOSE_TOO_LARGE = 1009
CLOSE_SERVER_ERROR = 1011

_INVALID = "invalid_request_error"

ERROR_RULES: dict[str, ErrorRule] = {
    rule.code: rule
    for rule in (
        ErrorRule("invalid_json", _INVALID, 400, "never", "the body or frame is not JSON"),
        ErrorRule("invalid_value", _INVALID, 400, "never", "a field has the wrong type or value"),
        ErrorRule("invalid_event_type", _INVALID, 400, "never", "a frame's `type` is not a client event"),
        ErrorRule("missing_required_parameter", _INVALID, 400, "never", "a field that the request needs is absent"),
        ErrorRule("unsupported_parameter", _INVALID, 400, "never", "a field asks for what this server or target lacks"),
        ErrorRule("unsupported_content", _INVALID, 400, "never", "the target cannot read this kind of content"),
        ErrorRule(
            "invalid_stream_id", _INVALID, 400, "never", "`stream_id` is empty, too long or has other characters"
        ),
        ErrorRule("websocket_stream_limit_reached", _INVALID, 400, "reconnect", "all lanes of this socket are named"),
        ErrorRule(
            "websocket_connection_limit_reached",
            _INVALID,
            400,
            "reconnect",
            "the socket reached its age limit",
            close=CLOSE_GOING_AWAY,
        ),
        ErrorRule("previous_response_not_found", _INVALID, 400, "resend", "no such response in memory or store"),
        ErrorRule(
            "tool_call_not_found", _INVALID, 400, "never", "a tool output names a call that is not in the history"
        ),
        ErrorRule(
            "context_length_exceeded", _INVALID, 400, "never", "the input does not fit the model's context window"
        ),
        ErrorRule(
            "invalid_encrypted_content",
            _INVALID,
            400,
            "never",
            "sealed content was made elsewhere, for another tenant or with a key that is gone, or was changed",
        ),
        ErrorRule("invalid_prompt", _INVALID, 400, "never", "the model refused the prompt"),
        ErrorRule("model_not_found", _INVALID, 404, "never", "no model of this name is configured"),
        ErrorRule("not_found", _INVALID, 404, "never", "nothing is here"),
        ErrorRule("method_not_allowed", _INVALID, 405, "never", "this path does not take this method"),
        ErrorRule("request_timeout", _INVALID, 408, "after", "the body did not arrive in time"),
        ErrorRule("conversation_locked", _INVALID, 409, "after", "another response is writing to the conversation"),
        ErrorRule("response_elsewhere", _INVALID, 409, "after", "the response runs in another process of this server"),
        ErrorRule("unsupported_media_type", _INVALID, 415, "never", "the body's type or encoding cannot be read"),
        ErrorRule("host_not_allowed", _INVALID, 421, "never", "the `Host` is none of this server's names"),
        ErrorRule(
            "websocket_upgrade_required", _INVALID, 426, "never", "this path speaks WebSocket, or sockets are off"
        ),
        ErrorRule(
            "payload_too_large",
            _INVALID,
            400,
            "never",
            "the frame or body is over the size limit",
            close=CLOSE_TOO_LARGE,
        ),
        ErrorRule("invalid_api_key", "authentication_error", 401, "never", "the key is missing or unknown"),
        ErrorRule(
            "origin_not_allowed", "permission_error", 403, "never", "a web page of another origin made the request"
        ),
        ErrorRule("permission_denied", "permission_error", 403, "never", "the key may not do this"),
        ErrorRule("insufficient_quota", "insufficient_quota", 429, "never", "the account has no credit left"),
        ErrorRule("rate_limit_exceeded", "rate_limit_error", 429, "after", "too many requests or tokens for now"),
        ErrorRule("server_is_overloaded", "service_unavailable_error", 503, "after", "no capacity for now"),
        ErrorRule(
            "server_shutting_down",
            "service_unavailable_error",
            503,
            "after",
            "the server stops; another one, or its successor, takes the request",
        ),
        ErrorRule(
            "store_unavailable",
            "service_unavailable_error",
            503,
            "after",
            "the store is away, locked by another program, full, or gave no answer in time",
        ),
        ErrorRule("upstream_unavailable", "service_unavailable_error", 503, "after", "the target cannot be reached"),
        ErrorRule("upstream_error", "server_error", 502, "after", "the target failed or its answer broke off"),
        ErrorRule("upstream_auth_error", "server_error", 502, "never", "the target refused this server's own key"),
        ErrorRule("model_error", "model_error", 500, "after", "the model failed while it answered"),
        ErrorRule("server_error", "server_error", 500, "after", "a fault of this server"),
    )
}

DEFAULT_RETRY_AFTER_S = 1.0
"""Sent with a 429 or 503 whose source named no wait: Codex CLI gives up on a 429 without `retry-after`."""


class ApiError(msgspec.Struct, frozen=True):
    """One error as a value; rendered for each transport by the functions below."""

    code: str
    message: str
    param: str | None = None
    status: int = 500
    type: str = "server_error"
    retry_after_s: float | None = None

    @property
    def headers(self) -> dict[str, str]:
        """HTTP headers that belong to the error; also the frame's top-level `headers`."""
        if self.retry_after_s is None:
            return {}
        return {"retry-after": _format_seconds(self.retry_after_s)}


def api_error(code: str, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> ApiError:
    """Makes the error of a table row; 429 and 503 always carry a wait unless retrying is pointless.

    Raises KeyError for a code that is not in `ERROR_RULES` (our bug).
    """
    rule = ERROR_RULES[code]
    if rule.retry == "after" and rule.status in (429, 503) and retry_after_s is None:
        retry_after_s = DEFAULT_RETRY_AFTER_S
    return ApiError(
        code=rule.code, message=message, param=param, status=rule.status, type=rule.type, retry_after_s=retry_after_s
    )


def error_body(error: ApiError) -> dict[str, object]:
    """The JSON body of an HTTP error (protocol: `{"error": {message, type, param, code}}`)."""
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}


def _format_seconds(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")
