"""Makes the response: model events in, numbered server events and the final response out.

Event order is the published one: created, in_progress, then per item added, parts, deltas, done; one terminal event whose
`output` equals the done items. A warm-up is created and completed, nothing between.
"""

from collections.abc import Callable, Sequence
from typing import Literal, assert_never

import msgspec

from landline.session.lineage import extend
from landline.session.output_items import OpenCall, OpenCompaction, OpenItem, OpenMessage, OpenReasoning, Stamp
from landline.session.relay import Relay
from landline.session.turn import Turn, TurnEnded
from landline.wire import events as wire
from landline.wire.errors import ApiError, api_error
from landline.wire.event_names import ITEM_ADDED
from landline.wire.events import ServerEvent, SteerAnswer
from landline.wire.items import Item
from landline.wire.model_events import (
    Accepted,
    Compacted,
    CompactionStarted,
    Failed,
    Finished,
    ModelEvent,
    ReasoningDelta,
    ReasoningSigned,
    ReasoningSummaryDelta,
    RefusalDelta,
    Relayed,
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
    Sampling,
    Usage,
    new_response,
    with_output,
    with_sampling,
)

STEERED = "steered"
"""`incomplete_details.reason` of a response that made way for its successor."""
EventNames = Literal["openai", "open_responses"]
"""Which name raw reasoning events carry: `response.reasoning_text.*` or `response.reasoning.*`."""


class Composer:
    """One response in the making. Call `open`, then `feed` until `is_over`, then `close` once."""

    def __init__(
        self,
        turn: Turn,
        *,
        model: str,
        new_id: Callable[[str], str],
        event_names: EventNames = "openai",
        seal_reasoning: Callable[[bytes], str] | None = None,
    ) -> None:
        self.is_announced = False
        self.is_over = False
        self._turn = turn
        self._new_id = new_id
        self._seal_reasoning = seal_reasoning
        self._response: Response = new_response(
            turn.request,
            id=turn.response_id,
            created_at=int(turn.created_at),
            model=model,
            conversation_id=turn.conversation_id,
        )
        self._stamp = Stamp(turn.stream_id, event_names)
        self._relay = Relay(self._stamp)
        self._output: list[Item] = []
        self._open: OpenMessage | OpenReasoning | None = None
        self._calls: dict[int, OpenCall] = {}
        self._compaction: OpenCompaction | None = None
        self._usage: Usage | None = None
        """Of the newest pass over the model."""
        self._spent: Usage | None = None
        """Of the passes before it."""
        self._incomplete_reason: str | None = None
        self._is_cancelled = False
        self._is_steered = False
        self._has_called = False
        self._error: ApiError | None = None

    @property
    def response(self) -> Response:
        """The response as it was announced or begun: no output yet."""
        return self._response

    def assume(self, sampling: Sampling) -> None:
        """Takes over what the target uses where the request says nothing; called before the response is announced, and again
        when another target takes the place of the first."""
        self._response = with_sampling(self._response, self._turn.request, sampling)

    def open(self, batch: Sequence[ModelEvent] = ()) -> list[ServerEvent]:
        """The events that announce a response whose model is at work, before its first batch.

        None if the batch announces it: an upstream that speaks Responses does that itself.
        """
        self.is_announced = True
        if batch and isinstance(batch[0], Relayed):
            return []
        self._relay.is_announced = True
        return [wire.ResponseCreated(response=self._response, **self._stamp.next()), *self._in_progress()]

    def open_queued(self) -> list[ServerEvent]:
        """The events that announce a response that waits for its turn; `begin` follows."""
        self.is_announced = self._relay.is_announced = True
        self._response = msgspec.structs.replace(self._response, status="queued")
        return [
            wire.ResponseCreated(response=self._response, **self._stamp.next()),
            wire.ResponseQueued(response=self._response, **self._stamp.next()),
        ]

    def begin(self) -> list[ServerEvent]:
        """The events that say that a queued response is being worked on."""
        self._response = msgspec.structs.replace(self._response, status="in_progress")
        return self._in_progress()

    def _in_progress(self) -> list[ServerEvent]:
        if self._turn.request.is_warm_up:
            return []
        return [wire.ResponseInProgress(response=self._response, **self._stamp.next())]

    def keepalive(self) -> ServerEvent:
        """A text event for a long silence."""
        return wire.Keepalive(**self._stamp.next())

    def feed(self, batch: Sequence[ModelEvent]) -> list[ServerEvent]:  # noqa: C901, PLR0912, PLR0915 - a table of events
        """The events that a batch gives; stops reading at the batch's `Finished` or `Failed`."""
        events: list[ServerEvent] = []
        for event in batch:
            if self._is_steered and self._is_safe_before(event):
                self._finish_all(events, "completed")
                self.stop(STEERED)
                break
            match event:
                case TextDelta():
                    self._message(events).add_text(events, event.text, event.logprobs)
                case ToolCallDelta(index, text):
                    self._calls[index].add(events, text)
                case Relayed():
                    self._relay.feed(events, event, self._response, self._output)
                case ReasoningDelta(text):
                    self._reasoning(events).add_text(events, text)
                case ReasoningSummaryDelta(text):
                    self._reasoning(events).add_summary(events, text)
                case ReasoningSigned(by, block):
                    self._reasoning(events).add_signed(by, block)
                case RefusalDelta(text):
                    self._message(events).add_refusal(events, text)
                case ToolCallStarted():
                    self._start_call(events, event)
                case ToolCallEnded(index):
                    if index in self._calls:
                        self._finish(events, self._calls.pop(index), "completed")
                case UsageReported():
                    self._usage = _usage(event)
                case CompactionStarted():
                    self._finish_all(events, "completed")
                    self._compaction = OpenCompaction(self._stamp, self._new_id("cmp"))
                    self._compaction.announce(events, len(self._output))
                case Compacted():
                    self._finish_compaction(events, event)
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

    @property
    def made_way(self) -> bool:
        """Whether the turn was ended early for a steer, with its model still at work."""
        return self._incomplete_reason == STEERED

    def answer_steers(self, answers: Sequence[SteerAnswer]) -> list[ServerEvent]:
        """The answers with their numbers. An accepted steer ends the turn at its next safe boundary, which may be now."""
        if any(isinstance(answer, wire.SteerAccepted) for answer in answers):
            self._is_steered = True
            if not self.is_over and self._open is None and self._relay.is_between_items and self._can_make_way():
                self.stop(STEERED)
        return [msgspec.structs.replace(answer, **self._stamp.next()) for answer in answers]

    def stop(self, reason: str) -> None:
        """Ends the turn early: it becomes incomplete for this reason."""
        self._incomplete_reason = reason
        self.is_over = True

    def cancel(self) -> None:
        """Ends the turn early because its client asked for it: only background responses end as cancelled.

        No published event says so (openai 3.54.0 knows completed, failed and incomplete), so the stream of a cancelled
        response ends in `response.incomplete` whose response has the status `cancelled`.
        """
        self._is_cancelled = True
        self.stop("cancelled")

    def fail(self, error: ApiError) -> None:
        """Ends the turn as failed."""
        self._error = error
        self.is_over = True

    def close(self, now: float) -> TurnEnded:
        """The last events of the turn, the terminal one included; `now` in Unix seconds."""
        if not self.is_over:
            self.fail(api_error("server_error", "The turn ended without a closing event."))
        if self._relay.has_ended:
            return self._close_relayed()
        is_whole = self._error is None and self._incomplete_reason is None
        events: list[ServerEvent] = []
        self._finish_all(events, "completed" if is_whole else "incomplete")
        response = with_output(self._response, self._output, usage=_sum(self._spent, self._usage))
        if self._error is not None:
            error = ResponseError(self._error.code, _message_with_wait(self._error))
            response = msgspec.structs.replace(response, status="failed", error=error)
            events.append(wire.ResponseFailed(response=response, **self._stamp.next()))
        elif self._incomplete_reason is not None:
            details = IncompleteDetails(self._incomplete_reason)
            status = "cancelled" if self._is_cancelled else "incomplete"
            response = msgspec.structs.replace(response, status=status, incomplete_details=details)
            events.append(wire.ResponseIncomplete(response=response, **self._stamp.next()))
        else:
            response = msgspec.structs.replace(response, status="completed", completed_at=int(now))
            events.append(wire.ResponseCompleted(response=response, **self._stamp.next()))
        return self._ended(events, response)

    def _close_relayed(self) -> TurnEnded:
        """The end as the upstream told it."""
        events: list[ServerEvent] = []
        usage = _sum(self._spent, self._usage)
        response, body = self._relay.close(
            events, self._response, self._output, usage, has_spent=self._spent is not None
        )
        return self._ended(events, response, body)

    def _ended(self, events: list[ServerEvent], response: Response, relayed: bytes | None = None) -> TurnEnded:
        output = tuple(self._output)
        history = extend(self._turn.history, output)
        if history is not None and output and self._usage is not None:
            history.context_tokens = self._usage.total_tokens or None
        return TurnEnded(events, response, history, output, self._error, relayed=relayed)

    def _is_safe_before(self, event: ModelEvent) -> bool:
        """Whether the turn may end before this event because it begins an item."""
        match event:
            case Relayed(kind):
                return kind == ITEM_ADDED and self._relay.is_between_items and self._can_make_way()
            case TextDelta() | RefusalDelta():
                return not isinstance(self._open, OpenMessage) and self._can_make_way()
            case ReasoningDelta() | ReasoningSummaryDelta():
                return not isinstance(self._open, OpenReasoning) and self._can_make_way()
            case _:
                return isinstance(event, ToolCallStarted) and self._can_make_way()

    def _can_make_way(self) -> bool:
        """Not after a call, whose output is owed and would be left behind, and not while the history is compacted."""
        has_called = self._has_called or self._relay.has_called
        return not has_called and self._compaction is None and not self._turn.is_compaction

    def _message(self, events: list[ServerEvent]) -> OpenMessage:
        if not isinstance(self._open, OpenMessage):
            self._finish_all(events, "completed")
            self._open = OpenMessage(self._stamp, self._new_id("msg"), self._take_index())
            self._open.announce(events)
        return self._open

    def _reasoning(self, events: list[ServerEvent]) -> OpenReasoning:
        if not isinstance(self._open, OpenReasoning):
            self._finish_all(events, "completed")
            seal = self._seal_reasoning if self._turn.request.wants_encrypted_reasoning else None
            self._open = OpenReasoning(self._stamp, self._new_id("rs"), self._take_index(), seal)
            self._open.announce(events)
        return self._open

    def _start_call(self, events: list[ServerEvent], started: ToolCallStarted) -> None:
        if self._open is not None:
            self._finish(events, self._open, "completed")
            self._open = None
        self._has_called = True
        prefix = "fc" if started.kind == "function" else "ctc"
        call = OpenCall(self._stamp, self._new_id(prefix), self._take_index(), started)
        self._calls[started.index] = call
        call.announce(events)

    def _finish_compaction(self, events: list[ServerEvent], compacted: Compacted) -> None:
        assert self._compaction is not None
        output_index = self._take_index()
        self._output[output_index] = self._compaction.finish(events, output_index, compacted)
        self._compaction = None
        self._spent, self._usage = _sum(self._spent, self._usage), None

    def _take_index(self) -> int:
        self._output.append(_PLACEHOLDER)
        return len(self._output) - 1

    def _finish_all(self, events: list[ServerEvent], status: Literal["completed", "incomplete"]) -> None:
        """Closes what is open, in output order; parallel calls may all be open at once."""
        if self._open is not None:
            self._finish(events, self._open, status)
            self._open = None
        self._relay.finish_open(events, self._output)
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


def _sum(left: Usage | None, right: Usage | None) -> Usage | None:
    if left is None or right is None:
        return left or right
    read, other_read = left.input_tokens_details, right.input_tokens_details
    thought = left.output_tokens_details.reasoning_tokens + right.output_tokens_details.reasoning_tokens
    return Usage(
        input_tokens=left.input_tokens + right.input_tokens,
        input_tokens_details=InputTokensDetails(
            read.cached_tokens + other_read.cached_tokens, read.cache_write_tokens + other_read.cache_write_tokens
        ),
        output_tokens=left.output_tokens + right.output_tokens,
        output_tokens_details=OutputTokensDetails(thought),
        total_tokens=left.total_tokens + right.total_tokens,
    )


def _message_with_wait(error: ApiError) -> str:
    """Codex CLI 0.169 reads the wait of a failed response out of its message ("try again in 1.5s")."""
    if error.retry_after_s is None or "try again in" in error.message:
        return error.message
    return f"{error.message} Please try again in {error.retry_after_s:g}s."
