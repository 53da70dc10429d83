"""Targets behind HTTP: one request a turn, its answer read as it comes in."""

from collections.abc import Mapping

from landline.dialects.dialect import Dialect, Prompt, RelayingDialect
from landline.upstream.counting import Counters, count_by_reading
from landline.upstream.endpoint import MissingKey, TargetEndpoint
from landline.upstream.http_reply import HttpReply, HttpServer, RelayedReply, open_session
from landline.upstream.oddities import OddityLog
from landline.upstream.target import KnownReply, Reply, Traffic
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Accepted, Failed, Finished, UsageReported


class HttpTarget:
    """A target that a dialect describes and HTTP reaches."""

    def __init__(self, endpoint: TargetEndpoint, dialect: Dialect) -> None:
        self.name = endpoint.name
        self._endpoint = endpoint
        self._base_url = endpoint.base_url.rstrip("/")
        self._dialect = dialect
        self._relaying = dialect if isinstance(dialect, RelayingDialect) else None
        """The dialect, if it is one that relays; asking a protocol costs too much for every turn."""
        self._missing_key = MissingKey(endpoint)
        self._counters = Counters()
        self._oddities = OddityLog(endpoint.name)
        self._server: HttpServer | None = None
        """None while the target is not open."""

    @property
    def compacts(self) -> bool:
        return self._dialect.compacts

    async def open(self) -> None:
        """Makes the pool of connections; none is opened before the first turn."""
        self._server = HttpServer(
            name=self.name,
            session=open_session(self._endpoint.deadlines),
            base_url=self._base_url,
            decode_error=self._decode_error,
            oddities=self._oddities,
            headers=self._endpoint.sent_headers,
            secrets=self._endpoint.secrets,
            deadlines=self._endpoint.deadlines,
        )

    async def close(self) -> None:
        """Closes all connections."""
        if self._server is not None:
            await self._server.session.close()
            self._server = None

    def is_ready(self) -> bool:
        return self._server is not None

    async def count_tokens(self, prompt: Prompt, traffic: Traffic) -> int | ApiError:
        """What the server's own counter says; without one, what it reports after it read the prompt, which costs that."""
        requests = self._dialect.count_requests(prompt)
        if isinstance(requests, ApiError):
            return requests
        if self._server is not None:
            count = await self._counters.count(self._server.session, self._base_url, requests, self._server.headers)
            if count is not None:
                return count
        return await count_by_reading(self.ask, prompt, traffic)

    def ask(self, prompt: Prompt) -> Reply:
        """The reply to one turn. Closing it closes the upstream connection, which stops the model."""
        if prompt.request.is_warm_up and not self._dialect.prefills_warm_up:
            return KnownReply(Accepted(), UsageReported(0, 0), Finished())
        request = self._dialect.build_request(prompt)
        if isinstance(request, ApiError):
            return KnownReply(Failed(request))
        if self._server is None:
            return KnownReply(Failed(api_error("upstream_unavailable", f"Target {self.name!r} is not open.")))
        if self._relaying is not None:
            return RelayedReply(self._server, self._relaying, prompt, request)
        return HttpReply(self._server, request, self._dialect.open_decoder(prompt), response_id=prompt.response_id)

    def _decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        return self._missing_key.explain(self._dialect.decode_error(status, headers, body))
