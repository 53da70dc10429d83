"""Whole HTTP answers: JSON bodies and errors, also in place of a WebSocket handshake."""

from collections.abc import Iterable

import msgspec
from starlette.types import Scope, Send

from landline.wire.errors import ApiError, error_body

Header = tuple[bytes, bytes]


async def reply_json(scope: Scope, send: Send, status: int, body: bytes, headers: Iterable[Header] = ()) -> None:
    """Sends one JSON body and ends the answer. A server without the extension for that can only refuse a handshake (403)."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    start = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
    prefix = "http.response" if scope["type"] == "http" else "websocket.http.response"
    await send({"type": f"{prefix}.start", "status": status, "headers": start})
    await send({"type": f"{prefix}.body", "body": body})


async def reply_error(scope: Scope, send: Send, error: ApiError, headers: Iterable[Header] = ()) -> None:
    """Sends `{"error": {message, type, param, code}}` with the error's own status and headers."""
    own = [(name.encode(), value.encode()) for name, value in error.headers.items()]
    await reply_json(scope, send, error.status, msgspec.json.encode(error_body(error)), [*own, *headers])
