"""The GenAI conventions' metrics of turns, and what Landline adds: bytes, read from the sums when they are sent."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

from landline.ledger.entry import ByteCounts, Entry, Tokens
from landline.metrics.counts import ModelLabels, TurnMetrics
from landline.telemetry.conventions import Attributes, error_type, provider_attributes, provider_of
from landline.telemetry.settings import Provider

TOKEN_BUCKETS = tuple(4.0**power for power in range(14))
DURATION_BUCKETS_S = tuple(0.01 * 2**power for power in range(14))
OUTPUT_TOKEN_BUCKETS_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
FIRST_TOKEN_BUCKETS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08),
    *(0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
"""All four as the conventions advise (November 2026)."""
MODALITY = "unknown"
"""`gen_ai.token.modality`: no usage that targets report tells text from images."""

_OPERATION = "gen_ai.client.inference.operation"
_TOKENS: tuple[tuple[str, str, Callable[[Tokens], int]], ...] = (
    ("input_tokens", "Tokens of prompts, cached ones included.", lambda tokens: tokens.input),
    ("cache_read.input_tokens", "Of the input: reused from a cache.", lambda tokens: tokens.cached),
    ("cache_write.input_tokens", "Of the input: written to a cache.", lambda tokens: tokens.cache_write),
    ("output_tokens", "Tokens that models wrote, reasoning included.", lambda tokens: tokens.output),
    ("reasoning.output_tokens", "Of the output: reasoning.", lambda tokens: tokens.reasoning),
)
"""Counters of `gen_ai.client.inference.usage`."""

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


class MetricTeller:
    """Records turns in the instruments of one meter. Labels are bounded: see `ModelLabels`."""

    def __init__(
        self, meter: Meter, providers: Mapping[str, Provider], labels: ModelLabels, turns: TurnMetrics
    ) -> None:
        self._providers = providers
        self._labels = labels
        self._input_tokens = tokens(meter, f"{_OPERATION}.input_tokens", "Tokens of a turn's prompt.")
        self._output_tokens = tokens(meter, f"{_OPERATION}.output_tokens", "Tokens that a model wrote in a turn.")
        self._asking = seconds(
            meter,
            "gen_ai.client.inference.duration",
            "From the first question to a target to the end.",
            DURATION_BUCKETS_S,
        )
        self._first_chunk = seconds(
            meter,
            "gen_ai.client.inference.time_to_first_chunk",
            "From the first question to a target to its first event.",
            DURATION_BUCKETS_S,
        )
        self._duration = seconds(
            meter, "gen_ai.server.request.duration", "From the create to the end.", DURATION_BUCKETS_S
        )
        self._first_token = seconds(
            meter,
            "gen_ai.server.time_to_first_token",
            "From the create to the model's first text, thought or call.",
            FIRST_TOKEN_BUCKETS_S,
        )
        self._output_token = seconds(
            meter,
            "gen_ai.server.time_per_output_token",
            "For each output token after the first.",
            OUTPUT_TOKEN_BUCKETS_S,
        )
        for name, description, read in _SIZES:
            meter.create_observable_counter(name, [_size_observer(turns, read)], "By", description)
        for name, description, count in _TOKENS:
            name = f"gen_ai.client.inference.usage.{name}"
            meter.create_observable_counter(name, [_token_observer(turns, providers, count)], "{token}", description)

    def tell(self, entry: Entry) -> None:
        """The turn is over. Of one that failed only durations are told, as the conventions want it; its tokens are counted."""
        attributes = metric_attributes(entry, self._providers, self._labels)
        error = error_type(entry)
        times = entry.times
        self._duration.record(times.total, attributes)
        if times.queued is not None:
            self._asking.record(times.total - times.queued, attributes)
        if error is not None:
            return
        if entry.finish_reason is not None:
            self._input_tokens.record(entry.tokens.input, attributes)
            self._output_tokens.record(entry.tokens.output, attributes)
        if times.first_event is not None:
            self._first_token.record(times.first_event, attributes)
            if times.queued is not None:
                self._first_chunk.record(times.first_event - times.queued, attributes)
        if times.per_output_token is not None:
            self._output_token.record(times.per_output_token, attributes)


def metric_attributes(entry: Entry, providers: Mapping[str, Provider], labels: ModelLabels) -> Attributes:
    """What every histogram says of a turn."""
    attributes = provider_attributes(provider_of(entry.target, providers))
    attributes["gen_ai.request.model"] = labels.label(entry)
    if entry.upstream_model:
        attributes["gen_ai.response.model"] = labels.upstream_label(entry)
    error = error_type(entry)
    if error is not None:
        attributes["error.type"] = error
    return attributes


def seconds(meter: Meter, name: str, description: str, buckets: Sequence[float]) -> Histogram:
    """A histogram of times."""
    return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=buckets)


def tokens(meter: Meter, name: str, description: str) -> Histogram:
    """A histogram of tokens."""
    return meter.create_histogram(name, "{token}", description, explicit_bucket_boundaries_advisory=TOKEN_BUCKETS)


def _size_observer(
    turns: TurnMetrics, read: Callable[[ByteCounts], Mapping[str, int]]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """Reads the sums in the thread that sends them: a turn that is counted meanwhile is in them or not."""

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
    turns: TurnMetrics, providers: Mapping[str, Provider], count: Callable[[Tokens], int]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """Likewise. Of turns that no target took there is nothing to tell. The target is named because two may be at one
    address, for example with different keys."""

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        for (model, target), row in list(turns.rows.items()):
            if target:
                attributes = provider_attributes(provider_of(target, providers))
                attributes |= {"gen_ai.request.model": model, "gen_ai.token.modality": MODALITY}
                yield Observation(count(row.sums.tokens), {**attributes, "landline.target": target})

    return observe
