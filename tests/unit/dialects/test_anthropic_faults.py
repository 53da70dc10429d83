"""Errors of the Messages API keep their meaning, as answers and inside streams."""

import json

import pytest

from landline.dialects.anthropic import Anthropic
from landline.dialects.dialect import Prompt
from landline.wire.errors import ApiError
from landline.wire.model_events import Failed
from landline.wire.requests import CreateRequest

OVERFLOW = "prompt is too long: 210000 tokens > 200000 maximum"
LIMIT = "input length and `max_tokens` exceed context limit: 195000 + 32000 > 200000"
SPENT = "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."
STALE = "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation."


def enveloped(kind: str, message: str) -> bytes:
    error = {"type": kind, "message": message}
    return json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode()


def in_stream(kind: str, message: str) -> ApiError:
    decoder = Anthropic().open_decoder(Prompt(history=None, request=CreateRequest(), model="m"))
    (failed,) = decoder.feed(b"event: error\ndata: " + enveloped(kind, message) + b"\n\n")
    assert isinstance(failed, Failed)
    return failed.error


@pytest.mark.parametrize(
    ("status", "kind", "message", "code"),
    [
        (400, "invalid_request_error", OVERFLOW, "context_length_exceeded"),
        (400, "invalid_request_error", LIMIT, "context_length_exceeded"),
        (413, "request_too_large", "Request exceeds the maximum size", "context_length_exceeded"),
        (400, "invalid_request_error", STALE, "invalid_value"),
        (400, "invalid_request_error", "messages: roles must alternate", "invalid_value"),
        (400, "invalid_request_error", "Your credit balance is too low to access the API.", "insufficient_quota"),
        (400, "invalid_request_error", SPENT, "insufficient_quota"),
        (429, "rate_limit_error", "Extra usage is required for long context requests.", "insufficient_quota"),
        (429, "rate_limit_error", "Usage credits are required for long context requests.", "insufficient_quota"),
        (402, "billing_error", "There is an issue with your billing.", "insufficient_quota"),
        (401, "authentication_error", "invalid x-api-key", "upstream_auth_error"),
        (403, "permission_error", "Your API key does not have permission.", "upstream_auth_error"),
        (404, "not_found_error", "model: claude-0", "model_not_found"),
        (429, "rate_limit_error", "This request would exceed your organization's rate limit.", "rate_limit_exceeded"),
        (500, "api_error", "Internal server error", "upstream_error"),
        (504, "timeout_error", "Request timed out", "upstream_error"),
        (529, "overloaded_error", "Overloaded", "server_is_overloaded"),
    ],
)
def test_a_status_and_its_type_mean_one_code_also_in_a_stream(status: int, kind: str, message: str, code: str) -> None:
    refused = Anthropic().decode_error(status, {}, enveloped(kind, message))
    assert refused.code == code
    assert in_stream(kind, message).code == code


def test_a_rate_limit_keeps_its_wait() -> None:
    headers = {"Retry-After": "17", "anthropic-ratelimit-requests-reset": "2026-11-22T10:00:00Z"}
    assert Anthropic().decode_error(429, headers, enveloped("rate_limit_error", "Slow.")).retry_after_s == 17.0


def test_a_refused_key_is_not_repeated() -> None:
    body = enveloped("authentication_error", "invalid x-api-key sk-ant-api03-abcdef123456")
    assert "sk-ant" not in Anthropic().decode_error(401, {}, body).message
