"""What the GenAI conventions renamed between August and October 2026, by its former name, which most dashboards know."""

from collections.abc import Mapping

from opentelemetry.metrics import Meter

from landline.ledger.entry import Entry
from landline.metrics.counts import ModelLabels
from landline.telemetry.conventions import Attributes, error_type
from landline.telemetry.instruments import DURATION_BUCKETS_S, metric_attributes, seconds, tokens
from landline.telemetry.settings import Provider


class FormerMetricTeller:
    """Records turns in the instruments of one meter, beside `MetricTeller`."""

    def __init__(self, meter: Meter, providers: Mapping[str, Provider], labels: ModelLabels) -> None:
        self._providers = providers
        self._labels = labels
        self._tokens = tokens(meter, "gen_ai.client.token.usage", "Tokens read and written.")
        self._asking = seconds(
            meter,
            "gen_ai.client.operation.duration",
            "From the first question to a target to the end.",
            DURATION_BUCKETS_S,
        )
        self._first_chunk = seconds(
            meter,
            "gen_ai.client.operation.time_to_first_chunk",
            "From the first question to a target to its first event.",
            DURATION_BUCKETS_S,
        )

    def tell(self, entry: Entry) -> None:
        """The turn is over. Of one that failed only its duration is told."""
        times = entry.times
        if times.queued is None:
            return
        attributes = metric_attributes(entry, self._providers, self._labels)
        self._asking.record(times.total - times.queued, attributes)
        if error_type(entry) is not None:
            return
        if times.first_event is not None:
            self._first_chunk.record(times.first_event - times.queued, attributes)
        if entry.tokens.input:
            self._tokens.record(entry.tokens.input, {**attributes, "gen_ai.token.type": "input"})
        if entry.tokens.output:
            self._tokens.record(entry.tokens.output, {**attributes, "gen_ai.token.type": "output"})


def former_attributes(entry: Entry) -> Attributes:
    """Of a turn's span."""
    return {"gen_ai.usage.cache_creation.input_tokens": entry.tokens.cache_write}
