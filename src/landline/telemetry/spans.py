"""One span a turn, and one below it for the question to its target; both made when the turn is over."""

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from landline.ledger.entry import Entry
from landline.metrics.counts import ModelLabels, key_label
from landline.telemetry.conventions import OPERATION, Attributes, error_type, provider_attributes, provider_of
from landline.telemetry.former import former_attributes
from landline.telemetry.settings import Provider

FIRST_EVENT = "landline.first_event"
OPENAI = "openai"
_NS = 1_000_000_000
_SETTINGS = {
    "gen_ai.request.previous_response.id": "previous_response_id",
    "gen_ai.output.type": "output_type",
    "gen_ai.request.reasoning.level": "reasoning_effort",
    "gen_ai.request.max_tokens": "max_output_tokens",
    "gen_ai.request.temperature": "temperature",
    "gen_ai.request.top_p": "top_p",
}
"""Attribute → field of `Asked`."""
_PROPAGATOR = TraceContextTextMapPropagator()


class SpanTeller:
    """Makes the spans of turns."""

    def __init__(
        self, tracer: Tracer, providers: Mapping[str, Provider], labels: ModelLabels, *, former_names: bool
    ) -> None:
        self._tracer = tracer
        self._providers = providers
        self._labels = labels
        self._former_names = former_names

    def tell(self, entry: Entry) -> None:
        """The turn is over. Its spans continue the client's trace if it named one."""
        provider = provider_of(entry.target, self._providers)
        began_ns = int(entry.started_at * _NS)
        ended_ns = began_ns + int(entry.times.total * _NS)
        span = self._tracer.start_span(
            _name(self._labels.label(entry) if entry.model else ""),
            context=_client_context(entry),
            kind=SpanKind.SERVER,
            attributes=turn_attributes(entry, provider),
            start_time=began_ns,
        )
        if span.is_recording():
            if self._former_names:
                span.set_attributes(former_attributes(entry))
            _note_error(span, entry)
            if entry.times.first_event is not None:
                span.add_event(FIRST_EVENT, timestamp=began_ns + int(entry.times.first_event * _NS))
            if entry.times.queued is not None and entry.target:
                self._tell_question(entry, provider, span, began_ns + int(entry.times.queued * _NS), ended_ns)
        span.end(ended_ns)

    def _tell_question(self, entry: Entry, provider: Provider, turn: Span, asked_ns: int, ended_ns: int) -> None:
        """The part of the turn that its target took; before it the turn was queued. The tokens are told of the turn only, so
        that who adds up all spans has them once."""
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
            _name(self._labels.upstream_label(entry)),
            context=set_span_in_context(turn),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=asked_ns,
        )
        _note_error(span, entry)
        span.end(ended_ns)


def _name(model: str) -> str:
    return f"{OPERATION} {model}" if model else OPERATION


def turn_attributes(entry: Entry, provider: Provider) -> Attributes:
    """All that is told of a turn: names, counts and sizes, never what was said."""
    attributes = provider_attributes(provider)
    attributes |= {
        "gen_ai.request.model": entry.model,
        "gen_ai.usage.input_tokens": entry.tokens.input,
        "gen_ai.usage.output_tokens": entry.tokens.output,
        "gen_ai.usage.cache_read.input_tokens": entry.tokens.cached,
        "gen_ai.usage.cache_write.input_tokens": entry.tokens.cache_write,
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
    """What the conventions have no name for."""
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
        "landline.is_attached": entry.is_attached,
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
