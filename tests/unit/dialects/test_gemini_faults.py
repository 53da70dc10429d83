"""What Google's errors mean."""

import json
from typing import Any

import pytest

from landline.dialects.gemini import Gemini
from landline.wire.errors import ApiError

KEY_INVALID = {
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
    "reason": "API_KEY_INVALID",
    "domain": "googleapis.com",
    "metadata": {"service": "generativelanguage.googleapis.com"},
}
HELP = {"@type": "type.googleapis.com/google.rpc.Help", "links": [{"description": "quotas", "url": "https://x.test"}]}


def retry(delay: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def quota(*ids: str) -> dict[str, Any]:
    violations = [{"quotaMetric": "generate_content_requests", "quotaId": each, "quotaValue": "10"} for each in ids]
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}


def read(
    code: int, status: str, message: str, *details: dict[str, Any], headers: dict[str, str] | None = None
) -> ApiError:
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = list(details)
    return Gemini().decode_error(code, headers or {}, json.dumps({"error": error}).encode())


@pytest.mark.parametrize(
    ("code", "status", "message", "details", "wanted"),
    [
        (400, "INVALID_ARGUMENT", "Invalid value at 'tools'", (), "invalid_value"),
        (
            400,
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
            (KEY_INVALID,),
            "upstream_auth_error",
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (1091639) exceeds the maximum number of tokens allowed (1048576).",
            (),
            "context_length_exceeded",
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count exceeds the maximum number of tokens allowed 1048576.",
            (),
            "context_length_exceeded",
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "Request payload size exceeds the limit: 104857600 bytes.",
            (),
            "context_length_exceeded",
        ),
        (400, "FAILED_PRECONDITION", "User location is not supported for the API use.", (), "upstream_auth_error"),
        (401, "UNAUTHENTICATED", "Request had invalid authentication credentials.", (), "upstream_auth_error"),
        (403, "PERMISSION_DENIED", "Your API key was reported as leaked.", (), "upstream_auth_error"),
        (404, "NOT_FOUND", "models/x is not found for API version v1beta.", (), "model_not_found"),
        (404, "NOT_FOUND", "File files/a does not exist.", (), "invalid_value"),
        (501, "UNIMPLEMENTED", "This is not implemented.", (), "unsupported_parameter"),
        (503, "UNAVAILABLE", "The model is overloaded. Please try again later.", (), "server_is_overloaded"),
        (500, "INTERNAL", "An internal error has occurred.", (), "upstream_error"),
        (504, "DEADLINE_EXCEEDED", "The request timed out.", (), "upstream_error"),
        (499, "CANCELLED", "The operation was cancelled.", (), "upstream_error"),
        (418, "A_NEW_STATUS", "?", (), "upstream_error"),
    ],
)
def test_a_status_is_a_row_of_our_table(
    code: int, status: str, message: str, details: tuple[dict[str, Any], ...], wanted: str
) -> None:
    assert read(code, status, message, *details).code == wanted


EXCEEDED = "You exceeded your current quota, please check your plan and billing details."


@pytest.mark.parametrize(
    ("message", "details", "wanted", "wait_s"),
    [
        (
            EXCEEDED,
            (quota("GenerateRequestsPerMinutePerProjectPerModel"), HELP, retry("37s")),
            "rate_limit_exceeded",
            37.0,
        ),
        (
            f"{EXCEEDED} Please retry in 5.5s.",
            (quota("TokensPerMinute"), retry("5.512s")),
            "rate_limit_exceeded",
            5.512,
        ),
        ("Resource has been exhausted (e.g. check quota).", (), "rate_limit_exceeded", 1.0),
        ("Quota exceeded. Please retry in 12s.", (), "rate_limit_exceeded", 12.0),
        (
            EXCEEDED,
            (quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), retry("30s")),
            "insufficient_quota",
            None,
        ),
        (f"{EXCEEDED} * Quota exceeded, limit: 0, model: x", (retry("30s"),), "insufficient_quota", None),
        (EXCEEDED, (HELP,), "insufficient_quota", None),
        ("Your prepayment credits are depleted.", (), "insufficient_quota", None),
    ],
)
def test_a_limit_is_waited_out_unless_no_wait_helps(
    message: str, details: tuple[dict[str, Any], ...], wanted: str, wait_s: float | None
) -> None:
    error = read(429, "RESOURCE_EXHAUSTED", message, *details)
    assert (error.code, error.retry_after_s) == (wanted, wait_s)


def test_a_header_says_the_wait_too() -> None:
    assert read(503, "UNAVAILABLE", "Later.", headers={"Retry-After": "7"}).retry_after_s == 7.0


def test_a_refused_key_is_not_repeated() -> None:
    told = [
        read(400, "INVALID_ARGUMENT", "API Key AIzaSyA not found.", KEY_INVALID).message,
        read(401, "UNAUTHENTICATED", "Bad token ya29.x.").message,
    ]
    assert told == ["The target refused the key that this server is configured with."] * 2


def test_an_error_keeps_its_words() -> None:
    assert read(400, "INVALID_ARGUMENT", "Corrupted thought signature.").message == "Corrupted thought signature."
    assert read(500, "INTERNAL", "Oops.").message == "The target failed with status 500: Oops."
    assert read(503, "UNAVAILABLE", "").message == "The target answered UNAVAILABLE."


def test_a_list_of_errors_is_its_first() -> None:
    body = b'[{"error":{"code":404,"message":"models/x is not found","status":"NOT_FOUND"}}]'
    assert Gemini().decode_error(404, {}, body).code == "model_not_found"


@pytest.mark.parametrize(
    ("status", "body", "wanted"),
    [
        (502, b"<html><title>502</title>Bad gateway</html>", "upstream_error"),
        (429, b"[]", "rate_limit_exceeded"),
        (401, b'{"error":"no"}', "upstream_auth_error"),
        (404, b"", "upstream_error"),
    ],
)
def test_what_google_did_not_write_is_read_as_any_servers(status: int, body: bytes, wanted: str) -> None:
    assert Gemini().decode_error(status, {}, body).code == wanted


@pytest.mark.parametrize("body", [b'{"error":{"status":"\xff"}}', b'{"error":' + b"[" * 100_000, b"[" * 100_000])
def test_any_body_gives_an_error(body: bytes) -> None:
    assert Gemini().decode_error(500, {}, body).code == "upstream_error"
