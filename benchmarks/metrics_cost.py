"""What do metrics and telemetry cost? No server, no socket: what watches the ledger, alone, in one process.

A turn: an entry like an agent's is given to the watcher; beside it what prometheus-client's own histograms would take for
the same four times. Telemetry exports to a collector that is not there, so its queues are full, which is its worst case. A
scrape: reading the numbers, which turns on the event loop wait for, and making the text, which another thread does. Start:
importing the libraries in a process that has what the server needs anyway.

    python benchmarks/metrics_cost.py [--turns 20000]
"""

import argparse
import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as TheirHistogram

from landline.compression_budget import CompressionBudget
from landline.ledger import Ledger
from landline.metrics.counts import MODELS_KEPT, QUEUE_BUCKETS_S, Histogram, ModelLabels, TurnCounts, TurnMetrics
from landline.metrics.exposition import collect, encode
from landline.metrics.families import MemoryUse, MetricSources
from landline.routing.router import RoutedTurns, TargetHealth
from landline.telemetry.conventions import Provider, TelemetrySources
from landline.telemetry.exporter import open_telemetry
from landline.telemetry.settings import TelemetrySettings
from setting import describe_setting, write_result
from support.ledger.entries import ENTRY

ROUNDS = 9
NOBODY = "http://127.0.0.1:9"
PROVIDERS = {"one": Provider("openai", "models.example", 443)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=20_000)
    turns = parser.parse_args().turns
    logging.disable()
    write_result("metrics_cost", _report(turns))


def _report(turns: int) -> list[str]:
    return [
        "# What metrics and telemetry cost",
        "",
        *describe_setting("prometheus-client", "opentelemetry-sdk"),
        f"- {ROUNDS} rounds; {turns:,} turns a round, {turns // 20:,} with telemetry; the time of one, in µs",
        "",
        "| a turn | median | best |",
        "| --- | --- | --- |",
        _row("metrics: sums, outcomes and four histograms", _counting(), turns),
        _row("of that: the sums", _summing(), turns),
        _row("four values in prometheus-client's histograms", _theirs(), turns),
        _row("telemetry: spans", _telling(metrics=False), turns // 20),
        _row("telemetry: metrics", _telling(traces=False), turns // 20),
        "",
        "| a scrape | median | best |",
        "| --- | --- | --- |",
        *(line for models in (1, MODELS_KEPT + 1) for line in _scraping(models)),
        "",
        "| importing | after | median, ms |",
        "| --- | --- | --- |",
        _importing("prometheus_client", "uvicorn, aiohttp, structlog"),
        _importing("landline.telemetry.exporter", "landline.app"),
        "",
        "The first is paid for every turn, the others only where they are on. All of it is after the turn's last byte was",
        "handed to the transport: it delays no answer, but takes its share of the process.",
    ]


def _counting() -> Callable[[], object]:
    metrics = TurnMetrics(ModelLabels(["demo"]))
    return lambda: metrics.add(ENTRY)


def _summing() -> Callable[[], object]:
    sums = TurnCounts().sums
    return lambda: sums.add(ENTRY)


def _theirs() -> Callable[[], object]:
    registry = CollectorRegistry()
    names = ("queued", "first_event", "per_output_token", "total")
    made = [
        TheirHistogram(name, name, ["model", "target"], buckets=QUEUE_BUCKETS_S, registry=registry) for name in names
    ]
    times = [getattr(ENTRY.times, name) for name in names]

    def observe() -> None:
        for histogram, value in zip(made, times, strict=True):
            histogram.labels("demo", "one").observe(value)

    return observe


def _telling(*, traces: bool = True, metrics: bool = True) -> Callable[[], object]:
    labels = ModelLabels(["demo"])
    settings = TelemetrySettings(enabled=True, endpoint=NOBODY, traces=traces, metrics=metrics)
    telemetry = open_telemetry(settings, TelemetrySources(PROVIDERS, labels, TurnMetrics(labels)))
    return lambda: telemetry.add(ENTRY)


def _scraping(models: int) -> list[str]:
    ledger, metrics = Ledger(), TurnMetrics(ModelLabels([]))
    for number in range(models):
        entry = msgspec.structs.replace(ENTRY, model=f"model-{number}")
        ledger.add(entry, 0.0)
        metrics.add(entry)
    sources = MetricSources(
        ledger=ledger,
        turns=metrics,
        loop_lag=Histogram(QUEUE_BUCKETS_S),
        routed_turns=lambda: [RoutedTurns("one", "warm", "soft", 1)],
        target_health=lambda: [TargetHealth("one", "closed", 0, 0.0)],
        memory=lambda: [MemoryUse("prefixes", 0, 1)],
        store_evictions=lambda: 0,
        compression=CompressionBudget(),
        compressed_lines=list,
    )
    collected = collect(sources)
    size = len(encode(collected, "").body)
    what = f"{len(metrics.rows)} models at one target, {size / 1000:,.0f} kB"
    return [
        _row(f"{what}: reading", lambda: collect(sources), 20),
        _row(f"{what}: making the text", lambda: encode(collected, ""), 5),
    ]


def _importing(name: str, before: str) -> str:
    code = f"import {before}, time; a = time.perf_counter(); import {name}; print(time.perf_counter() - a)"
    times = [float(subprocess.check_output([sys.executable, "-c", code])) * 1000 for _ in range(5)]
    return f"| `{name}` | `{before}` | {statistics.median(times):.0f} |"


def _row(what: str, run: Callable[[], object], count: int) -> str:
    times: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(count):
            run()
        times.append((time.perf_counter() - began) / count * 1e6)
    return f"| {what} | {statistics.median(times):,.2f} | {min(times):,.2f} |"


if __name__ == "__main__":
    main()
