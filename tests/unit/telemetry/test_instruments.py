"""The GenAI conventions' metrics of turns, as the SDK reads them back."""

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, Metric, NumberDataPoint

from landline.ledger import Entry, Times, Tokens
from landline.metrics.counts import ModelLabels, TurnMetrics
from landline.telemetry.conventions import Provider, TelemetrySources
from landline.telemetry.instruments import (
    DURATION_BUCKETS_S,
    FIRST_TOKEN_BUCKETS_S,
    OUTPUT_TOKEN_BUCKETS_S,
    TOKEN_BUCKETS,
    TurnHistograms,
)
from support.ledger.entries import ENTRY, changed

PROVIDERS = {"one": Provider("openai", "models.example", 8443)}
DURATIONS = {"gen_ai.server.request.duration", "gen_ai.client.operation.duration"}
TOKENS = "gen_ai.client.token.usage"
HISTOGRAMS = DURATIONS | {
    TOKENS,
    "gen_ai.server.time_to_first_token",
    "gen_ai.server.time_per_output_token",
    "gen_ai.client.operation.time_to_first_chunk",
}
USAGE = "landline.usage."


def metrics_of(*entries: Entry) -> dict[str, Metric]:
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    labels = ModelLabels(["demo"])
    turns = TurnMetrics(labels)
    histograms = TurnHistograms(meters.get_meter("test"), TelemetrySources(PROVIDERS, labels, turns))
    for entry in entries:
        turns.add(entry)
        histograms.record(entry)
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def points(metric: Metric) -> list[HistogramDataPoint]:
    return [point for point in metric.data.data_points if isinstance(point, HistogramDataPoint)]


def counts(metric: Metric) -> dict[object, float]:
    found = [point for point in metric.data.data_points if isinstance(point, NumberDataPoint)]
    return {(point.attributes or {})["landline.direction"]: point.value for point in found}


def test_turn_is_told_in_all_histograms_with_their_units() -> None:
    metrics = metrics_of(ENTRY)
    assert set(metrics) >= HISTOGRAMS
    for name in HISTOGRAMS:
        assert metrics[name].unit == ("{token}" if name == TOKENS else "s")
    sums = {name: [point.sum for point in points(metrics[name])] for name in HISTOGRAMS}
    assert sums == {
        "gen_ai.server.request.duration": [1.2],
        "gen_ai.client.operation.duration": [1.198],
        "gen_ai.server.time_to_first_token": [0.4],
        "gen_ai.client.operation.time_to_first_chunk": [0.398],
        "gen_ai.server.time_per_output_token": [0.02],
        TOKENS: [12_000, 41],
    }


def test_buckets_are_the_ones_that_the_conventions_advise() -> None:
    metrics = metrics_of(ENTRY)
    bounds = {name: tuple(points(metrics[name])[0].explicit_bounds) for name in HISTOGRAMS}
    assert bounds[TOKENS] == TOKEN_BUCKETS
    assert TOKEN_BUCKETS[:4] == (1, 4, 16, 64)
    assert TOKEN_BUCKETS[-1] == 67_108_864
    assert bounds["gen_ai.server.request.duration"] == DURATION_BUCKETS_S
    assert bounds["gen_ai.client.operation.time_to_first_chunk"] == DURATION_BUCKETS_S
    assert (DURATION_BUCKETS_S[0], DURATION_BUCKETS_S[-1]) == (0.01, 81.92)
    assert bounds["gen_ai.server.time_to_first_token"] == FIRST_TOKEN_BUCKETS_S
    assert bounds["gen_ai.server.time_per_output_token"] == OUTPUT_TOKEN_BUCKETS_S


def test_histograms_carry_the_conventions_attributes() -> None:
    metrics = metrics_of(ENTRY)
    wanted = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "demo",
        "gen_ai.response.model": "demo-upstream",
        "server.address": "models.example",
        "server.port": 8443,
    }
    for name in HISTOGRAMS - {TOKENS}:
        assert dict(points(metrics[name])[0].attributes or {}) == wanted, name
    told = [dict(point.attributes or {}) for point in points(metrics[TOKENS])]
    assert told == [{**wanted, "gen_ai.token.type": kind} for kind in ("input", "output")]


def test_tokens_are_counted_by_what_they_are() -> None:
    failed = changed(outcome="failed", tokens=Tokens(input=1_000, cached=0, cache_write=0, output=1, reasoning=0))
    metrics = metrics_of(ENTRY, ENTRY, failed, changed(target="", outcome="refused"))
    assert {name.removeprefix(USAGE) for name in metrics if name.startswith(USAGE)} == {
        "input_tokens",
        "cache_read.input_tokens",
        "cache_write.input_tokens",
        "output_tokens",
        "reasoning.output_tokens",
    }
    counted = {name: metric.data.data_points for name, metric in metrics.items() if name.startswith(USAGE)}
    (read,) = [point for point in counted[f"{USAGE}input_tokens"] if isinstance(point, NumberDataPoint)]
    assert read.value == 25_000
    assert dict(read.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "demo",
        "landline.target": "one",
        "server.address": "models.example",
        "server.port": 8443,
    }
    values = {
        name.removeprefix(USAGE): [point.value for point in points if isinstance(point, NumberDataPoint)]
        for name, points in counted.items()
    }
    assert values == {
        "input_tokens": [25_000],
        "cache_read.input_tokens": [23_000],
        "cache_write.input_tokens": [200],
        "output_tokens": [83],
        "reasoning.output_tokens": [22],
    }


def test_answer_without_tokens_is_one_of_none_and_a_warm_up_is_no_answer() -> None:
    metrics = metrics_of(changed(tokens=Tokens()), changed(tokens=Tokens(), finish_reason=None))
    assert [(point.count, point.sum) for point in points(metrics[TOKENS])] == [(1, 0), (1, 0)]


def test_turn_that_failed_tells_its_durations_only() -> None:
    metrics = metrics_of(changed(outcome="failed", error_code="model_error"))
    assert set(metrics) & HISTOGRAMS == DURATIONS
    for name in DURATIONS:
        assert (points(metrics[name])[0].attributes or {})["error.type"] == "model_error"


def test_turn_that_no_target_took_has_no_question() -> None:
    metrics = metrics_of(changed(target="", upstream_model="", outcome="refused", times=Times(total=0.001)))
    assert set(metrics) & HISTOGRAMS == {"gen_ai.server.request.duration"}


def test_bytes_are_the_sums_of_all_turns() -> None:
    metrics = metrics_of(ENTRY, ENTRY)
    assert counts(metrics["landline.wire.io"]) == {"in": 600, "out": 1_800}
    assert counts(metrics["landline.payload.io"]) == {"in": 2_000, "out": 8_000}
    assert counts(metrics["landline.stateless.io"]) == {"in": 100_000}
    assert counts(metrics["landline.upstream.io"]) == {"in": 1_600, "out": 1_400}
    assert {metrics[name].unit for name in metrics if name.endswith(".io")} == {"By"}


def test_models_that_clients_make_up_are_one_series() -> None:
    turns = [changed(model=f"made-up-{number}", upstream_model=f"made-up-{number}") for number in range(500)]
    metrics = metrics_of(*turns)
    told = points(metrics["gen_ai.server.request.duration"])
    assert len(told) == 33
    assert sum(point.count for point in told) == 500
    others = [point for point in told if (point.attributes or {})["gen_ai.request.model"] == "other"]
    assert [(point.attributes or {})["gen_ai.response.model"] for point in others] == ["other"]
