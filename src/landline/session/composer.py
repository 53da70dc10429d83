"""Makes the response: model events in, numbered server events and the final response out.

Event order is the published one: created, in_progress, then per item added, parts, deltas, done; one terminal event whose
`output` equals the done items. A warm-up is created and completed, nothing between.
"""

from collections.abc import Callable, Sequence
from typing import Literal, assert_never

import msgspec

from landline.session.lineage import extend
from landline.session.output_items import OpenCall, OpenItem, OpenMessage, OpenReasoning, Stamp
from landline.session.turn import Turn, TurnEnded
from landline.wire import events as wire
from landline.wire.errors import ApiError, api_error
from landline.wire.events import ServerEvent
from landline.wire.items import Item
from landline.wire.model_events import (
    Accepted,
    Failed,
    Finished,
    ModelEvent,
    ReasoningDelta,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    UsageReported,
)
from landline.wire.responses import (
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    Response,
    ResponseError,
    Usage,
    new_response,
    with_output,
)

EventNames = Literal["openai", "open_responses"]
"""Which name raw reasoning events carry: `response.reasoning_text.*` or `response.reasoning.*`."""


class Composer:
    """One response in the making. Call `open`, then `feed` until `is_over`, then `close` once."""

    def __init__(
        self, turn: Turn, *, model: str, new_id: Callable[[str], str], event_names: EventNames = "openai"
    ) -> None:
        self.is_announced = False
        self.is_over = False
        self._turn = turn
        self._new_id = new_id
        self._response: Response = new_response(
            turn.request, id=turn.response_id, created_at=int(turn.created_at), model=model
        )
        self._stamp = Stamp(turn.stream_id, event_names)
        self._output: list[Item] = []
        self._next_index = 0
        self._open: OpenMessage | OpenReasoning | None = None
        self._calls: dict[int, OpenCall] = {}
        self._usage: Usage | None = None
        self._incomplete_reason: str | None = None
        self._error: ApiError | None = None

    @property
    def response(self) -> Response:
        """The response as it was announced: no output yet."""
        return self._response

    def open(self) -> list[ServerEvent]:
        """The events that announce the response."""
        self.is_announced = True
        events: list[ServerEvent] = [wire.ResponseCreated(response=self._response, **self._stamp.next())]
        if not self._turn.request.is_warm_up:
            events.append(wire.ResponseInProgress(response=self._response, **self._stamp.next()))
        return events

    def keepalive(self) -> ServerEvent:
        """A text event for a long silence."""
        return wire.Keepalive(**self._stamp.next())

    def feed(self, batch: Sequence[ModelEvent]) -> list[ServerEvent]:
        """The events that a batch gives; stops reading at the batch's `Finished` or `Failed`."""
        events: list[ServerEvent] = []
        for event in batch:
            match event:
                case TextDelta(text, logprobs):
                    self._message(events).add_text(events, text, logprobs)
                case ToolCallDelta(index, text):
                    self._calls[index].add(events, text)
                case ReasoningDelta(text):
                    self._reasoning(events).add_text(events, text)
                case ReasoningSummaryDelta(text):
                    self._reasoning(events).add_summary(events, text)
                case RefusalDelta(text):
                    self._message(events).add_refusal(events, text)
                case ToolCallStarted():
                    self._start_call(events, event)
                case ToolCallEnded(index):
                    if index in self._calls:
                        self._finish(events, self._calls.pop(index), "completed")
                case UsageReported():
                    self._usage = _usage(event)
                case Finished(incomplete_reason):
                    self._incomplete_reason = incomplete_reason
                    self.is_over = True
                    break
                case Failed(error):
                    self._error = error
                    self.is_over = True
                    break
                case Accepted():
                    pass
                case _:
                    assert_never(event)
        return events

    def stop(self, reason: str) -> None:
        """Ends the turn early: it becomes incomplete for this reason."""
        self._incomplete_reason = reason
        self.is_over = True

    def fail(self, error: ApiError) -> None:
        """Ends the turn as failed."""
        self._error = error
        self.is_over = True

    def close(self, now: float) -> TurnEnded:
        """The last events of the turn, the terminal one included; `now` in Unix seconds."""
        if not self.is_over:
            self.fail(api_error("server_error", "The turn ended without a closing event."))
        is_whole = self._error is None and self._incomplete_reason is None
        events: list[ServerEvent] = []
        self._finish_all(events, "completed" if is_whole else "incomplete")
        response = with_output(self._response, self._output, usage=self._usage)
        if self._error is not None:
            error = ResponseError(self._error.code, _message_with_wait(self._error))
            response = msgspec.structs.replace(response, status="failed", error=error)
            events.append(wire.ResponseFailed(response=response, **self._stamp.next()))
        elif self._incomplete_reason is not None:
            details = IncompleteDetails(self._incomplete_reason)
            response = msgspec.structs.replace(response, status="incomplete", incomplete_details=details)
            events.append(wire.ResponseIncomplete(response=response, **self._stamp.next()))
        else:
            response = msgspec.structs.replace(response, status="completed", completed_at=int(now))
            events.append(wire.ResponseCompleted(response=response, **self._stamp.next()))
        output = tuple(self._output)
        return TurnEnded(events, response, extend(self._turn.history, output), output, self._error)

    def _message(self, events: list[ServerEvent]) -> OpenMessage:
        if not isinstance(self._open, OpenMessage):
            self._finish_all(events, "completed")
            self._open = OpenMessage(self._stamp, self._new_id("msg"), self._take_index())
            self._open.announce(events)
        return self._open

    def _reasoning(self, events: list[ServerEvent]) -> OpenReasoning:
        if not isinstance(self._open, OpenReasoning):
            self._finish_all(events, "completed")
            self._open = OpenReasoning(self._stamp, self._new_id("rs"), self._take_index())
            self._open.announce(events)
        return self._open

    def _start_call(self, events: list[ServerEvent], started: ToolCallStarted) -> None:
        if self._open is not None:
            self._finish(events, self._open, "completed")
            self._open = None
        prefix = "fc" if started.kind == "function" else "ctc"
        call = OpenCall(self._stamp, self._new_id(prefix), self._take_index(), started)
        self._calls[started.index] = call
        call.announce(events)

    def _take_index(self) -> int:
        self._next_index += 1
        self._output.append(_PLACEHOLDER)
        return self._next_index - 1

    def _finish_all(self, events: list[ServerEvent], status: Literal["completed", "incomplete"]) -> None:
        """Closes what is open, in output order; parallel calls may all be open at once."""
        if self._open is not None:
            self._finish(events, self._open, status)
            self._open = None
        for call in self._calls.values():
            self._finish(events, call, status)
        self._calls.clear()

    def _finish(self, events: list[ServerEvent], item: OpenItem, status: Literal["completed", "incomplete"]) -> None:
        self._output[item.output_index] = item.finish(events, status)


_PLACEHOLDER = Item(raw=b"null", type="")


def _usage(report: UsageReported) -> Usage:
    return Usage(
        input_tokens=report.input_tokens,
        input_tokens_details=InputTokensDetails(report.cached_tokens, report.cache_write_tokens),
        output_tokens=report.output_tokens,
        output_tokens_details=OutputTokensDetails(report.reasoning_tokens),
        total_tokens=report.input_tokens + report.output_tokens,
    )


def _message_with_wait(error: ApiError) -> str:
    """Codex CLI 0.169 reads the wait of a failed response out of its message ("try again in 1.5s")."""
    if error.retry_after_s is None or "try again in" in error.message:
        return error.message
    return f"{error.message} Please try again in {error.retry_after_s:g}s."
