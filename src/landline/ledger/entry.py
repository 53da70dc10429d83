"""One turn in the ledger: everything that is known about its cost when it is over. `server.account` makes it."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from landline.ledger.prices import NO_COST, NO_PRICES, Prices, TokenCost, is_standard_tier
from landline.ledger.report import Milestones, Outcome, Service, TurnReport
from landline.session.create_bytes import TurnBytes
from landline.session.turn import Transport
from landline.wire.items import Item
from landline.wire.requests import CreateRequest
from landline.wire.responses import Usage

FinishReason = Literal["stop", "tool_call", "length", "content_filter", "error"]
"""Why a model stopped, in the GenAI conventions' words; `error` if it was stopped, or broke off."""
_LIMITS: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
"""Of `incomplete_details.reason`. With other reasons Landline or the client stopped the model."""
Hop = Literal["clients", "upstreams"]
"""The hop on which uploads are counted: from clients to this server, or from this server to its targets."""
NAME_CHARS = 256
"""Limit of a model's name. Clients choose it, and thousands of entries are kept and exported."""


class ByteCounts(msgspec.Struct, frozen=True, gc=False):
    """Bytes of one turn; see `Count`, `TurnBytes` and `Traffic` for what each one counts."""

    wire_in: int = 0
    wire_out: int = 0
    payload_in: int = 0
    payload_out: int = 0
    stateless: int = 0
    upstream_out: int = 0
    upstream_in: int = 0
    uploaded: int = 0
    """What `stateless` is compared with: `wire_in`, or `upstream_out` where the hop to the upstreams is measured."""

    @property
    def saved(self) -> int:
        """How much more a client without a session would have sent."""
        return self.stateless - self.uploaded


class Split(msgspec.Struct, frozen=True, gc=False):
    """The bytes of a create by part; the sum is its payload."""

    tools: int = 0
    instructions: int = 0
    history: int = 0
    """Input that the server knew already."""
    new_items: int = 0
    other: int = 0
    """All other settings, and the JSON around them."""


class Tokens(msgspec.Struct, frozen=True, gc=False):
    """Tokens as the model's server counted them."""

    input: int = 0
    cached: int = 0
    """Of `input`: read from a cache."""
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    """Of `output`."""


class Times(msgspec.Struct, frozen=True, gc=False):
    """Seconds. None where the turn did not get that far."""

    queued: float | None = None
    """From the create to the first request to a target."""
    first_event: float | None = None
    """From the create to the model's first text, reasoning or call."""
    total: float = 0.0
    per_output_token: float | None = None
    """From the first event to the end, for each output token after the first."""
    saved: float | None = None
    """What the turn saved by uploading less; None if its connection was not measured."""


class RequestedSettings(msgspec.Struct, frozen=True, gc=False):
    """Settings of the create that telemetry reports. None where the client did not set them."""

    previous_response_id: str | None = None
    output_type: Literal["text", "json"] | None = None
    reasoning_effort: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None


_NOBODY = Service("", "", "", "none", 0)
_NOTHING_REQUESTED = RequestedSettings()


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One turn."""

    response_id: str
    tenant: str
    session_id: str
    transport: Transport
    lane: str
    """The `stream_id`; "" is the default lane."""
    model: str
    """What the client asked for."""
    target: str
    upstream_model: str
    reason: str
    affinity: str
    prefix_items: int = 0
    """Items of the lineage that were warm at the target; only counted where routing compares them."""
    tries: int
    resends: int
    upstream_requests: int
    compactions: int
    is_warm_up: bool
    is_streamed: bool = False
    """Whether the client was sent its events as they came."""
    asked: RequestedSettings = _NOTHING_REQUESTED
    created_at: float
    """Unix seconds."""
    started_at: float = 0.0
    """Likewise, when the create was read: earlier if it waited in its lane. What `times` are counted from."""
    outcome: Outcome
    error_code: str = ""
    error_status: int = 0
    """The HTTP status that goes with the code; 0 without an error."""
    finish_reason: FinishReason | None = None
    """None if no model was asked to write."""
    conversation_id: str = ""
    """The conversation that the turn belongs to, if the client named one."""
    trace_parent: str = ""
    trace_state: str = ""
    """The client's trace context as it came; see `Count`."""
    bytes: ByteCounts
    split: Split
    tokens: Tokens
    cost: TokenCost = NO_COST
    times: Times


class Count(msgspec.Struct, frozen=True, gc=False):
    """What a turn's connection and the clock counted."""

    wire_in_bytes: int
    """Of the request on the client's connection: after compression, with frame headers or HTTP's head."""
    wire_out_bytes: int
    """Of everything that was written for the turn, likewise."""
    payload_out_bytes: int
    """Its events or its response object as JSON, before compression."""
    began_at: float
    """When the create was read, in seconds of the clock of `Milestones`."""
    closed_at: float
    """When the last of its answer had left, likewise."""
    started_at: float
    """Unix seconds of `began_at`."""
    trace_parent: str = ""
    """The client's `traceparent` (W3C Trace Context) as it came, of the request or of the socket's upgrade."""
    trace_state: str = ""
    """Its `tracestate`, likewise."""
    saved_s: float | None = None
    """What the turn saved by uploading less; None if its connection was not measured."""


def make_entry(
    report: TurnReport, measured: TurnBytes, count: Count, hop: Hop = "clients", prices: Prices = NO_PRICES
) -> Entry:
    """The entry of a turn that is over."""
    turn, traffic = report.turn, report.traffic
    request, transport = turn.request, turn.arrival.transport
    service = report.service or _NOBODY
    tokens = _tokens(report.response.usage if report.response is not None else None)
    error = report.error
    return Entry(
        response_id=turn.response_id,
        tenant=turn.tenant,
        session_id=report.session_id,
        transport=transport,
        lane=turn.stream_id if isinstance(turn.stream_id, str) else "",
        model=(request.model or "")[:NAME_CHARS],
        target=service.target,
        upstream_model=service.model[:NAME_CHARS],
        reason=service.reason,
        affinity=service.affinity,
        prefix_items=service.prefix_items,
        tries=report.tries,
        resends=traffic.resends,
        upstream_requests=traffic.requests,
        compactions=sum(item.type == "compaction" for item in report.output),
        is_warm_up=request.is_warm_up,
        is_streamed=transport == "socket" or request.stream is True,
        asked=_asked(request),
        created_at=turn.created_at,
        started_at=count.started_at,
        outcome=report.outcome,
        error_code=error.code if error is not None else "",
        error_status=error.status if error is not None else 0,
        finish_reason=_finish_reason(report),
        conversation_id=turn.conversation_id or "",
        trace_parent=count.trace_parent,
        trace_state=count.trace_state,
        bytes=ByteCounts(
            count.wire_in_bytes,
            count.wire_out_bytes,
            measured.create.payload,
            count.payload_out_bytes,
            measured.stateless,
            traffic.sent_bytes,
            traffic.received_bytes,
            count.wire_in_bytes if hop == "clients" else traffic.sent_bytes,
        ),
        split=_split(measured),
        tokens=tokens,
        cost=_cost(request, service, tokens, prices),
        times=_times(report.milestones, count, tokens),
    )


def _asked(request: CreateRequest) -> RequestedSettings:
    form = request.text.format if request.text is not None else None
    asked = RequestedSettings(
        request.previous_response_id[:NAME_CHARS] if request.previous_response_id else None,
        None if form is None else "text" if form.type == "text" else "json",
        request.reasoning.effort if request.reasoning is not None else None,
        request.max_output_tokens,
        request.temperature,
        request.top_p,
    )
    return asked if asked != _NOTHING_REQUESTED else _NOTHING_REQUESTED


def _finish_reason(report: TurnReport) -> FinishReason | None:
    if not report.milestones.asked_at or report.turn.request.is_warm_up:
        return None
    if report.outcome == "completed":
        return "tool_call" if _owes_output(report.output) else "stop"
    details = report.response.incomplete_details if report.response is not None else None
    return _LIMITS.get(details.reason, "error") if details is not None else "error"


def _owes_output(output: Sequence[Item]) -> bool:
    """Whether the model stopped for its client to carry out a call. What a vendor carries out itself has no `call_id`, or
    its output beside it."""
    called = {item.call_id for item in output if item.type.endswith("_call") and item.call_id is not None}
    return bool(called) and not called <= {item.call_id for item in output if item.type.endswith("_output")}


def _split(measured: TurnBytes) -> Split:
    create, known = measured.create, measured.known_input
    other = create.payload - create.tools - create.instructions - create.input
    return Split(create.tools, create.instructions, known, create.input - known, max(other, 0))


def _tokens(usage: Usage | None) -> Tokens:
    if usage is None:
        return Tokens()
    read, written = usage.input_tokens_details, usage.output_tokens_details
    return Tokens(
        usage.input_tokens,
        read.cached_tokens,
        read.cache_write_tokens,
        usage.output_tokens,
        written.reasoning_tokens,
    )


def _cost(request: CreateRequest, service: Service, tokens: Tokens, prices: Prices) -> TokenCost:
    rates = prices.find(request.model or "", service.target, service.model)
    if rates is None or not is_standard_tier(request.service_tier):
        return NO_COST
    return rates.for_prompt(tokens.input).cost_of(tokens.input, tokens.cached, tokens.cache_write, tokens.output)


def _times(milestones: Milestones, count: Count, tokens: Tokens) -> Times:
    began_at, first_event_at = count.began_at, milestones.first_event_at
    ended_at = milestones.ended_at or count.closed_at
    queued_s = milestones.asked_at - began_at if milestones.asked_at else None
    if not first_event_at:
        return Times(queued_s, None, ended_at - began_at, None, count.saved_s)
    per_token_s = (ended_at - first_event_at) / (tokens.output - 1) if tokens.output > 1 else None
    return Times(queued_s, first_event_at - began_at, ended_at - began_at, per_token_s, count.saved_s)
