"""WebSocket mode: one open socket is a session, a task for each turn, and an outbox."""

import asyncio
import math
import time
from contextlib import aclosing
from typing import assert_never

import msgspec
import structlog
from starlette.types import Receive, Scope, Send

from landline.server.account import Account, client_of
from landline.server.connection import WireCount, wire_of
from landline.server.drain import shutdown_error
from landline.server.edge import Edge
from landline.server.endpoint import reply_error
from landline.server.headers import TraceContext, choose_subprotocol, note_trace, trace_of
from landline.server.middleware import REQUEST_ID
from landline.server.outbox import TEXT_FRAMES, Outbox
from landline.session.meter import Meter
from landline.session.session import Session
from landline.session.turn import (
    AnswerSteer,
    CancelTurn,
    CloseSocket,
    Command,
    SendFrames,
    StartTurn,
    StopTurn,
    Turn,
    TurnEnded,
    TurnRefused,
)
from landline.turns.faults import broken_end, note_fault, server_fault
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
        line = Line(
            self._edge,
            receive,
            outbox,
            tenant=self._edge.tenant_of(scope),
            wire=wire_of(scope),
            trace=trace_of(scope),
            client=client_of(scope),
            request_id=scope[REQUEST_ID],
        )
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


class Line:
    """One open socket: carries out what its session commands."""

    def __init__(
        self,
        edge: Edge,
        receive: Receive,
        outbox: Outbox,
        *,
        tenant: str,
        wire: WireCount,
        trace: TraceContext,
        client: str,
        request_id: str,
    ) -> None:
        self._edge = edge
        self._receive = receive
        self._request_id = request_id
        self._session = Session(
            edge.limits, opened_at=edge.clock(), new_id=edge.new_id, tenant=tenant, on_fault=self._note_fault
        )
        self._wire = wire
        wire.is_line = True
        self._live = edge.ledger.open_session(self._session.line_id, "socket", tenant, edge.clock())
        self._live.compression = wire.compression
        self._live.history_bytes = lambda: self._session.memory_bytes
        self._trace = trace
        self._client = client
        self._outbox = outbox
        self._turns: dict[str, asyncio.Task[None]] = {}
        self._accounts: dict[str, Account] = {}
        """Of the turns that may still have something to say."""
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
        meter = Meter(
            client=self._client, request_id=self._request_id, wire_in_bytes=size_bytes, started_at=time.monotonic()
        )
        commands = self._session.receive_frame(data, self._edge.clock(), meter)
        for command in commands:
            if isinstance(command, AnswerSteer | StopTurn) and command.response_id in self._accounts:
                self._accounts[command.response_id].add_message(size_bytes)
        self._carry_out(commands)

    async def _run_turn(self, turn: Turn) -> None:
        """The task of one turn: reports each update to the session, then waits until its frames could leave."""
        is_over = False
        try:
            async with aclosing(self._edge.runner.run(turn)) as updates:
                async for update in updates:
                    self._carry_out(self._session.update_turn(turn.response_id, update, self._edge.clock()))
                    is_over = isinstance(update, TurnEnded | TurnRefused)
                    if is_over:
                        self._outbox.put_end(self._accounts.pop(turn.response_id))
                    await self._outbox.flush()
            if not is_over:
                raise RuntimeError("the turn ended without a last update")
        except Exception:  # noqa: BLE001  # the root of the turn's task
            error = note_fault(turn)
            if not is_over:
                self._break(turn, error)

    def _carry_out(self, commands: list[Command]) -> None:
        """A command that fails ends the turn that it is about; the others are of other turns."""
        for command in commands:
            try:
                self._carry_out_one(command)
            except Exception:  # noqa: BLE001  # the root of what one command does
                self._contain(command)

    def _carry_out_one(self, command: Command) -> None:
        match command:
            case SendFrames(frames, response_id):
                account = self._accounts.get(response_id)
                self._outbox.put([encode_event(frame) for frame in frames], account)
                if account is not None:
                    account.note_told(frames)
            case StartTurn(turn):
                self._start(turn)
            case StopTurn(response_id):
                self._edge.runner.stop(response_id)
            case AnswerSteer(response_id, answer):
                self._edge.runner.answer_steer(response_id, answer)
            case CancelTurn(response_id):
                if response_id in self._turns:
                    self._turns[response_id].cancel()
            case CloseSocket(code, reason):
                self._outbox.put_close(code, reason)
            case _:
                assert_never(command)

    def _contain(self, command: Command) -> None:
        """Called in the handler of what the command raised."""
        account = None
        match command:
            case SendFrames(_, response_id) | StopTurn(response_id) | AnswerSteer(response_id):
                account = self._accounts.get(response_id)
            case StartTurn(turn):
                self._break(turn, note_fault(turn))
                if turn.response_id in self._accounts and turn.response_id not in self._turns:
                    self._outbox.put_end(self._accounts.pop(turn.response_id))
                return
            case CancelTurn() | CloseSocket():
                pass
            case _:
                assert_never(command)
        if account is None:
            self._note_fault()
            return
        self._break(account.turn, note_fault(account.turn))
        if account.turn.response_id in self._turns:
            self._turns[account.turn.response_id].cancel()

    def _break(self, turn: Turn, error: ApiError) -> None:
        """Ends a turn in which something failed, with what is sure to work. The session may have ended it already: then only
        the client has not heard of it."""
        account = self._accounts.get(turn.response_id)
        ended = broken_end(turn, error, next_number=account.next_number if account is not None else 0)
        event = ended.events[-1] if isinstance(ended, TurnEnded) else error_frame(error, stream_id=turn.stream_id)
        self._outbox.put([msgspec.json.encode(event)], account)
        self._outbox.flush_later()
        try:
            commands = self._session.update_turn(turn.response_id, ended, self._edge.clock())
        except Exception:  # noqa: BLE001 - what failed may be the session's own account of this turn
            self._note_fault()
            return
        is_own = [isinstance(each, SendFrames) and each.response_id == turn.response_id for each in commands]
        self._carry_out([each for each, own in zip(commands, is_own, strict=True) if not own])

    def _note_fault(self) -> ApiError:
        """Logs the exception that is being handled, which is about no turn that runs; the error of what was asked for."""
        _log.exception("frame_broke", request_id=self._request_id, session=self.session_id)
        return server_fault(self._request_id)

    def _start(self, turn: Turn) -> None:
        """A draining server starts nothing: the client gets an error, and close 1001 as soon as nothing runs."""
        if self._edge.drain.begun.is_set:
            self._refuse(turn.response_id, shutdown_error())
        else:
            self.turn_count += 1
            turn.meter.wire_in_bytes, wire_in_bytes = 0, turn.meter.wire_in_bytes
            if self._edge.continues_traces:
                note_trace(turn.meter, self._trace, turn.body)
            account = Account(self._edge.ledger, turn, self._wire, session=self._live)
            account.add_message(wire_in_bytes)
            self._accounts[turn.response_id] = account
            task = asyncio.create_task(self._run_turn(turn))
            self._turns[turn.response_id] = task
            task.add_done_callback(lambda _: self._forget(turn.response_id))

    def _forget(self, response_id: str) -> None:
        """Called when a turn's task is done, even if it was cancelled before its first step."""
        del self._turns[response_id]
        account = self._accounts.pop(response_id, None)
        if account is not None:
            self._outbox.put_end(account)
        self._outbox.flush_later()
        self._close_if_drained()

    def _close_if_drained(self) -> None:
        if self._edge.drain.begun.is_set and not self._turns:
            self._outbox.put_close(CLOSE_GOING_AWAY, "server is shutting down")
            self._outbox.flush_later()

    def _refuse(self, response_id: str, error: ApiError) -> None:
        self._carry_out(self._session.update_turn(response_id, TurnRefused(error), self._edge.clock()))

    def _give_up_turns(self) -> None:
        """The drain's grace is over: turns say that they fail, and those that take too long for that are aborted."""
        error = shutdown_error()
        for response_id, task in list(self._turns.items()):
            if not self._edge.runner.give_up(response_id, error):
                self._refuse(response_id, error)
                task.cancel()
        asyncio.get_running_loop().call_later(self._edge.drain.abort_s, self._abort_turns)

    def _abort_turns(self) -> None:
        for turn in self._turns.values():
            turn.cancel()

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
            await asyncio.wait(self._turns.values())
        await self._outbox.drop()
        self._edge.ledger.close_session(self.session_id)
        self._wire.when_lost(self._settle)

    def _settle(self) -> None:
        """The last byte is counted: what is no turn's is the socket's own."""
        live, wire = self._live, self._wire
        live.overhead_in_bytes, live.overhead_out_bytes = wire.overhead_in_bytes, wire.overhead_out_bytes
        self._edge.ledger.note_change(live)
        self._edge.ledger.add_overhead(live.overhead_in_bytes, live.overhead_out_bytes)
