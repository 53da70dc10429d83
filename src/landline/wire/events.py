"""Server events: what a response says while it is made, the same JSON over SSE and the socket.

`sequence_number` counts from 0 per response; `stream_id` is there only on named lanes.
"""

from typing import Literal

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


class CompactionCompacting(_Event, frozen=True, kw_only=True, tag="response.compaction.compacting"):
    """The summary of a compaction item is being written. OpenAI's event; Open Responses has none for it."""

    item_id: str
    output_index: int


class Keepalive(_Event, frozen=True, kw_only=True, tag="keepalive"):
    """Sent in long silences: Codex CLI's idle timer counts text frames, not pings."""


class RelayedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of an upstream that speaks Responses itself: its own members, but for number, lane and the response's ids."""

    kind: str
    """Its `type`."""
    members: dict[str, Raw]
    sequence_number: int
    stream_id: str | UnsetType = UNSET


class AcceptedSteer(msgspec.Struct, frozen=True):
    """A steering submission that the server owns."""

    id: str
    previous_response_id: str
    """The response that it steers."""


class SteerAccepted(_Event, frozen=True, kw_only=True, tag="response.steer.accepted"):
    """The input is valid and queued; the successor's `response.created` is what commits it."""

    steer: AcceptedSteer


class RequiredInput(msgspec.Struct, frozen=True, kw_only=True):
    """The stub of an item that the client owes: what identifies it, without its result."""

    type: str
    call_id: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    execution: str | UnsetType = UNSET
    approval_request_id: str | UnsetType = UNSET


class SteerPending(_Event, frozen=True, kw_only=True, tag="response.steer.pending"):
    """The target completed and waits for its client; the steer waits with it."""

    steer: AcceptedSteer
    required_input: list[RequiredInput]
    reason: str = "waiting_for_required_input"


SteerErrorCode = Literal[
    "response_not_found",
    "invalid_input",
    "steering_not_supported",
    "too_many_pending_steers",
    "response_already_completed",
    "response_not_active",
    "successor_creation_failed",
]
"""`ResponseSteerErrorCode` of openai 3.54.0."""


class SteerFailure(msgspec.Struct, frozen=True):
    code: SteerErrorCode
    message: str
    type: str = "invalid_request_error"


class FailedSteer(msgspec.Struct, frozen=True):
    """A steering submission that is given back."""

    previous_response_id: str
    input: Raw
    """As it was sent."""
    id: str | UnsetType = UNSET
    """Only if it had been accepted."""


class SteerFailed(_Event, frozen=True, kw_only=True, tag="response.steer.failed"):
    """A steer that was not taken, or was accepted and could not be applied."""

    error: SteerFailure
    steer: FailedSteer


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


AuthoredEvent = (
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
    | CompactionCompacting
    | Keepalive
    | SteerAccepted
    | SteerPending
    | SteerFailed
    | ErrorEvent
    | ErrorFrame
)
"""What Landline writes itself."""
ServerEvent = AuthoredEvent | RelayedEvent
TerminalEvent = ResponseCompleted | ResponseIncomplete | ResponseFailed
SteerAnswer = SteerAccepted | SteerFailed

_ENCODER = msgspec.json.Encoder()


def encode_event(event: ServerEvent) -> bytes:
    """One line of JSON, UTF-8."""
    return _encode_relayed(event) if isinstance(event, RelayedEvent) else _ENCODER.encode(event)


def event_type(event: ServerEvent) -> str:
    """The event's wire name, its `type`."""
    if isinstance(event, RelayedEvent):
        return event.kind
    tag = event.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def _encode_relayed(event: RelayedEvent) -> bytes:
    members: dict[str, object] = dict(event.members)
    members["sequence_number"] = event.sequence_number
    if isinstance(event.stream_id, UnsetType):
        members.pop("stream_id", None)
    else:
        members["stream_id"] = event.stream_id
    return _ENCODER.encode(members)


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
