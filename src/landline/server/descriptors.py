"""Says so when the process has no file descriptor left.

libuv then accepts waiting connections and closes them at once, without a word to anybody, so clients see a server that
hangs up on them. Whether one is left is tried out, because what takes them may be anything: clients, upstreams, files.
"""

import errno
import os
import resource
import time
from collections.abc import Callable

import structlog

from landline.server.seldom import Seldom

LOG_EVERY_S = 30.0
"""While it lasts, the log repeats it this often."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE)
_ADVICE = (
    "New connections are closed unanswered, and upstreams and files cannot be opened, until descriptors are free again. "
    "Raise the limit (`ulimit -n`, `LimitNOFILE=` of a systemd unit, `--ulimit nofile=` of a container)."
)
_SYSTEM_ADVICE = (
    "The whole machine has none left: raise `fs.file-max`, or find the process that takes them. Until then new connections "
    "are closed unanswered."
)

_log = structlog.get_logger(__name__)


class DescriptorWatch:
    """Call `look` a few times a second: it costs some microseconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds that never go back."""
        self._seldom = Seldom(LOG_EVERY_S, clock)
        self._is_said = False

    def look(self, connections: int) -> None:
        """Logs if none is left, and once when there are some again; `connections` is how many of them clients have."""
        error = _try_one()
        if error is None:
            if self._is_said:
                self._is_said = False
                _log.info("descriptors_available", connections=connections)
        elif self._seldom.ask() is not None:
            self._is_said = True
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            advice = _ADVICE if error == errno.EMFILE else _SYSTEM_ADVICE
            _log.error("descriptors_exhausted", limit=limit, connections=connections, advice=advice)


def _try_one() -> int | None:
    """Opens a file and closes it; the error's number if that fails for want of descriptors."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno if error.errno in _EXHAUSTED else None
    return None
