"""Counting turns: histograms that count like Prometheus' own, labels that nobody can make up; and the loop's lag."""

import asyncio
import time

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st

from landline.ledger import Entry
from landline.metrics.counts import (
    DURATION_BUCKETS_S,
    FIRST_EVENT_BUCKETS_S,
    LAG_BUCKETS_S,
    MODELS_KEPT,
    OUTPUT_TOKEN_BUCKETS_S,
    QUEUE_BUCKETS_S,
    Histogram,
    ModelLabels,
    TurnMetrics,
    key_label,
    loop_lag_watched,
)
from support.ledger.entries import SECONDS, changed, entries

ALL_BUCKETS = (QUEUE_BUCKETS_S, FIRST_EVENT_BUCKETS_S, OUTPUT_TOKEN_BUCKETS_S, DURATION_BUCKETS_S)


@given(
    bounds=st.sampled_from(ALL_BUCKETS),
    values=st.lists(SECONDS | st.sampled_from([end for bounds in ALL_BUCKETS for end in bounds])),
)
def test_histogram_counts_as_prometheus_clients_own(bounds: tuple[float, ...], values: list[float]) -> None:
    registry = prometheus_client.CollectorRegistry()
    theirs = prometheus_client.Histogram("it", "it", buckets=bounds, registry=registry)
    ours = Histogram(bounds)
    for value in values:
        ours.observe(value)
        theirs.observe(value)
    distribution = ours.read()
    for end, count in distribution.buckets:
        assert registry.get_sample_value("it_bucket", {"le": end}) == count
    assert registry.get_sample_value("it_sum") == distribution.sum
    assert len(distribution.buckets) == len(bounds) + 1


def test_buckets_ascend() -> None:
    for bounds in ALL_BUCKETS:
        assert list(bounds) == sorted(set(bounds))


@given(turns=st.lists(entries(st.text(max_size=2), st.sampled_from(["", "one"])), max_size=200))
def test_labels_are_few_and_never_change(turns: list[Entry]) -> None:
    labels = ModelLabels(["demo"])
    seen: dict[str, set[str]] = {}
    for turn in turns:
        label = labels.label(turn)
        assert label in (turn.model, "other")
        seen.setdefault(turn.model, set()).add(label)
    told_apart = {label for found in seen.values() for label in found}
    assert len(told_apart) <= MODELS_KEPT + 2
    for model, found in seen.items():
        if found == {model, "other"}:
            # It was told apart from the first turn that a target took, and before that was not.
            mine = [labels.label(turn) for turn in turns if turn.model == model]
            assert set(mine) == {model}


def test_made_up_names_beyond_the_limit_are_other() -> None:
    labels = ModelLabels(["demo"])
    told = [labels.label(changed(model=f"made-up-{number}")) for number in range(2_000)]
    assert told[:MODELS_KEPT] == [f"made-up-{number}" for number in range(MODELS_KEPT)]
    assert set(told[MODELS_KEPT:]) == {"other"}
    assert labels.label(changed(model="demo")) == "demo"


def test_names_that_no_target_took_use_up_no_label() -> None:
    labels = ModelLabels(["demo"])
    for number in range(2_000):
        assert labels.label(changed(model=f"made-up-{number}", target="", outcome="refused")) == "other"
    assert labels.label(changed(model="real")) == "real"
    assert labels.label(changed(model="demo", target="", outcome="refused")) == "demo"


@given(turns=st.lists(entries(st.text(max_size=1), st.sampled_from(["", "one", "two"]))))
def test_every_turn_is_in_one_row(turns: list[Entry]) -> None:
    metrics = TurnMetrics(ModelLabels(["demo"]))
    for turn in turns:
        metrics.add(turn)
    rows = metrics.rows.values()
    assert sum(row.sums.turns for row in rows) == len(turns)
    assert sum(sum(row.outcomes.values()) for row in rows) == len(turns)
    assert sum(row.sums.bytes.wire_in for row in rows) == sum(turn.bytes.wire_in for turn in turns)
    assert sum(row.duration.read().buckets[-1][1] for row in rows) == len(turns)
    first = [turn for turn in turns if turn.times.first_event is not None]
    assert sum(row.first_event.read().buckets[-1][1] for row in rows) == len(first)


def test_label_of_a_key_does_not_hold_the_key() -> None:
    assert key_label("") == "none"
    assert "secret" not in key_label("secret-key")
    assert key_label("secret-key") == key_label("secret-key") != key_label("another")


class Noticed(Histogram):
    """Says when something was observed."""

    def __init__(self) -> None:
        super().__init__(LAG_BUCKETS_S)
        self.values: list[float] = []
        self.seen = asyncio.Event()

    def observe(self, value: float) -> None:
        super().observe(value)
        self.values.append(value)
        self.seen.set()


async def test_lag_is_how_long_something_held_the_loop_up() -> None:
    lags = Noticed()
    async with loop_lag_watched(lags, sleep_s=0.001):
        await lags.seen.wait()
        lags.seen.clear()
        lags.values.clear()
        time.sleep(0.05)  # noqa: ASYNC251  # the fault itself
        await lags.seen.wait()
    assert lags.values[0] >= 0.045
    assert lags.read().buckets[-1] == ("+Inf", 2)
