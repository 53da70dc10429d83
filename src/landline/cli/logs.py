"""How the running server logs: `key=value`, one line an event, the response's id first, on standard error."""

import logging
import sys

import structlog

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
