"""How the running server logs: `key=value`, one line an event, the response's id first, on standard error."""

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from landline.ledger import Entry
from landline.ledger.turn_line import turn_line

_KEYS_FIRST = ("at", "level", "response_id", "event")


def configure_logging(level: str) -> None:
    """Sets the least level that is shown: `debug`, `info`, `warning` or `error`."""
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", key="at"),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=_KEYS_FIRST, drop_missing=True, bool_as_flag=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def turn_writer() -> Callable[[Entry], None]:
    """Writes a turn's line as everything else is logged, without what structlog would cost once a turn."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    if not logger.is_enabled_for(logging.INFO):
        return lambda _: None

    def write(entry: Entry) -> None:
        at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        sys.stderr.write(f"at={at} level=info {turn_line(entry)}\n")

    return write
