"""The GenAI conventions' metrics of turns, and what Landline adds: bytes, read from the sums when they are sent."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

from landline.ledger.entry import ByteCounts, Entry
from landline.ledger.metrics import ModelLabels, TurnMetrics
from landline.ledger.telemetry_attributes import Attributes, error_type, provider_attributes, provider_of
from landline.ledger.telemetry_settings import Provider

TOKEN_BUCKETS = tuple(4.0**power for power in range(14))
DURATION_BUCKETS_S = tuple(0.01 * 2**power for power in range(14))
OUTPUT_TOKEN_BUCKETS_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
FIRST_TOKEN_BUCKETS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08),
    *(0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
"""All four as the conventions advise (November 2026)."""

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
        self._tokens = _histogram(
            meter, "gen_ai.client.token.usage", "{token}", "Tokens read and written.", TOKEN_BUCKETS
        )
        self._asking = _seconds(
            meter,
            "gen_ai.client.operation.duration",
            "From the first question to a target to the end.",
            DURATION_BUCKETS_S,
        )
        self._first_chunk = _seconds(
            meter,
            "gen_ai.client.operation.time_to_first_chunk",
            "From the first question to a target to its first event.",
            FIRST_TOKEN_BUCKETS_S,
        )
        self._duration = _seconds(
            meter, "gen_ai.server.request.duration", "From the create to the end.", DURATION_BUCKETS_S
        )
        self._first_token = _seconds(
            meter,
            "gen_ai.server.time_to_first_token",
            "From the create to the model's first text, thought or call.",
            FIRST_TOKEN_BUCKETS_S,
        )
        self._output_token = _seconds(
            meter,
            "gen_ai.server.time_per_output_token",
            "For each output token after the first.",
            OUTPUT_TOKEN_BUCKETS_S,
        )
        for name, description, read in _SIZES:
            meter.create_observable_counter(name, [_observer(turns, read)], "By", description)

    def tell(self, entry: Entry) -> None:
        """The turn is over. Of one that failed only durations are told, as the conventions want it."""
        attributes = self._attributes(entry)
        error = error_type(entry)
        if error is not None:
            attributes["error.type"] = error
        times = entry.times
        self._duration.record(times.total, attributes)
        if times.queued is not None:
            self._asking.record(times.total - times.queued, attributes)
        if error is not None:
            return
        if entry.tokens.input:
            self._tokens.record(entry.tokens.input, {**attributes, "gen_ai.token.type": "input"})
        if entry.tokens.output:
            self._tokens.record(entry.tokens.output, {**attributes, "gen_ai.token.type": "output"})
        if times.first_event is not None:
            self._first_token.record(times.first_event, attributes)
            if times.queued is not None:
                self._first_chunk.record(times.first_event - times.queued, attributes)
        if times.per_output_token is not None:
            self._output_token.record(times.per_output_token, attributes)

    def _attributes(self, entry: Entry) -> Attributes:
        attributes = provider_attributes(provider_of(entry, self._providers))
        attributes["gen_ai.request.model"] = self._labels.label(entry)
        if entry.upstream_model:
            attributes["gen_ai.response.model"] = self._labels.upstream_label(entry)
        return attributes


def _seconds(meter: Meter, name: str, description: str, buckets: Sequence[float]) -> Histogram:
    return _histogram(meter, name, "s", description, buckets)


def _histogram(meter: Meter, name: str, unit: str, description: str, buckets: Sequence[float]) -> Histogram:
    return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=buckets)


def _observer(
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
