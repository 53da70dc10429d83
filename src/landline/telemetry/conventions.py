"""Attributes that spans and metrics of a turn share, by the GenAI semantic conventions.

Only names that a released version of the conventions has are used, because dashboards know no others: a test compares
them with the `opentelemetry-semantic-conventions` package. What the conventions have no name for is named `landline.*`.
"""

from collections.abc import Mapping, Sequence

import msgspec

from landline.ledger.entry import Entry
from landline.metrics.counts import ModelLabels, TurnMetrics

OPERATION = "chat"
"""`gen_ai.operation.name` of a turn: the conventions have no operation for the Responses API."""
FAILED = ("failed", "refused")
OTHER_ERROR = "_OTHER"
"""The conventions' `error.type` of an error without a code."""

Attributes = dict[str, str | int | float | bool | Sequence[str]]


class Provider(msgspec.Struct, frozen=True):
    """Who serves behind a target."""

    name: str
    """`gen_ai.provider.name`."""
    address: str = ""
    """Its host; "" without a network address of its own."""
    port: int = 0


_NOWHERE = Provider("landline")
"""Of turns that no target took."""


class TelemetrySources(msgspec.Struct, frozen=True, eq=False):
    """What telemetry reads besides the entries of turns."""

    providers: Mapping[str, Provider]
    """By target name."""
    labels: ModelLabels
    turns: TurnMetrics
    """Sums that the counters are read from."""

    def provider_of(self, target: str) -> Provider:
        """Who serves behind the target of this name; "" is no target."""
        return self.providers.get(target, _NOWHERE)


def provider_attributes(provider: Provider) -> Attributes:
    """The provider and its address."""
    attributes: Attributes = {"gen_ai.operation.name": OPERATION, "gen_ai.provider.name": provider.name}
    if provider.address:
        attributes["server.address"] = provider.address
        attributes["server.port"] = provider.port
    return attributes


def error_type(entry: Entry) -> str | None:
    """`error.type`: one of the codes in docs/errors.md; None if the turn did not fail."""
    return (entry.error_code or OTHER_ERROR) if entry.outcome in FAILED else None
