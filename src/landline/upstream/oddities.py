"""Says in the log what is odd about a target's answers, each thing once."""

from collections.abc import Sequence

import structlog

MAX_TOLD = 200
"""How many different things are remembered for a target; those of further kinds are not told."""

_log = structlog.stdlib.get_logger(__name__)


class OddityLog:
    """Of one target. Members that were left out of answers harm nobody, but who runs the server should know of them."""

    def __init__(self, target_name: str) -> None:
        self._target_name = target_name
        self._told: set[str] = set()

    def tell(self, response_id: str, oddities: Sequence[str]) -> None:
        """Logs what this target's answers did not show before."""
        if not oddities:
            return
        new = [each for each in oddities if each not in self._told][: MAX_TOLD - len(self._told)]
        if new:
            self._told.update(new)
            _log.warning("odd_answer", target=self._target_name, response_id=response_id, what=new)
