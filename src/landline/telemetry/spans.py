"""One server span a turn, and a client span below it for the request to its target; both are made when the turn is over."""

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from landline.ledger.entry import Entry
from landline.metrics.counts import key_label
from landline.telemetry.conventions import (
    OPERATION,
    Attributes,
    Provider,
    TelemetrySources,
    error_type,
    provider_attributes,
)

FIRST_EVENT = "landline.first_event"
OPENAI = "openai"
_NS = 1_000_000_000
_SETTINGS = {
    "landline.request.previous_response_id": "previous_response_id",
    "landline.request.reasoning_effort": "reasoning_effort",
    "gen_ai.output.type": "output_type",
    "gen_ai.request.max_tokens": "max_output_tokens",
    "gen_ai.request.temperature": "temperature",
    "gen_ai.request.top_p": "top_p",
}
"""Attribute → field of `Asked`."""
_PROPAGATOR = TraceContextTextMapPropagator()


class TurnSpans:
    """Makes the spans of turns."""

    def __init__(self, tracer: Tracer, sources: TelemetrySources) -> None:
        self._tracer = tracer
        self._sources = sources

    def record(self, entry: Entry) -> None:
        """The turn is over. Its spans continue the client's trace if the client sent one."""
        provider = self._sources.provider_of(entry.target)
        began_ns = int(entry.started_at * _NS)
        ended_ns = began_ns + int(entry.times.total * _NS)
        span = self._tracer.start_span(
            _name(self._sources.labels.label(entry) if entry.model else ""),
            context=_client_context(entry),
            kind=SpanKind.SERVER,
            attributes=turn_attributes(entry, provider),
            start_time=began_ns,
        )
        if span.is_recording():
            _note_error(span, entry)
            if entry.times.first_event is not None:
                span.add_event(FIRST_EVENT, timestamp=began_ns + int(entry.times.first_event * _NS))
            if entry.times.queued is not None and entry.target:
                self._record_request(entry, provider, span, began_ns + int(entry.times.queued * _NS), ended_ns)
        span.end(ended_ns)

    def _record_request(self, entry: Entry, provider: Provider, turn: Span, requested_ns: int, ended_ns: int) -> None:
        """The span of the request to the target; before it the turn was queued. Tokens are on the turn's span only, so that
        a sum over all spans counts them once."""
        attributes = provider_attributes(provider) | {
            "gen_ai.request.stream": True,
            "landline.target": entry.target,
            "landline.upstream.out_bytes": entry.bytes.upstream_out,
            "landline.upstream.in_bytes": entry.bytes.upstream_in,
        }
        attributes |= _finish(entry)
        if entry.times.first_event is not None and entry.times.queued is not None:
            attributes["gen_ai.response.time_to_first_chunk"] = entry.times.first_event - entry.times.queued
        if entry.upstream_model:
            attributes["gen_ai.request.model"] = entry.upstream_model
        span = self._tracer.start_span(
            _name(self._sources.labels.upstream_label(entry)),
            context=set_span_in_context(turn),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=requested_ns,
        )
        _note_error(span, entry)
        span.end(ended_ns)


def _name(model: str) -> str:
    return f"{OPERATION} {model}" if model else OPERATION


def turn_attributes(entry: Entry, provider: Provider) -> Attributes:
    """Attributes of a turn's span: names, counts and sizes, never content."""
    attributes = provider_attributes(provider)
    attributes |= {
        "gen_ai.request.model": entry.model,
        "gen_ai.usage.input_tokens": entry.tokens.input,
        "gen_ai.usage.output_tokens": entry.tokens.output,
        "gen_ai.usage.cache_read.input_tokens": entry.tokens.cached,
        "gen_ai.usage.cache_creation.input_tokens": entry.tokens.cache_write,
        "gen_ai.usage.reasoning.output_tokens": entry.tokens.reasoning,
    }
    if entry.is_streamed:
        attributes["gen_ai.request.stream"] = True
    for name, field in _SETTINGS.items():
        value = getattr(entry.asked, field)
        if value is not None:
            attributes[name] = value
    if provider.name == OPENAI:
        # The conventions want no attributes of one vendor on the spans of another.
        attributes["openai.api.type"] = "responses"
    attributes |= _finish(entry)
    if entry.outcome != "refused":
        attributes["gen_ai.response.id"] = entry.response_id
    if entry.upstream_model:
        attributes["gen_ai.response.model"] = entry.upstream_model
    if entry.conversation_id:
        attributes["gen_ai.conversation.id"] = entry.conversation_id
    if entry.times.first_event is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = entry.times.first_event
    return attributes | _own_attributes(entry)


def _finish(entry: Entry) -> Attributes:
    return {} if entry.finish_reason is None else {"gen_ai.response.finish_reasons": (entry.finish_reason,)}


def _own_attributes(entry: Entry) -> Attributes:
    """Those that the conventions have no name for."""
    attributes: Attributes = {
        "landline.transport": entry.transport,
        "landline.session.id": entry.session_id,
        "landline.lane": entry.lane,
        "landline.key": key_label(entry.tenant),
        "landline.outcome": entry.outcome,
        "landline.target": entry.target,
        "landline.routing.reason": entry.reason,
        "landline.routing.affinity": entry.affinity,
        "landline.tries": entry.tries,
        "landline.upstream.requests": entry.upstream_requests,
        "landline.upstream.resends": entry.resends,
        "landline.compactions": entry.compactions,
        "landline.is_warm_up": entry.is_warm_up,
        "landline.stateless_bytes": entry.bytes.stateless,
    }
    for field in ("wire", "payload", "upstream"):
        for direction in ("in", "out"):
            attributes[f"landline.{field}.{direction}_bytes"] = getattr(entry.bytes, f"{field}_{direction}")
    for field in entry.split.__struct_fields__:
        attributes[f"landline.create.{field}_bytes"] = getattr(entry.split, field)
    return attributes


def _note_error(span: Span, entry: Entry) -> None:
    error = error_type(entry)
    if error is not None:
        span.set_attribute("error.type", error)
        span.set_status(Status(StatusCode.ERROR))


def _client_context(entry: Entry) -> Context:
    """The client's span, if it sent a valid `traceparent`; else nothing, and the turn begins a trace."""
    if not entry.trace_parent:
        return Context()
    return _PROPAGATOR.extract({"traceparent": entry.trace_parent, "tracestate": entry.trace_state}, Context())
