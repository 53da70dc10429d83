"""One turn's account on its client's connection: opened when it starts, entered in the ledger when its last bytes left."""

import asyncio
import time
from collections.abc import Sequence

import structlog
from starlette.types import Scope

from landline.ledger import Ledger, LiveSession
from landline.ledger.entry import make_entry
from landline.server.connection import WireCount
from landline.session.create_bytes import measure_turn
from landline.session.turn import Turn
from landline.wire.events import ErrorFrame, ServerEvent, event_sequence

_log = structlog.get_logger(__name__)


class Account:
    """Counts a turn's bytes on its meter, and closes once, however the turn ends.

    It is closed when everybody who holds it has let go; whoever opens it holds it. The entry is made behind the write that
    is still to come in this step of the event loop, so that no client waits for it.
    """

    __slots__ = (
        "_holds",
        "_ledger",
        "_payload_bytes",
        "_session",
        "_wire",
        "_written_bytes",
        "meter",
        "next_number",
        "turn",
    )

    def __init__(self, ledger: Ledger, turn: Turn, wire: WireCount, *, session: LiveSession | None = None) -> None:
        """`session`: the socket, if it is one."""
        self.turn = turn
        self.meter = turn.meter
        self.next_number = 0
        """Of the event behind the last one that was told on a socket; 0 before the first."""
        self._ledger = ledger
        self._wire = wire
        self._session = session
        self._holds = 1
        self._written_bytes = 0
        self._payload_bytes = 0
        self.meter.started_at = self.meter.started_at or time.monotonic()
        ledger.begin_turn(session)

    @property
    def is_open(self) -> bool:
        return self._holds > 0

    def show(self) -> None:
        """Over HTTP it is known only while the turn runs which session it belongs to; from now on it runs there."""
        meter, turn = self.meter, self.turn
        if self._session is None and meter.session_id:
            self._ledger.end_turn(None)
            self._session = self._ledger.open_session(meter.session_id, meter.transport, turn.tenant, turn.created_at)
            self._ledger.begin_turn(self._session)

    def add_frame(self, payload_bytes: int) -> None:
        """The turn's next frame was written, and nothing since on its socket."""
        self._payload_bytes += payload_bytes
        self._written_bytes += self._wire.written_bytes

    def note_told(self, frames: Sequence[ServerEvent]) -> None:
        """These left, or wait to."""
        last = frames[-1]
        if not isinstance(last, ErrorFrame):
            self.next_number = event_sequence(last)[0] + 1

    def add_message(self, wire_bytes: int) -> None:
        """A message of the socket belongs to the turn."""
        self.meter.wire_in_bytes += wire_bytes
        self._wire.turns_in_bytes += wire_bytes

    def add_body(self, data: bytes) -> None:
        """More of the turn's HTTP answer was written."""
        self.meter.payload_out_bytes += len(data)
        self.show()

    def end_answer(self) -> None:
        """The HTTP answer is over, or nobody wants it any more: lets go."""
        self.meter.wire_out_bytes += self._wire.take_sent()
        self.release()

    def hold(self) -> None:
        """One more has to let go before it is closed."""
        self._holds += 1

    def release(self) -> None:
        """Lets go."""
        self._holds -= 1
        if not self._holds:
            asyncio.get_running_loop().call_soon(self.close)

    def close(self) -> None:
        """Makes the entry; called by itself when nobody holds the account any more."""
        meter, session, wire = self.meter, self._session, self._wire
        try:
            measure_turn(self.turn)
        except Exception:  # noqa: BLE001 - called by the event loop; what was counted is entered all the same
            _log.exception("turn_not_measured", response_id=self.turn.response_id)
        meter.ended_at = meter.ended_at or time.monotonic()
        meter.payload_out_bytes += self._payload_bytes
        meter.wire_out_bytes += self._written_bytes
        wire.turns_out_bytes += self._written_bytes
        self._ledger.end_turn(session)
        if session is not None and wire.is_line:
            session.overhead_in_bytes, session.overhead_out_bytes = wire.overhead_in_bytes, wire.overhead_out_bytes
        now = time.time()
        entry = make_entry(
            self.turn,
            meter,
            meter.outcome,
            usage=meter.usage,
            error_code=meter.error_code,
            started_at=now - (time.monotonic() - meter.started_at),
            hop=self._ledger.hop,
        )
        self._ledger.add(entry, now)


def client_of(scope: Scope) -> str:
    """The `User-Agent` of a request or an upgrade, for the meters of its turns; "" without one."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"user-agent"), "")
