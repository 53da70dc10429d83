"""What a server answers: one response read from its events, or the error it sends instead, and what to do about that.

Lenient on purpose, unlike `wire.events`: any server may be at the other end. Some leave out setup events, some leave out
`output` in the terminal response, all have events of their own. Errors come nested
(`{"type":"error","status":…,"error":{…}}`), flat (`{"type":"error","code":…}`), without a `type` at the top, with the code
as a number, and as an HTTP body that only has `detail`.
"""

import os
import socket
from collections.abc import Mapping
from typing import Literal, assert_never

import msgspec
from msgspec import Raw

from landline.wire.errors import DEFAULT_RETRY_AFTER_S, ERROR_RULES, ApiError

Step = Literal["resend", "reconnect", "wait", "give_up"]
"""`resend`: at once, with the full history, on the same socket; `reconnect`: the same on a new socket; `wait`: later."""

_FINAL_CODES = frozenset(
    ("insufficient_quota", "credit_balance_exhausted", "context_length_exceeded", "model_not_found", "invalid_api_key")
)
_FINAL_STATUSES = frozenset((401, 403, 413))
_WAIT_STATUSES = frozenset((408, 409, 429))


class ConnectionLost(msgspec.Struct, frozen=True):
    """The connection ended before the response did."""

    reason: str
    is_worth_retrying: bool = True


class UpgradeRefused(msgspec.Struct, frozen=True):
    """The server has no WebSocket at this path; a 426 says so explicitly."""

    status: int


class _ErrorObject(msgspec.Struct):
    code: str | int | None = None
    type: str | None = None
    message: str | None = None
    param: object = None
    headers: dict[str, object] | None = None


class _ErrorFrame(msgspec.Struct):
    error: _ErrorObject | str | None = None
    code: str | int | None = None
    message: str | None = None
    param: object = None
    detail: object = None
    status: int | None = None
    status_code: int | None = None
    headers: dict[str, object] | None = None


_FRAME_DECODER: msgspec.json.Decoder[_ErrorFrame] = msgspec.json.Decoder(_ErrorFrame, strict=False)


def decode_failure(data: bytes, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> ApiError:
    """Reads an error frame or an HTTP error body; what is missing is filled in from the error table."""
    try:
        frame = _FRAME_DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = data[:300].decode("utf-8", "replace").strip()
        frame = _ErrorFrame(message=text or None)
    error = _error_object(frame)
    status = frame.status or frame.status_code or status or _status_of(error)
    hints = {**_lowered(headers), **_lowered(frame.headers), **_lowered(error.headers)}
    return ApiError(
        code=error.code if isinstance(error.code, str) else _code_of(status),
        message=error.message or f"the server gave no reason (status {status})",
        param=error.param if isinstance(error.param, str) else None,
        status=status,
        type=error.type or "server_error",
        retry_after_s=_retry_after_s(hints),
    )


def next_step(failure: ApiError, *, is_delta: bool) -> Step:
    """What to do about an error (client rules: Responses guide, WebSocket mode; the SDKs' retry rules).

    A refused delta is always worth one full request: the server forgets the parent of a failed continuation anyway, and
    some servers cannot continue a response that was not stored, and say so in words of their own.
    """
    if failure.code == "websocket_connection_limit_reached":
        return "reconnect"
    if failure.code in _FINAL_CODES or failure.status in _FINAL_STATUSES:
        return "give_up"
    if failure.status in _WAIT_STATUSES or failure.status >= 500:
        return "wait"
    return "resend" if is_delta else "give_up"


def wait_s(failure: ApiError) -> float:
    """Seconds to wait before the same request is worth sending again."""
    return DEFAULT_RETRY_AFTER_S if failure.retry_after_s is None else failure.retry_after_s


def unreachable(url: str, error: Exception) -> ConnectionLost:
    """No connection could be made; says why in the system's words, not in the client library's."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, socket.gaierror):
        reason = "no such host"
    elif isinstance(cause, TimeoutError):
        reason = "it did not answer in time"
    elif isinstance(cause, OSError) and cause.errno:
        reason = os.strerror(cause.errno).lower()
    else:
        reason = str(error) or type(error).__name__
    return ConnectionLost(f"cannot reach {url}: {reason}. Is a server running there?", is_worth_retrying=False)


def describe(ending: ApiError | ConnectionLost | UpgradeRefused) -> str:
    """One line for a person."""
    match ending:
        case ApiError():
            return f"{ending.code} (status {ending.status}): {ending.message}"
        case ConnectionLost(reason, is_worth_retrying):
            return f"the connection was lost: {reason}" if is_worth_retrying else reason
        case UpgradeRefused(status):
            return f"the server refused the upgrade to WebSocket with status {status}"
        case _:
            assert_never(ending)


def _error_object(frame: _ErrorFrame) -> _ErrorObject:
    if isinstance(frame.error, _ErrorObject):
        return frame.error
    detail = frame.detail if isinstance(frame.detail, str) else None
    return _ErrorObject(
        code=frame.code, message=frame.error or frame.message or detail, param=frame.param, headers=frame.headers
    )


def _status_of(error: _ErrorObject) -> int:
    if isinstance(error.code, int):
        return error.code if 400 <= error.code < 600 else 500
    rule = ERROR_RULES.get(error.code or "")
    if rule is not None:
        return rule.status
    return 400 if error.type is not None and error.type.startswith("invalid_request") else 500


def _code_of(status: int) -> str:
    if status == 429:
        return "rate_limit_exceeded"
    if status == 401:
        return "invalid_api_key"
    return "server_error" if status >= 500 else "invalid_value"


def _lowered(headers: Mapping[str, object] | None) -> dict[str, str]:
    return {name.lower(): str(value) for name, value in (headers or {}).items()}


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """`retry-after-ms` before `retry-after`; its form as a date is not read."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    return None


class Call(msgspec.Struct, frozen=True):
    """A function call the model asks for."""

    call_id: str
    name: str
    arguments: str = ""


class TokenCounts(msgspec.Struct, frozen=True):
    """The server's own counts."""

    input: int
    cached: int | None
    """None where the server does not say."""
    output: int


class ModelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A response that ended completed or incomplete."""

    response_id: str | None
    text: str
    calls: tuple[Call, ...]
    items: tuple[bytes, ...]
    """Output items as the next stateless request plays them back."""
    incomplete_reason: str | None = None
    refusal: str | None = None
    tokens: TokenCounts | None = None


Ending = ModelAnswer | ApiError | ConnectionLost


_NULL = Raw(b"null")
"""msgspec takes no object for `Raw | None`."""


class _CachedTokens(msgspec.Struct):
    cached_tokens: int | None = None


class _TokenUsage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _CachedTokens | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _ResponseObject(msgspec.Struct):
    id: str | None = None
    status: str | None = None
    output: list[Raw] | None = None
    usage: _TokenUsage | None = None
    incomplete_details: _Incomplete | None = None


class _EventHead(msgspec.Struct):
    type: str | None = None
    error: Raw = _NULL


class _Delta(msgspec.Struct):
    delta: str = ""


class _ItemEvent(msgspec.Struct):
    item: Raw


class _ResponseEvent(msgspec.Struct):
    response: _ResponseObject


class _ResponseError(msgspec.Struct):
    error: Raw = _NULL


class _FailedEvent(msgspec.Struct):
    response: _ResponseError


class _ContentPart(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _OutputItem(msgspec.Struct):
    type: str = "message"
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    content: list[_ContentPart] | str | None = None
    encrypted_content: str | None = None


_HEADS: msgspec.json.Decoder[_EventHead] = msgspec.json.Decoder(_EventHead)
_DELTAS: msgspec.json.Decoder[_Delta] = msgspec.json.Decoder(_Delta)
_ITEM_EVENTS: msgspec.json.Decoder[_ItemEvent] = msgspec.json.Decoder(_ItemEvent)
_RESPONSE_EVENTS: msgspec.json.Decoder[_ResponseEvent] = msgspec.json.Decoder(_ResponseEvent)
_RESPONSES: msgspec.json.Decoder[_ResponseObject] = msgspec.json.Decoder(_ResponseObject)
_FAILED_EVENTS: msgspec.json.Decoder[_FailedEvent] = msgspec.json.Decoder(_FailedEvent)
_ITEMS: msgspec.json.Decoder[_OutputItem] = msgspec.json.Decoder(_OutputItem)
_OBJECTS: msgspec.json.Decoder[dict[str, object]] = msgspec.json.Decoder(dict[str, object])


class AnswerEventReader:
    """Takes the events of one response in order until `ending` is set."""

    def __init__(self) -> None:
        self.ending: Ending | None = None
        """None while the response goes on."""
        self._items: list[bytes] = []
        self._deltas: list[str] = []

    def feed(self, data: bytes) -> str | None:
        """Takes one event's JSON; the text it adds, an empty string for other model output, None for the rest."""
        try:
            return self._take(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.ending = ConnectionLost(f"the server sent an event that cannot be read: {error}")
            return None

    def feed_whole(self, data: bytes) -> str | None:
        """Takes a response object, as servers send it that do not stream."""
        try:
            self._end(_RESPONSES.decode(data))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.ending = ConnectionLost(f"the server sent a response that cannot be read: {error}")
        return self.ending.text if isinstance(self.ending, ModelAnswer) else None

    def _take(self, data: bytes) -> str | None:
        head = _HEADS.decode(data)
        match head.type:
            case "response.output_text.delta" | "response.refusal.delta":
                delta = _DELTAS.decode(data).delta
                self._deltas.append(delta)
                return delta
            case "response.output_item.done":
                self._items.append(bytes(_ITEM_EVENTS.decode(data).item))
            case "response.completed" | "response.incomplete" | "response.done":
                self._end(_RESPONSE_EVENTS.decode(data).response)
            case "response.failed" | "response.cancelled":
                error = _FAILED_EVENTS.decode(data).response.error
                self.ending = decode_failure(b'{"error":' + bytes(error) + b"}")
            case "error":
                self.ending = decode_failure(data)
            case None if bytes(head.error) != b"null":
                self.ending = decode_failure(data)
            case str(other) if other.endswith(".delta"):
                return ""
            case _:
                pass
        return None

    def _end(self, response: _ResponseObject) -> None:
        items = self._items or [bytes(raw) for raw in response.output or ()]
        views = [_ITEMS.decode(item) for item in items]
        parts = [part for view in views if view.type == "message" for part in _parts(view)]
        incomplete = response.incomplete_details
        self.ending = ModelAnswer(
            response_id=response.id,
            text="".join(part.text or "" for part in parts) or ("" if parts else "".join(self._deltas)),
            calls=tuple(_call(view) for view in views if view.type == "function_call"),
            items=tuple(played for item, view in zip(items, views, strict=True) if (played := _replay(item, view))),
            incomplete_reason=((incomplete.reason if incomplete else None) or "no reason given")
            if response.status == "incomplete"
            else None,
            refusal="".join(part.refusal or "" for part in parts) or None,
            tokens=_token_counts(response.usage),
        )


def _parts(view: _OutputItem) -> list[_ContentPart]:
    if isinstance(view.content, str):
        return [_ContentPart(type="output_text", text=view.content)]
    return view.content or []


def _call(view: _OutputItem) -> Call:
    return Call(call_id=view.call_id or "", name=view.name or "", arguments=view.arguments or "")


def _replay(item: bytes, view: _OutputItem) -> bytes | None:
    """An output item as input: without `id` and `status`, which a server that stores nothing cannot look up.

    Reasoning without content (hidden at the server) cannot be played back at all and is left out.
    """
    if view.type == "reasoning":
        return item if view.encrypted_content or view.content else None
    if view.type not in ("message", "function_call"):
        return item
    fields = _OBJECTS.decode(item)
    return msgspec.json.encode({key: value for key, value in fields.items() if key not in ("id", "status")})


def _token_counts(usage: _TokenUsage | None) -> TokenCounts | None:
    if usage is None:
        return None
    details = usage.input_tokens_details
    cached = details.cached_tokens if details is not None else None
    return TokenCounts(input=usage.input_tokens, cached=cached, output=usage.output_tokens)
