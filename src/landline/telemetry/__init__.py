"""Turns sent to an OpenTelemetry collector, as spans and metrics by the GenAI semantic conventions.

The SDK is imported when it is used: that takes 0.1 s, which nobody else should wait for.
"""

import contextlib
from collections.abc import AsyncGenerator

from landline.ledger import Ledger
from landline.telemetry.conventions import TelemetrySources
from landline.telemetry.settings import TelemetrySettings


@contextlib.asynccontextmanager
async def send_telemetry(
    settings: TelemetrySettings, ledger: Ledger, sources: TelemetrySources
) -> AsyncGenerator[None]:
    """Sends every turn that ends inside of it, if the settings turn that on; flushes the last ones at its end."""
    if not settings.enabled:
        yield
        return
    from landline.telemetry.exporter import open_telemetry  # noqa: PLC0415

    telemetry = open_telemetry(settings, sources)
    unwatch = ledger.watch(telemetry.add)
    try:
        yield
    finally:
        unwatch()
        await telemetry.close()
