"""Makes metrics.md: what `/metrics` says, from the table in `landline.metrics.families`."""

from api_page import cell

from landline.metrics.counts import (
    DURATION_BUCKETS_S,
    FIRST_EVENT_BUCKETS_S,
    MODELS_KEPT,
    OUTPUT_TOKEN_BUCKETS_S,
    QUEUE_BUCKETS_S,
)
from landline.metrics.families import FAMILIES, MetricFamily


def metrics_page() -> str:
    """The page: an introduction, the table of families, and how to ask them."""
    head = ["| name | kind | unit | labels | meaning |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([INTRODUCTION, *head, *map(_row, FAMILIES), REST])


def _row(family: MetricFamily) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels) or "-"
    return f"| `{family.name}` | {family.kind} | {family.unit or '-'} | {labels} | {cell(family.meaning)} |"


def _ends(buckets: tuple[float, ...]) -> str:
    return ", ".join(f"{end:g}" for end in buckets)


INTRODUCTION = """# Metrics

`GET /metrics` returns all metrics as text for [Prometheus](https://prometheus.io), or as OpenMetrics if `Accept` asks for that. It
needs no setup; `[metrics] enabled = false` removes the path.

```yaml
scrape_configs:
  - job_name: landline
    static_configs:
      - targets: ["127.0.0.1:8080"]
```

A turn is counted once, when it ends, whether it came over a socket, over HTTP, or ran in the background. Counts begin at the start
of the process and are kept in memory only. The numbers are those of the monitor page and of `landline top`;
[telemetry.md](telemetry.md) describes how to push them to a collector instead.

## Metric families
"""

REST = f"""
In addition, there are `process_*` and `python_info` of the Python client for Prometheus: CPU seconds, memory and open files.

## Labels

The number of values of each label is bounded. `model` is a name of the configuration; where a row `"*"` matches any name, the first
{MODELS_KEPT} that a target served have values of their own, and all others, including names that no target served, are `other`.
`target` is the name in the configuration, empty for turns that no target served. `key` is the beginning of a hash.

`direction` is from the server's point of view, towards clients and targets alike: `in` is what it read, `out` what it wrote.

## Buckets

Upper bounds of the histograms' buckets, in seconds:

- `landline_turn_queue_seconds`: {_ends(QUEUE_BUCKETS_S)}
- `landline_turn_first_event_seconds`: {_ends(FIRST_EVENT_BUCKETS_S)}
- `landline_turn_output_token_seconds`: {_ends(OUTPUT_TOKEN_BUCKETS_S)}
- `landline_turn_duration_seconds`: {_ends(DURATION_BUCKETS_S)}

## Example queries

What share of the upload is saved?

```promql
1 - sum(rate(landline_wire_bytes_total{{direction="in"}}[5m])) / sum(rate(landline_stateless_bytes_total[5m]))
```

How much of the prompts was warm, by target?

```promql
sum by (target) (rate(landline_cached_input_tokens_total[5m])) / sum by (target) (rate(landline_input_tokens_total[5m]))
```

How long do clients wait for the first event, at the 95th percentile?

```promql
histogram_quantile(0.95, sum by (le, model) (rate(landline_turn_first_event_seconds_bucket[5m])))
```

Which turns fail, and is the circuit of a target open?

```promql
sum by (model, outcome) (rate(landline_turns_total{{outcome=~"failed|refused"}}[5m]))
landline_target_state{{state="open"}} == 1
```
"""
