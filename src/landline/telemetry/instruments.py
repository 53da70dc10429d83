"""Metrics of turns: histograms by the GenAI conventions, and counters of bytes and tokens, read from the sums when they are sent."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

from landline.ledger.entry import ByteCounts, Entry, Tokens
from landline.metrics.counts import TurnMetrics
from landline.telemetry.conventions import Attributes, TelemetrySources, error_type, provider_attributes

TOKEN_BUCKETS = tuple(4.0**power for power in range(14))
DURATION_BUCKETS_S = tuple(0.01 * 2**power for power in range(14))
OUTPUT_TOKEN_BUCKETS_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
FIRST_TOKEN_BUCKETS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08),
    *(0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
"""All four as the conventions advise (November 2026)."""

_TOKENS: tuple[tuple[str, str, Callable[[Tokens], int]], ...] = (
    ("input_tokens", "Tokens of prompts, cached ones included.", lambda tokens: tokens.input),
    ("cache_read.input_tokens", "Of the input: reused from a cache.", lambda tokens: tokens.cached),
    ("cache_write.input_tokens", "Of the input: written to a cache.", lambda tokens: tokens.cache_write),
    ("output_tokens", "Tokens that models wrote, reasoning included.", lambda tokens: tokens.output),
    ("reasoning.output_tokens", "Of the output: reasoning.", lambda tokens: tokens.reasoning),
)
"""Counters below `landline.usage.`: the released conventions have a histogram of tokens only, which leaves out failed turns."""

_SIZES: tuple[tuple[str, str, Callable[[ByteCounts], Mapping[str, int]]], ...] = (
    (
        "landline.wire.io",
        "Bytes on clients' connections, after compression.",
        lambda sizes: {"in": sizes.wire_in, "out": sizes.wire_out},
    ),
    (
        "landline.payload.io",
        "Bytes of creates, and of events or response objects, before compression.",
        lambda sizes: {"in": sizes.payload_in, "out": sizes.payload_out},
    ),
    (
        "landline.stateless.io",
        "Bytes that clients without sessions would have sent.",
        lambda sizes: {"in": sizes.stateless},
    ),
    (
        "landline.upstream.io",
        "Bytes exchanged with targets.",
        lambda sizes: {"in": sizes.upstream_in, "out": sizes.upstream_out},
    ),
)


class TurnHistograms:
    """Records turns in the instruments of one meter. Labels are bounded: see `ModelLabels`."""

    def __init__(self, meter: Meter, sources: TelemetrySources) -> None:
        self._sources = sources
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens of a turn, by `gen_ai.token.type`.",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )
        self._operation = _seconds(
            meter,
            "gen_ai.client.operation.duration",
            "From the first request to a target to the end.",
            DURATION_BUCKETS_S,
        )
        self._first_chunk = _seconds(
            meter,
            "gen_ai.client.operation.time_to_first_chunk",
            "From the first request to a target to its first event.",
            DURATION_BUCKETS_S,
        )
        self._duration = _seconds(
            meter, "gen_ai.server.request.duration", "From the create to the end.", DURATION_BUCKETS_S
        )
        self._first_token = _seconds(
            meter,
            "gen_ai.server.time_to_first_token",
            "From the create to the model's first text, reasoning or call.",
            FIRST_TOKEN_BUCKETS_S,
        )
        self._output_token = _seconds(
            meter,
            "gen_ai.server.time_per_output_token",
            "For each output token after the first.",
            OUTPUT_TOKEN_BUCKETS_S,
        )
        for name, description, sizes in _SIZES:
            meter.create_observable_counter(name, [_size_observer(sources.turns, sizes)], "By", description)
        for name, description, count in _TOKENS:
            observer = _token_observer(sources, count)
            meter.create_observable_counter(f"landline.usage.{name}", [observer], "{token}", description)

    def record(self, entry: Entry) -> None:
        """The turn is over. Only durations of a failed one are recorded, as the conventions ask; counters have its tokens."""
        attributes = self._attributes(entry)
        error = error_type(entry)
        times = entry.times
        self._duration.record(times.total, attributes)
        if times.queued is not None:
            self._operation.record(times.total - times.queued, attributes)
        if error is not None:
            return
        if entry.finish_reason is not None:
            self._tokens.record(entry.tokens.input, {**attributes, "gen_ai.token.type": "input"})
            self._tokens.record(entry.tokens.output, {**attributes, "gen_ai.token.type": "output"})
        if times.first_event is not None:
            self._first_token.record(times.first_event, attributes)
            if times.queued is not None:
                self._first_chunk.record(times.first_event - times.queued, attributes)
        if times.per_output_token is not None:
            self._output_token.record(times.per_output_token, attributes)

    def _attributes(self, entry: Entry) -> Attributes:
        attributes = provider_attributes(self._sources.provider_of(entry.target))
        labels = self._sources.labels
        attributes["gen_ai.request.model"] = labels.label(entry)
        if entry.upstream_model:
            attributes["gen_ai.response.model"] = labels.upstream_label(entry)
        error = error_type(entry)
        if error is not None:
            attributes["error.type"] = error
        return attributes


def _seconds(meter: Meter, name: str, description: str, buckets: Sequence[float]) -> Histogram:
    return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=buckets)


def _size_observer(
    turns: TurnMetrics, read: Callable[[ByteCounts], Mapping[str, int]]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """Reads the sums in the SDK's thread: a turn that is counted at the same time is in them as a whole, or not yet."""

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(
                value, {"gen_ai.request.model": model, "landline.target": target, "landline.direction": direction}
            )
            for (model, target), row in list(turns.rows.items())
            for direction, value in read(row.sums.bytes).items()
        ]

    return observe


def _token_observer(
    sources: TelemetrySources, count: Callable[[Tokens], int]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """Reads the tokens of turns that a target took. The target is an attribute because two may share an address, for
    example with different keys."""

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        for (model, target), row in list(sources.turns.rows.items()):
            if target:
                attributes = provider_attributes(sources.provider_of(target)) | {"gen_ai.request.model": model}
                yield Observation(count(row.sums.tokens), {**attributes, "landline.target": target})

    return observe
