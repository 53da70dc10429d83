"""Spans of turns: names and attributes by the GenAI conventions, times to the microsecond, the client's trace continued."""

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode

from landline.ledger import Entry, Times
from landline.ledger.entry import RequestedSettings
from landline.metrics.counts import MODELS_KEPT, ModelLabels, TurnMetrics
from landline.telemetry.conventions import Provider, TelemetrySources
from landline.telemetry.spans import TurnSpans
from support.ledger.entries import ENTRY, changed

PROVIDERS = {"one": Provider("openai", "models.example", 8443)}
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
BEGAN_NS = 1_790_000_000 * 10**9


def spans_of(*entries: Entry, sampler: Sampler | None = None) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    labels = ModelLabels(["demo"])
    spans = TurnSpans(tracers.get_tracer("test"), TelemetrySources(PROVIDERS, labels, TurnMetrics(labels)))
    for entry in entries:
        spans.record(entry)
    return sorted(exporter.get_finished_spans(), key=lambda span: span.kind.value)


def attributes_of(entry: Entry) -> dict[str, object]:
    return dict(spans_of(entry)[0].attributes or {})


def test_turn_is_a_servers_span_with_the_conventions_attributes() -> None:
    turn, _ = spans_of(ENTRY)
    assert (turn.name, turn.kind) == ("chat demo", SpanKind.SERVER)
    assert turn.status.status_code is StatusCode.UNSET
    told = dict(turn.attributes or {})
    assert {name: value for name, value in told.items() if not name.startswith("landline.")} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "demo",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "demo-upstream",
        "gen_ai.response.id": "resp_1",
        "gen_ai.response.finish_reasons": ("tool_call",),
        "gen_ai.response.time_to_first_chunk": 0.4,
        "gen_ai.usage.input_tokens": 12_000,
        "gen_ai.usage.output_tokens": 41,
        "gen_ai.usage.cache_read.input_tokens": 11_500,
        "gen_ai.usage.cache_creation.input_tokens": 100,
        "gen_ai.usage.reasoning.output_tokens": 11,
        "openai.api.type": "responses",
        "server.address": "models.example",
        "server.port": 8443,
    }


def test_turn_tells_its_bytes_and_its_routing() -> None:
    told = attributes_of(ENTRY)
    assert told["landline.wire.in_bytes"] == 300
    assert told["landline.wire.out_bytes"] == 900
    assert told["landline.payload.in_bytes"] == 1_000
    assert told["landline.stateless_bytes"] == 50_000
    assert told["landline.upstream.in_bytes"] == 800
    assert told["landline.create.tools_bytes"] == 500
    assert told["landline.create.new_items_bytes"] == 250
    assert told["landline.target"] == "one"
    assert told["landline.routing.reason"] == "warm"
    assert told["landline.routing.affinity"] == "soft"
    assert told["landline.tries"] == 2
    assert told["landline.upstream.resends"] == 1
    assert told["landline.outcome"] == "completed"
    assert told["landline.session.id"] == "sess_1"
    assert told["landline.lane"] == "main"


def test_times_are_the_turns() -> None:
    turn, question = spans_of(ENTRY)
    assert turn.start_time == BEGAN_NS
    assert turn.end_time == question.end_time == BEGAN_NS + 1_200_000_000
    assert question.start_time == BEGAN_NS + 2_000_000
    assert [(event.name, event.timestamp) for event in turn.events] == [
        ("landline.first_event", BEGAN_NS + 400_000_000)
    ]


def test_turn_that_was_answered_whole_is_not_called_streamed() -> None:
    assert "gen_ai.request.stream" not in attributes_of(changed(is_streamed=False))


def test_question_to_the_target_is_a_clients_span_below_the_turn() -> None:
    turn, question = spans_of(ENTRY)
    assert (question.name, question.kind) == ("chat demo-upstream", SpanKind.CLIENT)
    assert question.parent is not None
    assert turn.context is not None
    assert question.parent.span_id == turn.context.span_id
    assert dict(question.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "demo-upstream",
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ("tool_call",),
        "gen_ai.response.time_to_first_chunk": 0.398,
        "server.address": "models.example",
        "server.port": 8443,
        "landline.target": "one",
        "landline.upstream.out_bytes": 700,
        "landline.upstream.in_bytes": 800,
    }


def test_clients_trace_is_continued() -> None:
    entry = changed(trace_parent=f"00-{TRACE_ID}-{SPAN_ID}-01", trace_state="vendor=it")
    for span in spans_of(entry):
        assert span.context is not None
        assert f"{span.context.trace_id:032x}" == TRACE_ID
        assert span.context.trace_state.get("vendor") == "it"
    turn = spans_of(entry)[0]
    assert turn.parent is not None
    assert f"{turn.parent.span_id:016x}" == SPAN_ID


def test_trace_context_that_is_not_one_begins_a_trace() -> None:
    for wrong in ("", "00", f"00-{'0' * 32}-{SPAN_ID}-01", f"ff-{TRACE_ID}-{SPAN_ID}-01", "\x00", "é" * 500):
        turn = spans_of(changed(trace_parent=wrong, trace_state="x" * 5_000))[0]
        assert turn.parent is None


def test_client_says_whether_its_trace_is_sampled() -> None:
    unsampled = changed(trace_parent=f"00-{TRACE_ID}-{SPAN_ID}-00")
    assert spans_of(unsampled, sampler=ParentBased(TraceIdRatioBased(1.0))) == []
    sampled = changed(trace_parent=f"00-{TRACE_ID}-{SPAN_ID}-01")
    assert len(spans_of(sampled, sampler=ParentBased(TraceIdRatioBased(0.0)))) == 2


def test_failed_turn_is_an_error_of_its_code() -> None:
    for entry, code in (
        (changed(outcome="failed", error_code="model_error"), "model_error"),
        (changed(outcome="refused", error_code="rate_limit_exceeded"), "rate_limit_exceeded"),
        (changed(outcome="failed"), "_OTHER"),
    ):
        for span in spans_of(entry):
            assert span.status.status_code is StatusCode.ERROR
            assert (span.attributes or {})["error.type"] == code


def test_turn_that_its_client_ended_is_no_error() -> None:
    for outcome in ("aborted", "cancelled", "incomplete"):
        turn = spans_of(changed(outcome=outcome))[0]
        assert turn.status.status_code is StatusCode.UNSET
        assert "error.type" not in (turn.attributes or {})


def test_turn_that_no_target_took_has_one_span() -> None:
    entry = changed(target="", upstream_model="", outcome="refused", times=Times(total=0.001))
    (turn,) = spans_of(entry)
    told = turn.attributes or {}
    assert "server.address" not in told
    assert "gen_ai.response.id" not in told
    assert "gen_ai.response.model" not in told
    assert told["gen_ai.provider.name"] == "landline"


def test_made_up_model_is_no_name_of_a_span() -> None:
    entry = changed(model="made-up", target="", outcome="refused")
    (turn,) = spans_of(entry)
    assert turn.name == "chat other"
    assert (turn.attributes or {})["gen_ai.request.model"] == "made-up"


def test_one_vendors_spans_have_no_attributes_of_another() -> None:
    told = attributes_of(changed(target="elsewhere"))
    assert told["gen_ai.provider.name"] != "openai"
    assert not [name for name in told if name.startswith("openai.")]


def test_made_up_model_is_no_name_of_a_question_either() -> None:
    many = [changed(model=f"made-up-{number}", upstream_model=f"made-up-{number}") for number in range(MODELS_KEPT + 1)]
    assert {span.name for span in spans_of(*many)} == {
        *(f"chat made-up-{number}" for number in range(MODELS_KEPT)),
        "chat other",
    }


def test_what_the_client_set_is_told_and_what_it_left_open_is_not() -> None:
    asked = RequestedSettings("resp_0", "json", "low", 4_000, 0.0, 0.9)
    assert {
        "landline.request.previous_response_id": "resp_0",
        "gen_ai.output.type": "json",
        "landline.request.reasoning_effort": "low",
        "gen_ai.request.max_tokens": 4_000,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_p": 0.9,
    }.items() <= attributes_of(changed(asked=asked)).items()
    told = attributes_of(changed(asked=RequestedSettings(temperature=1.0)))
    assert {name for name in told if name.startswith("gen_ai.request.")} == {
        "gen_ai.request.model",
        "gen_ai.request.stream",
        "gen_ai.request.temperature",
    }
    assert "gen_ai.output.type" not in told


def test_turn_without_a_model_tells_no_reason_why_it_stopped() -> None:
    for span in spans_of(changed(finish_reason=None)):
        assert "gen_ai.response.finish_reasons" not in (span.attributes or {})


def test_conversation_is_named_where_the_client_named_one() -> None:
    assert "gen_ai.conversation.id" not in attributes_of(ENTRY)
    assert attributes_of(changed(conversation_id="conv_1"))["gen_ai.conversation.id"] == "conv_1"


def test_key_itself_is_never_told() -> None:
    assert "secret" not in str(attributes_of(changed(tenant="secret")))
