"""Targets behind a Responses server's own WebSocket: each turn sends what is new to the socket that knows the rest."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

import aiohttp
import msgspec
import structlog

from landline.compression_budget import CompressionBudget
from landline.dialects.dialect import Prompt
from landline.dialects.responses import Responses
from landline.upstream.http import BEARER_HEADER, HttpDeadlines, HttpTarget, with_key
from landline.upstream.lane_turn import Again, LaneTurn
from landline.upstream.line_pool import LinePool
from landline.upstream.line_socket import LineSocket, open_line_socket, open_socket_session
from landline.upstream.lines import Lines
from landline.upstream.missing_key import MissingKey
from landline.upstream.oddities import OddityLog
from landline.upstream.redaction import redact
from landline.upstream.socket_settings import SocketSettings
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
        name: str,
        base_url: str,
        dialect: Responses,
        *,
        api_key: str | None = None,
        key_header: str = BEARER_HEADER,
        headers: Mapping[str, str] | None = None,
        key_envs: Sequence[str] = (),
        settings: SocketSettings | None = None,
        deadlines: HttpDeadlines | None = None,
        compression: CompressionBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`compression` bounds what the sockets' windows take; without it, they have the default budget.
        `key_envs` are the variables that usually hold the key of this vendor: told where one is missing."""
        self.name = name
        self.sent = SentTurns()
        self._url = base_url.rstrip("/") + _PATH
        self._dialect = dialect
        self._headers = with_key(headers or {}, api_key, key_header)
        self._secrets = (api_key,) if api_key else ()
        self._missing_key = MissingKey(name, self._headers, key_header, key_envs)
        self._settings = settings or SocketSettings()
        self._deadlines = deadlines or HttpDeadlines()
        self._oddities = OddityLog(name)
        self._compression = compression or CompressionBudget()
        self._clock = clock
        lines = Lines(
            self._settings,
            sends_deltas=dialect.flags.deltas,
            keeps_instructions=dialect.flags.instructions_with_previous == "omit",
        )
        self._pool = LinePool(lines, self._open_socket, clock)
        self._http = HttpTarget(
            name,
            base_url,
            dialect,
            api_key=api_key,
            key_header=key_header,
            headers=headers,
            key_envs=key_envs,
            deadlines=deadlines,
        )
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

    async def count_tokens(self, prompt: Prompt) -> int | ApiError:
        """What the server's own counter says, over HTTP."""
        return await self._http.count_tokens(prompt)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        """Runs one turn. Closing the generator closes the socket, which stops the model; if other turns run on it, the
        upstream finishes this one for nobody."""
        if prompt.request.is_warm_up and self._dialect.flags.warm_up == "skip":
            yield [Accepted(), UsageReported(0, 0), Finished()]
            return
        if self._session is None:
            yield [Failed(api_error("upstream_unavailable", f"Target {self.name!r} is not open."))]
            return
        before: Again | None = None
        while self._clock() >= self._http_until and not (before is not None and before.goes_over_http):
            turn = LaneTurn(
                self.name,
                prompt,
                self._pool,
                self._dialect,
                before=before,
                max_frame_bytes=self._settings.max_frame_bytes,
                deadlines=self._deadlines,
                oddities=self._oddities,
            )
            async with contextlib.aclosing(turn.run()) as batches:
                async for batch in batches:
                    yield self._missing_key.explain_last(redact(batch, self._secrets))
            if turn.again is None:
                self._count(turn)
                return
            before = turn.again
            self._note(before, prompt)
        self.sent.over_http += 1
        async with contextlib.aclosing(self._http.stream(prompt)) as batches:
            async for batch in batches:
                yield batch

    def _count(self, turn: LaneTurn) -> None:
        if turn.is_delta:
            self.sent.deltas += 1
        else:
            self.sent.whole += 1

    def _note(self, again: Again, prompt: Prompt) -> None:
        if again.is_refused:
            self._http_until = self._clock() + self._settings.http_fallback_s
        kind = "sent_over_http" if again.goes_over_http else "sent_again"
        prompt.meter.resends += not again.goes_over_http
        _log.info(kind, target=self.name, response_id=prompt.response_id, reason=again.reason)

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
