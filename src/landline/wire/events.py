"""Server events: what a response says while it is made, the same JSON over SSE and the socket.

`sequence_number` counts from 0 per response; `stream_id` is there only on named lanes.
"""

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.wire.errors import ApiError
from landline.wire.model_events import LogprobEntry
from landline.wire.responses import Response


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Fields common to all server events (a shape, not behaviour)."""

    sequence_number: int
    stream_id: str | UnsetType = UNSET


class ResponseCreated(_Event, frozen=True, kw_only=True, tag="response.created"):
    response: Response


class ResponseQueued(_Event, frozen=True, kw_only=True, tag="response.queued"):
    response: Response


class ResponseInProgress(_Event, frozen=True, kw_only=True, tag="response.in_progress"):
    response: Response


class ResponseCompleted(_Event, frozen=True, kw_only=True, tag="response.completed"):
    response: Response


class ResponseIncomplete(_Event, frozen=True, kw_only=True, tag="response.incomplete"):
    response: Response


class ResponseFailed(_Event, frozen=True, kw_only=True, tag="response.failed"):
    response: Response


class OutputItemAdded(_Event, frozen=True, kw_only=True, tag="response.output_item.added"):
    output_index: int
    item: Raw


class OutputItemDone(_Event, frozen=True, kw_only=True, tag="response.output_item.done"):
    output_index: int
    item: Raw


class ContentPartAdded(_Event, frozen=True, kw_only=True, tag="response.content_part.added"):
    item_id: str
    output_index: int
    content_index: int
    part: Raw


class ContentPartDone(_Event, frozen=True, kw_only=True, tag="response.content_part.done"):
    item_id: str
    output_index: int
    content_index: int
    part: Raw


class OutputTextDelta(_Event, frozen=True, kw_only=True, tag="response.output_text.delta"):
    item_id: str
    output_index: int
    content_index: int
    delta: str
    logprobs: list[LogprobEntry] = msgspec.field(default_factory=list[LogprobEntry])
    obfuscation: str | UnsetType = UNSET


class OutputTextDone(_Event, frozen=True, kw_only=True, tag="response.output_text.done"):
    item_id: str
    output_index: int
    content_index: int
    text: str
    logprobs: list[LogprobEntry] = msgspec.field(default_factory=list[LogprobEntry])


class RefusalDeltaEvent(_Event, frozen=True, kw_only=True, tag="response.refusal.delta"):
    item_id: str
    output_index: int
    content_index: int
    delta: str


class RefusalDone(_Event, frozen=True, kw_only=True, tag="response.refusal.done"):
    item_id: str
    output_index: int
    content_index: int
    refusal: str


class FunctionCallArgumentsDelta(_Event, frozen=True, kw_only=True, tag="response.function_call_arguments.delta"):
    item_id: str
    output_index: int
    delta: str
    obfuscation: str | UnsetType = UNSET


class FunctionCallArgumentsDone(_Event, frozen=True, kw_only=True, tag="response.function_call_arguments.done"):
    item_id: str
    output_index: int
    arguments: str


class CustomToolCallInputDelta(_Event, frozen=True, kw_only=True, tag="response.custom_tool_call_input.delta"):
    item_id: str
    output_index: int
    delta: str


class CustomToolCallInputDone(_Event, frozen=True, kw_only=True, tag="response.custom_tool_call_input.done"):
    item_id: str
    output_index: int
    input: str


class ReasoningSummaryPartAdded(_Event, frozen=True, kw_only=True, tag="response.reasoning_summary_part.added"):
    item_id: str
    output_index: int
    summary_index: int
    part: Raw


class ReasoningSummaryPartDone(_Event, frozen=True, kw_only=True, tag="response.reasoning_summary_part.done"):
    item_id: str
    output_index: int
    summary_index: int
    part: Raw


class ReasoningSummaryTextDelta(_Event, frozen=True, kw_only=True, tag="response.reasoning_summary_text.delta"):
    item_id: str
    output_index: int
    summary_index: int
    delta: str


class ReasoningSummaryTextDone(_Event, frozen=True, kw_only=True, tag="response.reasoning_summary_text.done"):
    item_id: str
    output_index: int
    summary_index: int
    text: str


class ReasoningTextDelta(_Event, frozen=True, kw_only=True, tag="response.reasoning_text.delta"):
    """OpenAI's name; Open Responses calls the same event `response.reasoning.delta` (`ReasoningDeltaEvent`)."""

    item_id: str
    output_index: int
    content_index: int
    delta: str


class ReasoningTextDone(_Event, frozen=True, kw_only=True, tag="response.reasoning_text.done"):
    item_id: str
    output_index: int
    content_index: int
    text: str


class ReasoningDeltaEvent(_Event, frozen=True, kw_only=True, tag="response.reasoning.delta"):
    item_id: str
    output_index: int
    content_index: int
    delta: str


class ReasoningDoneEvent(_Event, frozen=True, kw_only=True, tag="response.reasoning.done"):
    item_id: str
    output_index: int
    content_index: int
    text: str


class Keepalive(_Event, frozen=True, kw_only=True, tag="keepalive"):
    """Sent in long silences: Codex CLI's idle timer counts text frames, not pings."""


class SteerFailure(msgspec.Struct, frozen=True):
    code: str
    message: str
    type: str = "invalid_request_error"


class SteerFailed(_Event, frozen=True, kw_only=True, tag="response.steer.failed"):
    """The answer to a `response.steer` that cannot be taken; numbered 0 when it has no running target."""

    error: SteerFailure
    steer: dict[str, Raw | str]


class ErrorDetail(msgspec.Struct, frozen=True, omit_defaults=False):
    type: str
    code: str
    message: str
    param: str | None = None
    headers: dict[str, str] | UnsetType = UNSET


class ErrorEvent(_Event, frozen=True, kw_only=True, tag="error"):
    """The stream's `error` event, nested as on OpenAI's own wire; `response.failed` follows it. SSE only."""

    error: ErrorDetail


class ErrorFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """The socket's error frame: ends a request of which nothing was created yet.

    `status` must be an integer or Codex CLI waits five minutes; a 429 needs `headers["retry-after"]`.
    """

    status: int
    error: ErrorDetail
    stream_id: str | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET


ServerEvent = (
    ResponseCreated
    | ResponseQueued
    | ResponseInProgress
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextDone
    | RefusalDeltaEvent
    | RefusalDone
    | FunctionCallArgumentsDelta
    | FunctionCallArgumentsDone
    | CustomToolCallInputDelta
    | CustomToolCallInputDone
    | ReasoningSummaryPartAdded
    | ReasoningSummaryPartDone
    | ReasoningSummaryTextDelta
    | ReasoningSummaryTextDone
    | ReasoningTextDelta
    | ReasoningTextDone
    | ReasoningDeltaEvent
    | ReasoningDoneEvent
    | Keepalive
    | SteerFailed
    | ErrorEvent
    | ErrorFrame
)
TerminalEvent = ResponseCompleted | ResponseIncomplete | ResponseFailed

_ENCODER = msgspec.json.Encoder()


def encode_event(event: ServerEvent) -> bytes:
    """One line of JSON, UTF-8."""
    return _ENCODER.encode(event)


def event_type(event: ServerEvent) -> str:
    """The event's wire name, its `type`."""
    tag = event.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def event_sequence(event: ServerEvent) -> tuple[int, str | UnsetType]:
    """The number and lane of an event that belongs to a response."""
    assert not isinstance(event, ErrorFrame)
    return event.sequence_number, event.stream_id


def error_frame(error: ApiError, *, stream_id: str | UnsetType = UNSET) -> ErrorFrame:
    """The frame for an error; `headers` stand at the top (Codex reads them there) and in `error` (the SDK's type)."""
    headers: dict[str, str] | UnsetType = error.headers or UNSET
    return ErrorFrame(
        status=error.status,
        error=ErrorDetail(error.type, error.code, error.message, error.param, headers),
        stream_id=stream_id,
        headers=headers,
    )


def error_event(error: ApiError, *, sequence_number: int) -> ErrorEvent:
    """The nested `error` event of an SSE stream."""
    detail = ErrorDetail(error.type, error.code, error.message, error.param, error.headers or UNSET)
    return ErrorEvent(sequence_number=sequence_number, error=detail)
