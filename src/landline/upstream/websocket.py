"""Targets behind a Responses server's own WebSocket: each turn sends what is new to the socket that knows the rest."""

import asyncio
import time
from collections.abc import Callable, Mapping

import aiohttp
import msgspec
import structlog

from landline.compression_budget import CompressionBudget
from landline.dialects.dialect import Prompt
from landline.dialects.responses import Responses
from landline.upstream.endpoint import MissingKey, TargetEndpoint
from landline.upstream.http import HttpTarget
from landline.upstream.lane_turn import Again, LaneTurn, SocketUpstream
from landline.upstream.line_pool import LinePool
from landline.upstream.line_socket import LineSocket, open_line_socket, open_socket_session
from landline.upstream.lines import Lines
from landline.upstream.oddities import OddityLog
from landline.upstream.redaction import redact
from landline.upstream.socket_settings import SocketSettings
from landline.upstream.target import KnownReply, Reply, Traffic
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Accepted, Failed, Finished, ModelEvent, UsageReported

_PATH = "/responses"
_SWEEPS_PER_IDLE_TIME = 4
"""How often, while an idle socket may live, is looked for those that are over it."""

_log = structlog.stdlib.get_logger(__name__)


class SentTurns(msgspec.Struct):
    """How turns went to the upstream since the start; one that was sent again counts as what it was then."""

    deltas: int = 0
    whole: int = 0
    """With all their history, over a socket."""
    over_http: int = 0


class ResponsesSocketTarget:
    """A Responses server, reached over its sockets; over HTTP where it takes none, or not a frame that large.

    A turn that its upstream refuses for what it no longer knows, or whose socket is lost before anything was passed on, is
    sent again once, in full. Nobody hears of that but the log.
    """

    def __init__(
        self,
        endpoint: TargetEndpoint,
        dialect: Responses,
        *,
        settings: SocketSettings | None = None,
        compression: CompressionBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`compression` bounds what the sockets' windows take; without it, they have the default budget."""
        self.name = endpoint.name
        self.sent = SentTurns()
        self._url = endpoint.base_url.rstrip("/") + _PATH
        self._dialect = dialect
        self._headers = endpoint.sent_headers
        self._secrets = endpoint.secrets
        self._missing_key = MissingKey(endpoint)
        self._settings = settings or SocketSettings()
        self._deadlines = endpoint.deadlines
        self._compression = compression or CompressionBudget()
        self._clock = clock
        lines = Lines(
            self._settings,
            sends_deltas=dialect.flags.deltas,
            keeps_instructions=dialect.flags.instructions_with_previous == "omit",
        )
        self._pool = LinePool(lines, self._open_socket, clock)
        self._upstream = SocketUpstream(
            name=endpoint.name,
            pool=self._pool,
            dialect=dialect,
            oddities=OddityLog(endpoint.name),
            max_frame_bytes=self._settings.max_frame_bytes,
            deadlines=self._deadlines,
        )
        self._http = HttpTarget(endpoint, dialect)
        self._http_until = float("-inf")
        self._session: aiohttp.ClientSession | None = None
        self._sweeping: asyncio.Task[None] | None = None

    @property
    def compacts(self) -> bool:
        return self._dialect.compacts

    @property
    def open_sockets(self) -> int:
        """Upstream sockets that are open now."""
        return self._pool.open_count

    async def open(self) -> None:
        """Makes ready; no socket is opened before the first turn."""
        self._session = open_socket_session()
        self._sweeping = asyncio.create_task(self._sweep())
        await self._http.open()

    async def close(self) -> None:
        """Closes all sockets and connections."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait({self._sweeping})
        await self._pool.close()
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self._http.close()

    def is_ready(self) -> bool:
        return self._session is not None

    def close_idle(self) -> None:
        """Closes the sockets that are too old, or idle for too long."""
        self._pool.close_idle()

    async def count_tokens(self, prompt: Prompt, traffic: Traffic) -> int | ApiError:
        """What the server's own counter says, over HTTP."""
        return await self._http.count_tokens(prompt, traffic)

    def ask(self, prompt: Prompt) -> Reply:
        """The reply to one turn. Closing it closes the socket, which stops the model; if other turns run on it, the
        upstream finishes this one for nobody."""
        if prompt.request.is_warm_up and self._dialect.flags.warm_up == "skip":
            return KnownReply(Accepted(), UsageReported(0, 0), Finished())
        if self._session is None:
            return KnownReply(Failed(api_error("upstream_unavailable", f"Target {self.name!r} is not open.")))
        return _SocketReply(self, prompt)

    def open_turn(self, prompt: Prompt, traffic: Traffic, before: Again | None) -> LaneTurn | None:
        """The next try on a socket; None if the turn has to go over HTTP."""
        if self._clock() < self._http_until or (before is not None and before.goes_over_http):
            return None
        return LaneTurn(self._upstream, prompt, traffic, before)

    def note_opened(self, turn: LaneTurn) -> None:
        """A turn is answered on a socket."""
        if turn.is_delta:
            self.sent.deltas += 1
        else:
            self.sent.whole += 1

    def note_again(self, again: Again, response_id: str) -> None:
        """A turn is tried once more."""
        if again.is_refused:
            self._http_until = self._clock() + self._settings.http_fallback_s
        kind = "sent_over_http" if again.goes_over_http else "sent_again"
        _log.info(kind, target=self.name, response_id=response_id, reason=again.reason)

    def ask_over_http(self, prompt: Prompt) -> Reply:
        """The reply to a turn that no socket takes."""
        self.sent.over_http += 1
        return self._http.ask(prompt)

    def clean(self, batch: list[ModelEvent]) -> list[ModelEvent]:
        """A batch whose error, if it has one, holds no key and says what to do where one is missing."""
        return self._missing_key.explain_last(redact(batch, self._secrets))

    async def _open_socket(self, headers: Mapping[str, str], on_closed: Callable[[], None]) -> LineSocket:
        assert self._session is not None
        return await open_line_socket(
            self._session,
            self._url,
            {**headers, **self._headers},
            has_lanes=self._settings.lanes > 1,
            connect_s=self._deadlines.connect_s,
            ping_s=self._settings.ping_s,
            on_closed=on_closed,
            budget=self._compression,
        )

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._settings.idle_close_s / _SWEEPS_PER_IDLE_TIME)
            self.close_idle()


class _SocketReply:
    """One turn: tried on sockets until one answers it or it is known that none does, then over HTTP."""

    def __init__(self, target: ResponsesSocketTarget, prompt: Prompt) -> None:
        self._target = target
        self._prompt = prompt
        self._traffic = Traffic()
        self._turn: LaneTurn | None = None
        self._http: Reply | None = None

    @property
    def traffic(self) -> Traffic:
        total = msgspec.structs.replace(self._traffic)
        if self._http is not None:
            total.add(self._http.traffic)
        return total

    @property
    def has_more(self) -> bool:
        reply = self._http or self._turn
        return reply is not None and reply.has_more

    async def open(self) -> list[ModelEvent]:
        target, before = self._target, None
        while (turn := target.open_turn(self._prompt, self._traffic, before)) is not None:
            self._turn = turn
            batch = await turn.open()
            if turn.again is None:
                target.note_opened(turn)
                return target.clean(batch)
            turn.close()
            before = turn.again
            self._traffic.resends += not before.goes_over_http
            target.note_again(before, self._prompt.response_id)
        self._http = target.ask_over_http(self._prompt)
        return await self._http.open()

    async def read(self) -> list[ModelEvent]:
        if self._http is not None:
            return await self._http.read()
        return self._target.clean(await self._turn.read()) if self._turn is not None else []

    async def close(self) -> None:
        if self._turn is not None:
            self._turn.close()
        if self._http is not None:
            await self._http.close()
