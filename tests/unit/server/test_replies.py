import json

import pytest

from landline.server.replies import reply_error
from landline.wire.errors import api_error


async def said(scope) -> list[dict]:
    """What an error sends."""
    messages: list[dict] = []

    async def send(message):
        messages.append(message)

    await reply_error(scope, send, api_error("server_shutting_down", "Elsewhere."))
    return messages


@pytest.mark.parametrize(
    ("scope", "prefix"),
    [
        ({"type": "http"}, "http.response"),
        ({"type": "websocket", "extensions": {"websocket.http.response": {}}}, "websocket.http.response"),
    ],
)
async def test_an_error_is_json_with_its_status_and_headers(scope, prefix):
    start, body = await said(scope)
    assert (start["type"], start["status"], body["type"]) == (f"{prefix}.start", 503, f"{prefix}.body")
    assert (b"retry-after", b"1") in start["headers"]
    assert json.loads(body["body"])["error"]["code"] == "server_shutting_down"


@pytest.mark.parametrize("scope", [{"type": "websocket"}, {"type": "websocket", "extensions": {}}])
async def test_a_server_that_cannot_answer_a_handshake_refuses_it(scope):
    assert await said(scope) == [{"type": "websocket.close"}]
