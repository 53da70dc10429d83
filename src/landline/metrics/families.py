"""The metric families at `/metrics` as a table: name, kind, labels, meaning, and where the samples come from.

docs/metrics.md is made from it. Names follow Prometheus' conventions: base units, `_total` for what only grows. Within one
family every turn is counted once, so sums over any labels mean something.
"""

import platform
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol, get_args

import msgspec

from landline import __version__
from landline.ledger.ledger import Ledger
from landline.ledger.sums import Sums
from landline.metrics.counts import Distribution, Histogram, TurnCounts, TurnMetrics, key_label
from landline.routing.health import State
from landline.routing.router import RoutedTurns, TargetHealth

Kind = Literal["counter", "gauge", "histogram"]
Sample = tuple[tuple[str, ...], float | Distribution]
"""The labels' values in the order of the family's labels, and the value."""


class Compression(Protocol):
    """The memory of all sockets' compression, as it is granted."""

    budget_bytes: int
    used_bytes: int
    reduced_total: int
    """Sockets since the start that got less than they offered."""


class MemoryUse(msgspec.Struct, frozen=True):
    """Memory of one purpose, and its limit in the whole process."""

    use: str
    size_bytes: int
    limit_bytes: int


class MetricSources(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Where the numbers are."""

    ledger: Ledger
    turns: TurnMetrics
    loop_lag: Histogram
    routed_turns: Callable[[], Sequence[RoutedTurns]]
    target_health: Callable[[], Sequence[TargetHealth]]
    memory: Callable[[], Sequence[MemoryUse]]
    """Cheap to read."""
    store_evictions: Callable[[], int]
    """Responses and conversations that a store in memory gave up since the start."""
    compression: Compression
    compressed_lines: Callable[[], Iterable[tuple[tuple[str, str], int]]]
    """Open sockets on which compression was offered, by peer and by what was granted."""


class MetricFamily(msgspec.Struct, frozen=True):
    """Time series of one name."""

    name: str
    """As it is exposed; of a histogram without `_bucket`, `_sum` and `_count`."""
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    read: Callable[[MetricSources], Iterable[Sample]]

    @property
    def unit(self) -> str:
        """The base unit, taken from the name."""
        stem = self.name.removesuffix("_total")
        return next((unit for unit in ("bytes", "seconds", "tokens", "dollars") if stem.endswith(f"_{unit}")), "")


def _by_row(read: Callable[[TurnCounts], Iterable[Sample]]) -> Callable[[MetricSources], Iterable[Sample]]:
    """Samples of each model at each target; the two names come before the sample's own labels."""

    def read_all(sources: MetricSources) -> Iterable[Sample]:
        for place, row in sources.turns.rows.items():
            for labels, value in read(row):
                yield (*place, *labels), value

    return read_all


def _one(read: Callable[[TurnCounts], float | Distribution]) -> Callable[[MetricSources], Iterable[Sample]]:
    return _by_row(lambda row: [((), read(row))])


def _both(read: Callable[[TurnCounts], tuple[int, int]]) -> Callable[[MetricSources], Iterable[Sample]]:
    """In and out."""
    return _by_row(lambda row: zip((("in",), ("out",)), read(row), strict=True))


def _parts(row: TurnCounts) -> Iterable[Sample]:
    split = row.sums.split
    return [((field,), getattr(split, field)) for field in split.__struct_fields__]


def _key_sums(read: Callable[[Sums], int]) -> Callable[[MetricSources], Iterable[Sample]]:
    return lambda sources: [((key_label(key),), read(sums)) for key, sums in sources.ledger.by("key").items()]


def _states(sources: MetricSources) -> Iterable[Sample]:
    for each in sources.target_health():
        for state in get_args(State):
            yield (each.target, state), float(each.state == state)


_PLACE = ("model", "target")

FAMILIES: tuple[MetricFamily, ...] = (
    MetricFamily(
        "landline_turns_total",
        "counter",
        (*_PLACE, "outcome", "transport"),
        "Turns that ended. `outcome` is the response's status, `refused` (no response was created) or `aborted` (the client "
        "disconnected first).",
        _by_row(lambda row: row.outcomes.items()),
    ),
    MetricFamily(
        "landline_wire_bytes_total",
        "counter",
        (*_PLACE, "direction"),
        "Bytes of turns on the clients' connections: after compression, with frame headers or HTTP heads, before TLS.",
        _both(lambda row: (row.sums.bytes.wire_in, row.sums.bytes.wire_out)),
    ),
    MetricFamily(
        "landline_payload_bytes_total",
        "counter",
        (*_PLACE, "direction"),
        "Bytes of turns as JSON, before compression and framing: creates in, events or response objects out.",
        _both(lambda row: (row.sums.bytes.payload_in, row.sums.bytes.payload_out)),
    ),
    MetricFamily(
        "landline_create_bytes_total",
        "counter",
        (*_PLACE, "part"),
        "The payload in by part: `tools`, `instructions`, `history` (input that the server knew already), `new_items` and "
        "`other`. The parts add up to the payload in.",
        _by_row(_parts),
    ),
    MetricFamily(
        "landline_stateless_bytes_total",
        "counter",
        _PLACE,
        "Bytes that would come in without Landline: the bodies that a client without a session would send for the "
        "same turns, each with the whole conversation.",
        _one(lambda row: row.sums.bytes.stateless),
    ),
    MetricFamily(
        "landline_saved_bytes",
        "gauge",
        _PLACE,
        "Stateless bytes minus the wire bytes in, since the start. A gauge, because it falls when a turn sends more than "
        "without Landline: one that resends its history over HTTP saves nothing and has a head.",
        _one(lambda row: row.sums.bytes.saved),
    ),
    MetricFamily(
        "landline_saved_seconds_total",
        "counter",
        _PLACE,
        "Seconds that turns saved by uploading less, as far as their connections were measured (see ledger.md).",
        _one(lambda row: row.sums.saved_s),
    ),
    MetricFamily(
        "landline_timed_turns_total",
        "counter",
        _PLACE,
        "Turns whose connection was measured: those that the saved seconds are of.",
        _one(lambda row: row.sums.timed_turns),
    ),
    MetricFamily(
        "landline_upstream_bytes_total",
        "counter",
        (*_PLACE, "direction"),
        "Bodies and frames received from targets (`in`) and sent to them (`out`). After a fail-over, all bytes of the turn "
        "are counted for the target that served it.",
        _both(lambda row: (row.sums.bytes.upstream_in, row.sums.bytes.upstream_out)),
    ),
    MetricFamily(
        "landline_input_tokens_total",
        "counter",
        _PLACE,
        "Tokens of prompts as the model's server counts them, cached ones included.",
        _one(lambda row: row.sums.tokens.input),
    ),
    MetricFamily(
        "landline_cached_input_tokens_total",
        "counter",
        _PLACE,
        "Of the input tokens: those read from a cache.",
        _one(lambda row: row.sums.tokens.cached),
    ),
    MetricFamily(
        "landline_cache_write_input_tokens_total",
        "counter",
        _PLACE,
        "Of the input tokens: those written to a cache, where the model's server reports it.",
        _one(lambda row: row.sums.tokens.cache_write),
    ),
    MetricFamily(
        "landline_output_tokens_total",
        "counter",
        _PLACE,
        "Tokens that models wrote, reasoning included.",
        _one(lambda row: row.sums.tokens.output),
    ),
    MetricFamily(
        "landline_reasoning_output_tokens_total",
        "counter",
        _PLACE,
        "Of the output tokens: reasoning.",
        _one(lambda row: row.sums.tokens.reasoning),
    ),
    MetricFamily(
        "landline_paid_dollars_total",
        "counter",
        _PLACE,
        "US dollars for the tokens of turns whose model has a price (see prices.md).",
        _one(lambda row: row.sums.cost.paid_usd),
    ),
    MetricFamily(
        "landline_cache_saved_dollars",
        "gauge",
        _PLACE,
        "US dollars that the same tokens would have cost more without a cache, since the start. A gauge, because it falls "
        "when a turn pays more for writing to the cache than it saves by reading.",
        _one(lambda row: row.sums.cost.cache_saved_usd),
    ),
    MetricFamily(
        "landline_priced_turns_total",
        "counter",
        _PLACE,
        "Turns whose model has a price: those that the dollars are of.",
        _one(lambda row: row.sums.cost.priced_turns),
    ),
    MetricFamily(
        "landline_warm_turns_total",
        "counter",
        _PLACE,
        "Turns with cached input tokens.",
        _one(lambda row: row.sums.warm_turns),
    ),
    MetricFamily(
        "landline_turn_queue_seconds",
        "histogram",
        _PLACE,
        "From the create to the first request to a target.",
        _one(lambda row: row.queue.read()),
    ),
    MetricFamily(
        "landline_turn_first_event_seconds",
        "histogram",
        _PLACE,
        "From the create to the model's first text, reasoning or call.",
        _one(lambda row: row.first_event.read()),
    ),
    MetricFamily(
        "landline_turn_output_token_seconds",
        "histogram",
        _PLACE,
        "For each output token after the first, from the first event to the end: one value a turn.",
        _one(lambda row: row.output_token.read()),
    ),
    MetricFamily(
        "landline_turn_duration_seconds",
        "histogram",
        _PLACE,
        "From the create to the end.",
        _one(lambda row: row.duration.read()),
    ),
    MetricFamily(
        "landline_tries_total",
        "counter",
        _PLACE,
        "Targets that were tried, including those that failed before another one served the turn.",
        _one(lambda row: row.tries),
    ),
    MetricFamily(
        "landline_upstream_requests_total",
        "counter",
        _PLACE,
        "Requests to targets: tries, passes of a compaction, full resends.",
        _one(lambda row: row.upstream_requests),
    ),
    MetricFamily(
        "landline_upstream_resends_total",
        "counter",
        _PLACE,
        "Full resends because an upstream socket had lost the conversation.",
        _one(lambda row: row.sums.resends),
    ),
    MetricFamily(
        "landline_routed_turns_total",
        "counter",
        ("target", "reason", "affinity"),
        "Turns that a target served, by the reason of its choice (see routing.md). `affinity` is `hard` if only this target "
        "has the state, `soft` if it was preferred for its state. The reason `fail_over` counts fail-overs.",
        lambda sources: [((each.target, each.reason, each.affinity), each.turns) for each in sources.routed_turns()],
    ),
    MetricFamily(
        "landline_target_state",
        "gauge",
        ("target", "state"),
        "1 for the state that the target's circuit breaker is in, 0 for the others.",
        _states,
    ),
    MetricFamily(
        "landline_target_wait_seconds",
        "gauge",
        ("target",),
        "Seconds until the target may be asked again: its circuit is open, or it sent a rate limit. 0 when it may be asked.",
        lambda sources: [((each.target,), each.wait_s) for each in sources.target_health()],
    ),
    MetricFamily(
        "landline_target_turns_in_flight",
        "gauge",
        ("target",),
        "Turns in flight at the target.",
        lambda sources: [((each.target,), each.in_flight) for each in sources.target_health()],
    ),
    MetricFamily(
        "landline_target_failures_total",
        "counter",
        ("target", "code"),
        "Tries that failed at the target, by error code, whether or not another target served the turn. `other` is any code "
        "of a vendor's own.",
        lambda sources: [
            ((each.target, code), tries) for each in sources.target_health() for code, tries in each.failures.items()
        ],
    ),
    MetricFamily(
        "landline_open_lines",
        "gauge",
        (),
        "Open client sockets.",
        lambda sources: [((), sources.ledger.open_lines)],
    ),
    MetricFamily(
        "landline_running_turns",
        "gauge",
        (),
        "Turns in flight.",
        lambda sources: [((), sources.ledger.running_turns)],
    ),
    MetricFamily(
        "landline_overhead_bytes_total",
        "counter",
        ("direction",),
        "Bytes on clients' connections outside of turns: upgrades, pings, other requests. Those of a socket are added when "
        "it is closed. Together with the wire bytes of turns they are all bytes on the wire.",
        lambda sources: [
            (("in",), sources.ledger.overhead_in_bytes),
            (("out",), sources.ledger.overhead_out_bytes),
        ],
    ),
    MetricFamily(
        "landline_key_turns_total",
        "counter",
        ("key",),
        "Turns by key: the first digits of its hash, `none` without a key.",
        _key_sums(lambda sums: sums.turns),
    ),
    MetricFamily(
        "landline_key_wire_bytes_total",
        "counter",
        ("key", "direction"),
        "Wire bytes by key.",
        lambda sources: [
            ((key_label(key), direction), value)
            for key, sums in sources.ledger.by("key").items()
            for direction, value in (("in", sums.bytes.wire_in), ("out", sums.bytes.wire_out))
        ],
    ),
    MetricFamily(
        "landline_key_input_tokens_total",
        "counter",
        ("key",),
        "Input tokens by key.",
        _key_sums(lambda sums: sums.tokens.input),
    ),
    MetricFamily(
        "landline_key_output_tokens_total",
        "counter",
        ("key",),
        "Output tokens by key.",
        _key_sums(lambda sums: sums.tokens.output),
    ),
    MetricFamily(
        "landline_memory_bytes",
        "gauge",
        ("use",),
        "Memory by use: `sessions`, `prefixes` and a `store` in memory hold histories, `compression` the windows of sockets.",
        lambda sources: [
            (("sessions",), sum(session.history_bytes() for session in sources.ledger.sessions())),
            *(((each.use,), each.size_bytes) for each in sources.memory()),
            (("compression",), sources.compression.used_bytes),
        ],
    ),
    MetricFamily(
        "landline_memory_limit_bytes",
        "gauge",
        ("use",),
        "Limit of the memory in the whole process, by use. `sessions` are not among them: each has a limit of its own.",
        lambda sources: [
            *(((each.use,), each.limit_bytes) for each in sources.memory()),
            (("compression",), sources.compression.budget_bytes),
        ],
    ),
    MetricFamily(
        "landline_store_evictions_total",
        "counter",
        (),
        "Responses and conversations that a store in memory dropped before they expired, because its memory was full.",
        lambda sources: [((), sources.store_evictions())],
    ),
    MetricFamily(
        "landline_compressed_lines",
        "gauge",
        ("peer", "granted"),
        "Open sockets on which compression was offered, by peer (`client`, `upstream`) and by what was granted: the bits of "
        "the windows, `per_message` (no context between messages), or `none`.",
        lambda sources: list(sources.compressed_lines()),
    ),
    MetricFamily(
        "landline_reduced_compression_total",
        "counter",
        (),
        "Sockets that were granted less compression than they offered, because its memory was full.",
        lambda sources: [((), sources.compression.reduced_total)],
    ),
    MetricFamily(
        "landline_event_loop_lag_seconds",
        "histogram",
        (),
        "How late the server's event loop wakes from sleeps of half a second: the extra wait of every turn.",
        lambda sources: [((), sources.loop_lag.read())],
    ),
    MetricFamily(
        "landline_build_info",
        "gauge",
        ("version", "python"),
        "Always 1; the labels are the versions.",
        lambda _: [((__version__, platform.python_version()), 1)],
    ),
)
