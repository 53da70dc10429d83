"""Reading one response: events in, its text as it comes, and at the end what the agent needs of it.

Lenient on purpose, unlike `wire.events`: any server may be at the other end. Some leave out setup events, some leave out
`output` in the terminal response, all have events of their own (protocol: client checklist).
"""

import msgspec
from msgspec import Raw

from landline.agent.failures import Cut, decode_failure
from landline.wire.errors import ApiError


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


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A response that ended completed or incomplete."""

    response_id: str | None
    text: str
    calls: tuple[Call, ...]
    items: tuple[bytes, ...]
    """Output items as the next stateless request plays them back."""
    incomplete_reason: str | None = None
    refusal: str | None = None
    tokens: TokenCounts | None = None


Ending = Answer | ApiError | Cut


_NULL = Raw(b"null")
"""msgspec takes no object for `Raw | None`."""


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _InputDetails | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    id: str | None = None
    status: str | None = None
    output: list[Raw] | None = None
    usage: _Usage | None = None
    incomplete_details: _Incomplete | None = None


class _Head(msgspec.Struct):
    type: str | None = None
    error: Raw = _NULL


class _Delta(msgspec.Struct):
    delta: str = ""


class _ItemEvent(msgspec.Struct):
    item: Raw


class _ResponseEvent(msgspec.Struct):
    response: _Response


class _FailedResponse(msgspec.Struct):
    error: Raw = _NULL


class _FailedEvent(msgspec.Struct):
    response: _FailedResponse


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _OutputItem(msgspec.Struct):
    type: str = "message"
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    content: list[_Part] | str | None = None
    encrypted_content: str | None = None


_HEADS: msgspec.json.Decoder[_Head] = msgspec.json.Decoder(_Head)
_DELTAS: msgspec.json.Decoder[_Delta] = msgspec.json.Decoder(_Delta)
_ITEM_EVENTS: msgspec.json.Decoder[_ItemEvent] = msgspec.json.Decoder(_ItemEvent)
_RESPONSE_EVENTS: msgspec.json.Decoder[_ResponseEvent] = msgspec.json.Decoder(_ResponseEvent)
_RESPONSES: msgspec.json.Decoder[_Response] = msgspec.json.Decoder(_Response)
_FAILED_EVENTS: msgspec.json.Decoder[_FailedEvent] = msgspec.json.Decoder(_FailedEvent)
_ITEMS: msgspec.json.Decoder[_OutputItem] = msgspec.json.Decoder(_OutputItem)
_OBJECTS: msgspec.json.Decoder[dict[str, object]] = msgspec.json.Decoder(dict[str, object])


class AnswerReader:
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
            self.ending = Cut(f"the server sent an event that cannot be read: {error}")
            return None

    def feed_whole(self, data: bytes) -> str | None:
        """Takes a response object, as servers send it that do not stream."""
        try:
            self._end(_RESPONSES.decode(data))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.ending = Cut(f"the server sent a response that cannot be read: {error}")
        return self.ending.text if isinstance(self.ending, Answer) else None

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

    def _end(self, response: _Response) -> None:
        items = self._items or [bytes(raw) for raw in response.output or ()]
        views = [_ITEMS.decode(item) for item in items]
        parts = [part for view in views if view.type == "message" for part in _parts(view)]
        incomplete = response.incomplete_details
        self.ending = Answer(
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


def _parts(view: _OutputItem) -> list[_Part]:
    if isinstance(view.content, str):
        return [_Part(type="output_text", text=view.content)]
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


def _token_counts(usage: _Usage | None) -> TokenCounts | None:
    if usage is None:
        return None
    details = usage.input_tokens_details
    cached = details.cached_tokens if details is not None else None
    return TokenCounts(input=usage.input_tokens, cached=cached, output=usage.output_tokens)
