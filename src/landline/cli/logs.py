"""How the running server logs: `key=value`, one line an event, the response's id first, on standard error."""

import asyncio
import atexit
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from landline.ledger import Entry
from landline.ledger.turn_line import turn_line
from landline.terminal import escaped, printable

HELD_S = 0.1
"""How long turns' lines may wait for others, to be written together. A process that is killed loses them."""
_KEYS_FIRST = ("at", "level", "response_id", "event")


def configure_logging(level: str) -> None:
    """Sets the least level that is shown: `debug`, `info`, `warning` or `error`."""
    least = logging.getLevelNamesMapping()[level.upper()]
    if logging.lastResort is not None:  # what libraries warn of goes there
        logging.lastResort.setFormatter(_PrintableFormatter())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", key="at"),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=_KEYS_FIRST, drop_missing=True, bool_as_flag=False),
            _escape,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def _escape(logger: object, method: str, line: object) -> str:
    """The line without what could steer the terminal that shows it, or be taken for another line."""
    del logger, method
    return escaped(str(line))


class _PrintableFormatter(logging.Formatter):
    """What libraries log, safe to print; tracebacks keep their lines."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def turn_writer() -> Callable[[Entry], None]:
    """Writes turns' lines as everything else is logged, without what structlog costs and not one by one: a write to a pipe
    costs more than the turn's entry, most of it for waking the reader. Must be called, as its writer, in one thread.
    """
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    if not logger.is_enabled_for(logging.INFO):
        return lambda _: None
    held: list[str] = []

    def flush() -> None:
        lines = "".join(held)
        held.clear()
        sys.stderr.write(lines)

    def write(entry: Entry) -> None:
        at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        held.append(f"at={at} level=info {turn_line(entry)}\n")
        if len(held) == 1:
            asyncio.get_running_loop().call_later(HELD_S, flush)

    atexit.register(flush)
    return write
