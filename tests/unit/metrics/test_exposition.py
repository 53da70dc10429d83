"""What a scrape is answered with: text that Prometheus' parsers read, and numbers that agree with the ledger."""

from collections.abc import Iterable

import pytest
from prometheus_client import parser
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser

from landline.ledger import Entry, Ledger
from landline.metrics.counts import Histogram, ModelLabels, TurnMetrics
from landline.metrics.exposition import collect, encode
from landline.metrics.families import FAMILIES, MemoryUse, MetricSources
from landline.routing.router import RoutedTurns, TargetHealth
from support.ledger.entries import ENTRY, changed

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.7,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
"""As Prometheus asks."""
TURNS = (
    ENTRY,
    changed(target="two", transport="http", outcome="failed", error_code="model_error"),
    changed(model="nobody's", target="", outcome="refused", session_id=""),
)


class FullBudget:
    """The memory of compression, used up."""

    budget_bytes = 1_000
    used_bytes = 900
    reduced_total = 5


def sources(*turns: Entry) -> MetricSources:
    ledger = Ledger()
    metrics = TurnMetrics(ModelLabels(["demo"]))
    ledger.watch(metrics.add)
    for turn in turns:
        ledger.add(turn, turn.created_at)
    lag = Histogram((0.1, 1.0))
    lag.observe(0.05)
    return MetricSources(
        ledger=ledger,
        turns=metrics,
        loop_lag=lag,
        routed_turns=lambda: [RoutedTurns("one", "warm", "soft", 1), RoutedTurns("two", "fail_over", "none", 1)],
        target_health=lambda: [
            TargetHealth("one", "closed", 3, 0.0, {"upstream_error": 4}),
            TargetHealth("two", "open", 0, 7.5),
        ],
        memory=lambda: [MemoryUse("prefixes", 4_096, 8_192)],
        store_evictions=lambda: 7,
        compression=FullBudget(),
        compressed_lines=lambda: [(("client", "15_bits"), 4), (("upstream", "none"), 1)],
    )


def scrape(*turns: Entry) -> dict[str, Metric]:
    text = encode(collect(sources(*turns)), "").body.decode()
    return {metric.name: metric for metric in parser.text_string_to_metric_families(text)}


def value(metrics: dict[str, Metric], name: str, **labels: str) -> float:
    """The sum of the samples that have these labels."""
    found = [
        sample.value
        for metric in metrics.values()
        for sample in metric.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert found, (name, labels)
    return sum(found)


def test_every_family_is_there_with_its_kind_labels_and_meaning() -> None:
    metrics = scrape(*TURNS)
    for family in FAMILIES:
        metric = metrics[family.name.removesuffix("_total")]
        assert metric.type == family.kind
        assert metric.documentation == family.meaning
        assert metric.samples, family.name
        for sample in metric.samples:
            assert set(sample.labels) - {"le"} == set(family.labels), family.name


def test_names_follow_the_conventions() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    for family in FAMILIES:
        assert family.name.startswith("landline_")
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert family.kind != "histogram" or family.unit == "seconds"


def test_numbers_are_those_of_the_turns() -> None:
    metrics = scrape(*TURNS)
    assert value(metrics, "landline_turns_total", outcome="completed", transport="socket", target="one") == 1
    assert value(metrics, "landline_turns_total", outcome="failed", transport="http", target="two") == 1
    assert value(metrics, "landline_turns_total", outcome="refused", model="other", target="") == 1
    assert value(metrics, "landline_turns_total") == 3
    assert value(metrics, "landline_wire_bytes_total", direction="in") == 3 * 300
    assert value(metrics, "landline_wire_bytes_total", direction="out") == 3 * 900
    assert value(metrics, "landline_stateless_bytes_total") == 3 * 50_000
    assert value(metrics, "landline_saved_bytes") == 3 * (50_000 - 300)
    assert value(metrics, "landline_upstream_bytes_total", target="two", direction="in") == 800
    assert value(metrics, "landline_cached_input_tokens_total", target="one") == 11_500
    assert value(metrics, "landline_reasoning_output_tokens_total", target="one") == 11
    assert value(metrics, "landline_saved_seconds_total") == pytest.approx(3 * 0.061)
    assert value(metrics, "landline_timed_turns_total") == 3
    assert value(metrics, "landline_paid_dollars_total") == pytest.approx(3 * 0.0047205)
    assert value(metrics, "landline_cache_saved_dollars", target="one") == pytest.approx(-0.0000399095)
    assert value(metrics, "landline_priced_turns_total") == 3
    assert value(metrics, "landline_turn_first_event_seconds_count", target="one") == 1
    assert value(metrics, "landline_turn_first_event_seconds_bucket", target="one", le="0.5") == 1
    assert value(metrics, "landline_turn_first_event_seconds_bucket", target="one", le="0.25") == 0
    assert value(metrics, "landline_turn_duration_seconds_sum") == pytest.approx(3.6)
    assert value(metrics, "landline_routed_turns_total", reason="fail_over") == 1
    assert value(metrics, "landline_target_state", target="two", state="open") == 1
    assert value(metrics, "landline_target_state", target="two", state="closed") == 0
    assert value(metrics, "landline_target_wait_seconds", target="two") == 7.5
    assert value(metrics, "landline_target_turns_in_flight", target="one") == 3
    assert value(metrics, "landline_memory_bytes", use="prefixes") == 4_096
    assert value(metrics, "landline_memory_bytes", use="compression") == 900
    assert value(metrics, "landline_store_evictions_total") == 7
    assert value(metrics, "landline_memory_limit_bytes", use="compression") == 1_000
    assert value(metrics, "landline_memory_limit_bytes", use="prefixes") == 8_192
    assert value(metrics, "landline_compressed_lines", peer="client", granted="15_bits") == 4
    assert value(metrics, "landline_reduced_compression_total") == 5
    assert value(metrics, "landline_key_turns_total", key="none") == 3


def test_parts_of_creates_add_up_to_the_payload() -> None:
    metrics = scrape(*TURNS)
    parts = value(metrics, "landline_create_bytes_total")
    assert parts == value(metrics, "landline_payload_bytes_total", direction="in")


def test_process_and_build_are_told() -> None:
    metrics = scrape()
    assert value(metrics, "process_start_time_seconds") > 0
    assert value(metrics, "landline_build_info") == 1


def test_openmetrics_is_for_who_asks() -> None:
    exposition = encode(collect(sources(*TURNS)), OPENMETRICS)
    assert exposition.content_type.startswith("application/openmetrics-text; version=1.0.0")
    families: Iterable[Metric] = openmetrics_parser.text_string_to_metric_families(exposition.body.decode())
    assert {"landline_turns", "landline_turn_duration_seconds"} <= {family.name for family in families}


@pytest.mark.parametrize("accept", ["", "*/*", "text/html", "application/json"])
def test_everyone_else_gets_the_text_format(accept: str) -> None:
    assert encode(collect(sources()), accept).content_type == "text/plain; version=0.0.4; charset=utf-8"


def test_what_is_collected_does_not_change_while_it_is_encoded() -> None:
    numbers = sources(ENTRY)
    collected = collect(numbers)
    before = encode(collected, "").body
    numbers.turns.add(ENTRY)
    after = encode(collected, "").body
    own = [line for line in before.splitlines() if line.startswith(b"landline_")]
    assert own == [line for line in after.splitlines() if line.startswith(b"landline_")]


def test_names_that_clients_made_up_cannot_break_the_text() -> None:
    evil = 'quote" backslash\\ newline\n'
    metrics = scrape(changed(model=evil))
    assert value(metrics, "landline_turns_total", model=evil) == 1
