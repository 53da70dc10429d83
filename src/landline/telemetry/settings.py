"""The settings of OpenTelemetry, `[telemetry]` in the configuration. This module does not import the SDK."""

from typing import Annotated

import msgspec

OTLP_PROTOCOL = "http/protobuf"
"""The only supported protocol, as `OTEL_EXPORTER_OTLP_PROTOCOL` names it."""


class TelemetrySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OpenTelemetry: a span for each turn, and metrics, sent to a collector by OTLP over HTTP. The standard `OTEL_*`
    variables apply to what is not set here."""

    enabled: bool = False
    """Whether anything is sent."""
    endpoint: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """The collector's URL; `/v1/traces` and `/v1/metrics` are appended. Default: `OTEL_EXPORTER_OTLP_ENDPOINT` and related
    variables, else `http://localhost:4318`."""
    service_name: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """The service name sent to the collector. Default: `OTEL_SERVICE_NAME`, else `landline`."""
    traces: bool = True
    """Whether spans are sent."""
    metrics: bool = True
    """Whether metrics are sent, every `OTEL_METRIC_EXPORT_INTERVAL` milliseconds (60,000)."""
    flush_s: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    """How long a shutdown may wait until the last spans and metrics are sent."""
