"""One turn's account on its client's connection: opened when it starts, entered in the ledger when its last bytes left."""

import asyncio
import time

import structlog
from starlette.types import Scope

from landline.ledger import Ledger, LiveSession
from landline.ledger.entry import Count, make_entry
from landline.ledger.report import TurnReport
from landline.server.connection import WireCount
from landline.server.headers import NO_TRACE, TraceContext
from landline.session.create_bytes import TurnBytes, measure_turn
from landline.session.turn import CreateBytes
from landline.turns.running import RunningTurn

_log = structlog.get_logger(__name__)


class Account:
    """Counts a turn's bytes on its client's connection, and closes once, however the turn ends.

    It is closed when everybody who holds it has let go; whoever opens it holds it. The entry is made behind the write that
    is still to come in this step of the event loop, so that no client waits for it.
    """

    __slots__ = (
        "_began_at",
        "_holds",
        "_ledger",
        "_payload_bytes",
        "_received_bytes",
        "_session",
        "_trace",
        "_wire",
        "_written_bytes",
        "running",
    )

    def __init__(
        self,
        ledger: Ledger,
        running: RunningTurn,
        wire: WireCount,
        *,
        session: LiveSession | None = None,
        trace: TraceContext = NO_TRACE,
    ) -> None:
        """`session`: the socket, if it is one."""
        self.running = running
        self._ledger = ledger
        self._wire = wire
        self._session = session
        self._trace = trace
        self._holds = 1
        self._received_bytes = 0
        self._written_bytes = 0
        self._payload_bytes = 0
        self._began_at = running.turn.arrival.started_at or time.monotonic()
        ledger.begin_turn(session)

    @property
    def is_open(self) -> bool:
        return self._holds > 0

    def show(self) -> None:
        """Over HTTP it is known only while the turn runs which session it belongs to; from now on it runs there."""
        session_id, turn = self.running.session_id, self.running.turn
        if self._session is None and session_id:
            self._ledger.end_turn(None)
            transport = turn.arrival.transport
            self._session = self._ledger.open_session(session_id, transport, turn.tenant, turn.created_at)
            self._ledger.begin_turn(self._session)

    def add_frame(self, payload_bytes: int) -> None:
        """The turn's next frame was written, and nothing since on its socket."""
        self._payload_bytes += payload_bytes
        self._written_bytes += self._wire.written_bytes

    def add_message(self, wire_bytes: int) -> None:
        """A message of the socket belongs to the turn."""
        self._received_bytes += wire_bytes
        self._wire.turns_in_bytes += wire_bytes

    def take_request(self) -> None:
        """What came on the HTTP connection belongs to the turn, whose body is complete."""
        self._received_bytes += self._wire.take_received()

    def add_body(self, data: bytes) -> None:
        """More of the turn's HTTP answer was written."""
        self._payload_bytes += len(data)
        self.show()

    def end_answer(self) -> None:
        """The HTTP answer is over, or nobody wants it any more: lets go."""
        self._written_bytes += self._wire.take_sent()
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
        report, session, wire = self.running.report(), self._session, self._wire
        self._ledger.end_turn(session)
        if session is not None and wire.is_line:
            wire.turns_out_bytes += self._written_bytes
            session.overhead_in_bytes, session.overhead_out_bytes = wire.overhead_in_bytes, wire.overhead_out_bytes
        now, closed_at = time.time(), time.monotonic()
        measured = self._measure(report)
        count = Count(
            wire_in_bytes=self._received_bytes,
            wire_out_bytes=self._written_bytes,
            payload_out_bytes=self._payload_bytes,
            began_at=self._began_at,
            closed_at=closed_at,
            started_at=now - (closed_at - self._began_at),
            trace_parent=self._trace.parent,
            trace_state=self._trace.state,
            saved_s=self._claim_s(report, measured),
        )
        ledger = self._ledger
        ledger.add(make_entry(report, measured, count, ledger.hop, ledger.prices), now, report)

    def _claim_s(self, report: TurnReport, measured: TurnBytes) -> float | None:
        """Only the way from clients is measured."""
        if self._ledger.hop != "clients":
            return None
        create_bytes = report.turn.arrival.wire_bytes or self._received_bytes
        return self._wire.upload.claim_s(measured, create_bytes, self._received_bytes)

    def _measure(self, report: TurnReport) -> TurnBytes:
        try:
            return measure_turn(report.turn, report.resolved, report.known_items)
        except Exception:  # noqa: BLE001 - called by the event loop; what was counted is entered all the same
            _log.exception("turn_not_measured", response_id=report.turn.response_id)
            return TurnBytes(CreateBytes())


def client_of(scope: Scope) -> str:
    """The `User-Agent` of a request or an upgrade; "" without one."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"user-agent"), "")
