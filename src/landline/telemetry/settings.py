"""The settings of OpenTelemetry, apart from it: importing the SDK takes 0.1 s, which only those who use it should wait."""

from typing import Annotated

import msgspec

OTLP_PROTOCOL = "http/protobuf"
"""The one that is spoken, as `OTEL_EXPORTER_OTLP_PROTOCOL` calls it."""


class TelemetrySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OpenTelemetry: a span for each turn, and metrics, sent to a collector by OTLP over HTTP. The standard `OTEL_*`
    variables count for what is not said here."""

    enabled: bool = False
    """Whether anything is sent."""
    endpoint: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """The collector's URL, which `/v1/traces` and `/v1/metrics` follow. Without it: `OTEL_EXPORTER_OTLP_ENDPOINT` and its
    kin, else `http://localhost:4318`."""
    service_name: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """What the server is called there. Without it: `OTEL_SERVICE_NAME`, else `landline`."""
    traces: bool = True
    """Whether spans are sent."""
    metrics: bool = True
    """Whether metrics are sent, every `OTEL_METRIC_EXPORT_INTERVAL` milliseconds (60,000)."""
    former_names: bool = True
    """Whether what the GenAI conventions renamed in 2026 is also told by its former name, which most dashboards know."""
    flush_s: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    """How long the end of the process may wait for the last of them to be sent."""


class Provider(msgspec.Struct, frozen=True):
    """Who serves behind a target."""

    name: str
    """By the GenAI conventions (`gen_ai.provider.name`)."""
    address: str = ""
    """Its host; "" for what is no host of its own."""
    port: int = 0
