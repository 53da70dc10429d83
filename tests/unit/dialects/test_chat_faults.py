"""Errors of many servers keep their meaning."""

import json
from typing import Any

import pytest

from landline.dialects.chat_completions import ChatCompletions
from landline.dialects.faults import MESSAGE_CHARS
from landline.wire.errors import ApiError


def fault(status: int, body: Any, headers: dict[str, str] | None = None) -> ApiError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ChatCompletions().decode_error(status, headers or {}, data)


def enveloped(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def provided(raw: Any) -> dict[str, Any]:
    """OpenRouter's envelope around what a provider said."""
    return enveloped("Provider returned error", code=400, metadata={"raw": raw, "provider_name": "P"})


OVERFLOWS = {
    "openai": (400, enveloped("This model's maximum context length is 128000 tokens.", code="context_length_exceeded")),
    "vllm": (
        400,
        enveloped("This model's maximum context length is 6048 tokens. However, you requested 6616.", code=400),
    ),
    "vllm-old": (400, {"object": "error", "message": "maximum context length is 4096 tokens", "code": 400}),
    "sglang": (
        400,
        {"object": "error", "message": "The input (9 tokens) is longer than the model's context length (8 tokens)."},
    ),
    "llama-server": (
        400,
        enveloped("the request exceeds the available context size", type="exceed_context_size_error"),
    ),
    "llama-server-code": (400, enveloped("request (9 tokens) too large", type="exceed_context_size_error", n_ctx=8)),
    "ollama": (400, enveloped("the input length exceeds the context length")),
    "deepseek": (400, enveloped("This model's maximum context length is 65536 tokens.", type="invalid_request_error")),
    "openrouter": (400, enveloped("This endpoint's maximum context length is 200000 tokens.", code=400)),
    "gemini": (
        400,
        [enveloped("The input token count (582632) exceeds the maximum number of tokens allowed (131072).")],
    ),
    "anthropic": (400, enveloped("prompt is too long: 210000 tokens > 200000 maximum", type="invalid_request_error")),
    "mistral": (
        422,
        {"message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"},
    ),
    "bedrock": (400, {"message": "Input is too long for requested model."}),
    "xai": (400, {"error": "This model's maximum prompt length is 131072 but the request contains 136973 tokens."}),
    "moonshot": (400, enveloped("Your request exceeded model token limit: 262144 (requested: 291351)")),
    "zai": (400, enveloped("Prompt exceeds max length", code="1261")),
    "alibaba": (400, enveloped("Range of input length should be [1, 98304]", code="invalid_parameter_error")),
    "tgi": (422, {"error": "`inputs` tokens + `max_new_tokens` must be <= 4096", "error_type": "validation"}),
    "openrouter-provider": (400, provided("prompt is too long: 210000 tokens > 200000 maximum")),
    "openrouter-provider-code": (400, provided(json.dumps(enveloped("Too much", code="context_length_exceeded")))),
    "proxy": (413, b"<html><head><title>413</title></head><body><h1>Request Entity Too Large</h1></body></html>"),
}


@pytest.mark.parametrize("server", OVERFLOWS)
def test_an_overflow_is_one_in_every_wording(server: str) -> None:
    error = fault(*OVERFLOWS[server])
    assert error.code == "context_length_exceeded"
    assert error.status == 400


def test_an_overflow_keeps_the_servers_text() -> None:
    assert fault(*OVERFLOWS["ollama"]).message == "the input length exceeds the context length"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, enveloped("Invalid value: 'x'.", code="invalid_value"), "invalid_value"),
        (400, enveloped("Unsupported parameter", code="unsupported_parameter"), "unsupported_parameter"),
        (400, enveloped("flagged", code="content_policy_violation"), "invalid_prompt"),
        (403, enveloped("flagged", type="content_filter"), "invalid_prompt"),
        (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, "invalid_value"),
        (401, enveloped("Incorrect API key provided", code="invalid_api_key"), "upstream_auth_error"),
        (403, enveloped("Country not supported"), "upstream_auth_error"),
        (402, enveloped("Insufficient Balance"), "insufficient_quota"),
        (402, enveloped("pay"), "insufficient_quota"),
        (429, enveloped("You exceeded your current quota", code="insufficient_quota"), "insufficient_quota"),
        (429, enveloped("Rate limit reached", code="rate_limit_exceeded"), "rate_limit_exceeded"),
        (413, enveloped("Request too large on tokens per minute", code="rate_limit_exceeded"), "rate_limit_exceeded"),
        (404, enveloped("The model `x` does not exist.", type="NotFoundError", code=404), "model_not_found"),
        (404, enveloped('model "x" not found, try pulling it first'), "model_not_found"),
        (404, {"detail": "Not Found"}, "upstream_error"),
        (
            400,
            enveloped("Failed to call a function.", type="invalid_request_error", code="tool_use_failed"),
            "model_error",
        ),
        (405, {"detail": "Method Not Allowed"}, "upstream_error"),
        (408, b"", "upstream_error"),
        (500, enveloped("boom"), "upstream_error"),
        (500, enveloped("The server is overloaded"), "server_is_overloaded"),
        (500, enveloped("image input is not supported - hint: provide the mmproj"), "unsupported_content"),
        (400, enveloped("m is not a multimodal model", code=400), "unsupported_content"),
        (502, b"<html>Bad Gateway</html>", "upstream_error"),
        (503, enveloped("Loading model", type="unavailable_error"), "server_is_overloaded"),
        (504, b"", "upstream_error"),
        (529, enveloped("overloaded_error"), "server_is_overloaded"),
    ],
)
def test_a_status_and_its_words_mean_one_code(status: int, body: Any, code: str) -> None:
    assert fault(status, body).code == code


def test_the_param_gets_the_name_that_the_client_used() -> None:
    assert fault(400, enveloped("x", param="max_tokens")).param == "max_output_tokens"
    assert fault(400, enveloped("x", param="messages[3].content")).param == "input"
    assert fault(400, enveloped("x", param="temperature")).param == "temperature"
    assert fault(400, enveloped("x", param=None)).param is None


@pytest.mark.parametrize(
    "raw",
    [
        "At most 1 image.",
        json.dumps(enveloped("At most 1 image.", type="invalid_request_error")),
        {"error": {"message": "At most 1 image."}},
        json.dumps({"object": "error", "message": "At most 1 image.", "code": "3230"}),
    ],
)
def test_what_a_provider_said_is_told_in_place_of_its_gateways_words(raw: Any) -> None:
    error = fault(400, provided(raw))
    assert (error.code, error.message) == ("invalid_value", "At most 1 image.")


@pytest.mark.parametrize("metadata", [None, [], {}, {"raw": None}, {"raw": ""}, {"reasons": ["violence"]}])
def test_a_gateways_own_words_are_told_where_no_provider_said_anything(metadata: Any) -> None:
    assert fault(400, enveloped("Bad input", metadata=metadata)).message == "Bad input"


def test_a_byte_order_mark_hides_no_error() -> None:
    error = fault(400, b'\xef\xbb\xbf{"error":{"message":"too warm","code":"unsupported_value"}}')
    assert (error.code, error.message) == ("unsupported_parameter", "too warm")


def test_a_refused_key_is_not_repeated() -> None:
    assert "sk-" not in fault(401, enveloped("Incorrect API key provided: sk-proj-abcdef123456.")).message
    assert "sk-" not in fault(500, enveloped("upstream said: bad key sk-proj-abcdef123456")).message


def test_a_servers_fault_says_its_status() -> None:
    assert "502" in fault(502, b"<html><style>x{}</style><b>Bad</b> Gateway</html>").message
    assert "Bad Gateway" in fault(502, b"<html><style>x{}</style><b>Bad</b> Gateway</html>").message
    assert "no reason given" in fault(504, b"").message


def test_long_texts_are_cut() -> None:
    assert len(fault(400, enveloped("x" * 100_000)).message) == MESSAGE_CHARS
    assert len(fault(400, b"y" * 100_000).message) == MESSAGE_CHARS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"[1",
        b'"text"',
        b"\xff\xfe",
        b'{"error":1}',
        b'{"error":{"message":null}}',
        b'{"error":{"message":{"a":1}}}',
        b'{"error":{"code":[]}}',
        b'{"error":"ung\xfcltig"}',
        b'{"error":{"message":{"a":"\xff"}}}',
        b'{"detail":[{"loc":"\xff"}]}',
        b'[{"error":{"message":"\xff"}}]',
        b"[" * 100_000,
        b'{"error":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_any_body_gives_an_error(body: bytes) -> None:
    assert fault(500, body).code == "upstream_error"


@pytest.mark.parametrize(
    ("headers", "message", "wait_s"),
    [
        ({"Retry-After": "7"}, "", 7.0),
        ({"retry-after": "7", "retry-after-ms": "1500"}, "", 1.5),
        ({"Retry-After": "Sun, 22 Nov 2026 10:00:30 GMT", "Date": "Sun, 22 Nov 2026 10:00:00 GMT"}, "", 30.0),
        ({"Retry-After": "Sun, 22 Nov 2026 09:00:00 GMT", "Date": "Sun, 22 Nov 2026 10:00:00 GMT"}, "", 0.0),
        ({"retry-after-ms": "inf", "retry-after": "1e999"}, "", 1.0),
        ({"Retry-After": "soon"}, "Please try again in 1.5s.", 1.5),
        ({}, "Please try again in 6m0s.", 360.0),
        ({}, "Please try again in 120ms.", 0.12),
        ({}, "Please retry in 2 minutes", 120.0),
        ({}, "Retry after 250 milliseconds.", 0.25),
        ({}, "Limit 40000, used 39000, wait 1h2m", 3720.0),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, "", 360.0),
        (
            {
                "x-ratelimit-reset-requests": "2s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-tokens": "900",
            },
            "",
            2.0,
        ),
        ({"x-ratelimit-reset": "12"}, "", 12.0),
        ({"x-ratelimit-reset": "1795341630000", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, "", 30.0),
        ({"x-ratelimit-reset": "1795341630000"}, "", 1.0),
        ({}, "Too many requests", 1.0),
    ],
)
def test_a_rate_limit_keeps_its_wait(headers: dict[str, str], message: str, wait_s: float) -> None:
    error = fault(429, enveloped(message), headers)
    assert error.retry_after_s == pytest.approx(wait_s)
    assert error.status == 429


def test_an_overload_keeps_its_wait() -> None:
    assert fault(503, b"", {"Retry-After": "5"}).retry_after_s == 5.0


def test_what_waiting_does_not_help_says_no_wait() -> None:
    assert fault(429, enveloped("quota", code="insufficient_quota"), {"Retry-After": "5"}).retry_after_s is None
