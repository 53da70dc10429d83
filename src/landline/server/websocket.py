"""WebSocket mode: one open socket is a session, a task for each turn, and an outbox."""

import asyncio
import math
import time
from typing import assert_never

import msgspec
import structlog
from starlette.types import Receive, Scope, Send

from landline.server.account import Account, client_of
from landline.server.connection import wire_of
from landline.server.drain import shutdown_error
from landline.server.edge import Edge
from landline.server.endpoint import reply_error
from landline.server.headers import NO_TRACE, choose_subprotocol, trace_of, trace_of_frame
from landline.server.middleware import REQUEST_ID
from landline.server.outbox import TEXT_FRAMES, Outbox
from landline.session.session import Session
from landline.session.turn import (
    AnswerSteer,
    Arrival,
    CancelTurn,
    CloseSocket,
    Command,
    SendFrames,
    StartTurn,
    StopTurn,
    Turn,
    TurnEnded,
    TurnProgressed,
    TurnRefused,
    TurnUpdate,
)
from landline.turns.running import RunningTurn, server_fault
from landline.wire.errors import (
    CLOSE_GOING_AWAY,
    CLOSE_POLICY_VIOLATION,
    CLOSE_SERVER_ERROR,
    ApiError,
    api_error,
)
from landline.wire.events import encode_event, error_frame

_log = structlog.get_logger(__name__)


class SocketEndpoint:
    """`GET /v1/responses` with an upgrade; 426 when sockets are switched off (Codex CLI then uses HTTP at once)."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if not self._edge.is_socket_enabled:
            error = api_error("websocket_upgrade_required", "WebSocket mode is switched off on this server; use HTTP.")
            await reply_error(scope, send, error, [(b"upgrade", b"websocket")])
            return
        await send({"type": "websocket.accept", "subprotocol": choose_subprotocol(scope.get("subprotocols", ()))})
        outbox = Outbox(send, in_batches=TEXT_FRAMES in scope.get("extensions", {}))
        line = ClientLine(self._edge, scope, receive, outbox)
        opened_at = self._edge.clock()
        try:
            await line.run()
        finally:
            age_s = round(self._edge.clock() - opened_at, 3)
            request_id = scope[REQUEST_ID]
            _log.info(
                "socket_closed",
                request_id=request_id,
                session=line.session_id,
                code=line.close_code,
                turns=line.turn_count,
                age_s=age_s,
                overhead_in=line.overhead_bytes[0],
                overhead_out=line.overhead_bytes[1],
            )


class ClientLine:
    """One open socket: carries out what its session commands."""

    def __init__(self, edge: Edge, scope: Scope, receive: Receive, outbox: Outbox) -> None:
        tenant = edge.tenant_of(scope)
        self._edge = edge
        self._receive = receive
        self._outbox = outbox
        self._session = Session(
            edge.limits,
            opened_at=edge.clock(),
            new_id=edge.new_id,
            tenant=tenant,
            known_items=edge.item_memo.of(tenant),
            on_fault=self._note_fault,
        )
        self._arrival = Arrival(
            transport="socket",
            session_id=self._session.line_id,
            request_id=scope[REQUEST_ID],
            client=client_of(scope),
        )
        """Of every create, but for its own bytes and time."""
        self._trace = trace_of(scope)
        self._wire = wire_of(scope)
        self._wire.is_line = True
        self._live = edge.ledger.open_session(self._session.line_id, "socket", tenant, edge.clock())
        self._live.compression = self._wire.compression
        self._live.history_bytes = lambda: self._session.memory_bytes
        self._turns: dict[str, _SocketTurn] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.close_code: int = CLOSE_SERVER_ERROR
        """How the socket ended; 1006 is a line that was cut."""
        self.turn_count = 0
        """Turns that were started."""

    @property
    def session_id(self) -> str:
        return self._session.line_id

    @property
    def overhead_bytes(self) -> tuple[int, int]:
        """What was received and sent on the wire and is of no turn."""
        return self._wire.overhead_in_bytes, self._wire.overhead_out_bytes

    async def run(self) -> None:
        """Serves the socket until it is closed."""
        drain = self._edge.drain
        drain.begun.subscribe(self._close_if_drained)
        drain.expired.subscribe(self._give_up_turns)
        self._arm_timer()
        try:
            self.close_code = await self._read()
        finally:
            drain.begun.unsubscribe(self._close_if_drained)
            drain.expired.unsubscribe(self._give_up_turns)
            await self._end()

    async def _read(self) -> int:
        """Feeds the session with messages; never waits for the client to read. Returns the close code."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return message["code"]
            data = message.get("text")
            try:
                self._receive_frame(message["bytes"] if data is None else data)
            except Exception:  # noqa: BLE001  # the root of what one frame asks for
                self._outbox.put([encode_event(error_frame(self._note_fault()))])
            self._outbox.flush_later()
            if self._outbox.is_overflowing:
                await self._outbox.close_now(CLOSE_POLICY_VIOLATION, "answers are not read")
                return CLOSE_POLICY_VIOLATION

    def _receive_frame(self, data: str | bytes) -> None:
        """Feeds the session; a message about a running turn, not only the one that asks for it, is of that turn's cost."""
        size_bytes = self._wire.take_message()
        arrival = msgspec.structs.replace(self._arrival, wire_bytes=size_bytes, started_at=time.monotonic())
        commands = self._session.receive_frame(data, self._edge.clock(), arrival)
        for command in commands:
            if isinstance(command, AnswerSteer | StopTurn):
                turn = self._turns.get(command.response_id)
                if turn is not None and turn.account is not None:
                    turn.account.add_message(size_bytes)
        self._carry_out(commands)

    def update_turn(self, response_id: str, update: TurnUpdate) -> None:
        """Gives the session a turn's update, and carries out what follows from it."""
        self._carry_out(self._session.update_turn(response_id, update, self._edge.clock()))

    def end_turn(self, turn: Turn, ended: TurnRefused | TurnEnded) -> None:
        """Ends a turn in which something failed, with what is sure to work. The session may have ended it already: then only
        the client has not heard of it."""
        started = self._turns.get(turn.response_id)
        if isinstance(ended, TurnEnded):
            frames = [msgspec.json.encode(event) for event in ended.events]
        else:
            frames = [msgspec.json.encode(error_frame(ended.error, stream_id=turn.stream_id))]
        self._outbox.put(frames, started.account if started is not None else None)
        commands = self._session.update_turn(turn.response_id, ended, self._edge.clock())
        self._carry_out([each for each in commands if not _is_told(each, turn.response_id)])
        self._outbox.flush_later()

    def _carry_out(self, commands: list[Command]) -> None:
        """Carries out all that can be: other turns have nothing to do with one whose frames cannot be encoded. Raises what
        the first one raised that failed."""
        fault: Exception | None = None
        for command in commands:
            try:
                self._carry_out_one(command)
            except Exception as error:  # noqa: BLE001 - the first is raised below, those behind it are logged here
                if fault is not None:
                    self._note_fault()
                fault = fault or error
        if fault is not None:
            raise fault

    def _carry_out_one(self, command: Command) -> None:
        match command:
            case SendFrames(frames, response_id):
                turn = self._turns.get(response_id)
                self._outbox.put([encode_event(frame) for frame in frames], turn.account if turn is not None else None)
            case StartTurn(turn):
                self._start(turn)
            case StopTurn(response_id) if response_id in self._turns:
                self._turns[response_id].running.stop()
            case AnswerSteer(response_id, answer) if response_id in self._turns:
                self._turns[response_id].running.answer_steer(answer)
            case CancelTurn(response_id) if response_id in self._turns:
                self._turns[response_id].task.cancel()
            case StopTurn() | AnswerSteer() | CancelTurn():
                pass  # it is over
            case CloseSocket(code, reason):
                self._outbox.put_close(code, reason)
            case _:
                assert_never(command)

    def _note_fault(self) -> ApiError:
        """Logs the exception that is being handled, which is about no turn that runs; the error of what was asked for."""
        _log.exception("frame_broke", request_id=self._arrival.request_id, session=self.session_id)
        return server_fault(self._arrival.request_id)

    def _start(self, turn: Turn) -> None:
        """A draining server starts nothing: the client gets an error, and close 1001 as soon as nothing runs."""
        if self._edge.drain.begun.is_set:
            self.update_turn(turn.response_id, TurnRefused(shutdown_error()))
            return
        self.turn_count += 1
        started = _SocketTurn(self, self._edge.runner.start(turn), self._outbox)
        self._turns[turn.response_id] = started
        started.task.add_done_callback(lambda _: self._forget(turn.response_id))

    def open_account(self, running: RunningTurn) -> Account:
        """Where a turn's bytes are counted."""
        turn = running.turn
        trace = trace_of_frame(self._trace, turn.body) if self._edge.continues_traces else NO_TRACE
        account = Account(self._edge.ledger, running, self._wire, session=self._live, trace=trace)
        account.add_message(turn.arrival.wire_bytes)
        return account

    def _forget(self, response_id: str) -> None:
        """Called when a turn's task is done, even if it was cancelled before its first step."""
        self._turns.pop(response_id).release()
        self._outbox.flush_later()
        self._close_if_drained()

    def _close_if_drained(self) -> None:
        if self._edge.drain.begun.is_set and not self._turns:
            self._outbox.put_close(CLOSE_GOING_AWAY, "server is shutting down")
            self._outbox.flush_later()

    def _give_up_turns(self) -> None:
        """The drain's grace is over: turns say that they fail, and those that take too long for that are aborted."""
        error = shutdown_error()
        for response_id, turn in list(self._turns.items()):
            if not turn.running.give_up(error):
                self.update_turn(response_id, TurnRefused(error))
                turn.task.cancel()
        asyncio.get_running_loop().call_later(self._edge.drain.abort_s, self._abort_turns)

    def _abort_turns(self) -> None:
        for turn in self._turns.values():
            turn.task.cancel()

    def _arm_timer(self) -> None:
        if self._session.deadline == math.inf:
            return
        delay_s = max(0.0, self._session.deadline - self._edge.clock())
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _tick(self) -> None:
        now = self._edge.clock()
        self._carry_out(self._session.tick(now))
        self._outbox.flush_later()
        if self._session.deadline > now:
            self._arm_timer()

    async def _end(self) -> None:
        """Nobody listens any more: aborts what runs and waits until it has put its things away."""
        if self._timer is not None:
            self._timer.cancel()
        self._session.close()
        self._abort_turns()
        if self._turns:
            await asyncio.wait([turn.task for turn in self._turns.values()])
        await self._outbox.drop()
        self._edge.ledger.close_session(self.session_id)
        self._wire.when_lost(self._settle)

    def _settle(self) -> None:
        """The last byte is counted: what is no turn's is the socket's own."""
        live, wire = self._live, self._wire
        live.overhead_in_bytes, live.overhead_out_bytes = wire.overhead_in_bytes, wire.overhead_out_bytes
        self._edge.ledger.note_change(live)
        self._edge.ledger.add_overhead(live.overhead_in_bytes, live.overhead_out_bytes)


class _SocketTurn:
    """One turn of the line, in a task of its own: what it says is put into the session and the outbox."""

    def __init__(self, line: ClientLine, running: RunningTurn, outbox: Outbox) -> None:
        self.running = running
        self._line = line
        self._outbox = outbox
        self.account: Account | None = None
        """While it may still have something to say."""
        try:
            self.account = line.open_account(running)
        except Exception as fault:  # noqa: BLE001 - it is raised again where every fault ends its turn
            running.break_with(fault)
        self.task = asyncio.create_task(running.run(self))

    async def hear(self, update: TurnUpdate) -> None:
        self._line.update_turn(self.running.turn.response_id, update)
        if not isinstance(update, TurnProgressed):
            self.release()
        await self._outbox.flush()

    async def hear_fault(self, ended: TurnRefused | TurnEnded) -> None:
        self._line.end_turn(self.running.turn, ended)
        self.release()

    def release(self) -> None:
        """Nothing more is put in for it."""
        account, self.account = self.account, None
        if account is not None:
            self._outbox.put_end(account)


def _is_told(command: Command, response_id: str) -> bool:
    """Whether it only says what was said already."""
    return isinstance(command, SendFrames) and command.response_id == response_id
