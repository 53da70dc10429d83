"""The transport that AIPerf's workers use: one request in, one record out."""

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson
from aiperf.common.enums import ConnectionReuseStrategy, CreditPhase
from aiperf.common.hooks import on_stop  # pyright: ignore[reportUnknownVariableType]
from aiperf.common.models import ErrorDetails, RequestInfo, RequestRecord, TextResponse
from aiperf.common.redact import redact_headers
from aiperf.plugin.schema.schemas import TransportMetadata
from aiperf.transports.aiohttp_transport import AioHttpTransport
from aiperf.transports.base_transports import BaseTransport, FirstTokenCallback

from aiperf_responses_websocket.exchange import Json, RequestFailedError
from aiperf_responses_websocket.lines import Lines
from aiperf_responses_websocket.settings import TransportSettings
from aiperf_responses_websocket.trace import trace_of
from aiperf_responses_websocket.turn import GivenUpError, Turn, TurnRequest

_CLIENT_CLOSED_REQUEST = 499  # the status that AIPerf gives to what it cancels
_REQUEST_TIMEOUT = 408
_BAD_GATEWAY = 502
_NS = 1e9
_SCHEMES = {"http": "ws", "https": "wss"}


class ResponsesWebSocketTransport(BaseTransport):
    """Sends each turn on the socket of its conversation, and gives AIPerf the events as it has those of a stream over HTTP."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # pyright: ignore[reportUnknownMemberType]
        endpoint = self.model_endpoint.endpoint
        self._settings = TransportSettings()
        self._lines = Lines(self._settings)
        self._http = AioHttpTransport(model_endpoint=self.model_endpoint)
        """Never started: it knows how AIPerf makes a URL."""
        self._is_one_turn_a_socket = endpoint.connection_reuse_strategy == ConnectionReuseStrategy.NEVER

    @on_stop
    async def _close_lines(self) -> None:
        await self._lines.close()

    @classmethod
    def metadata(cls) -> TransportMetadata:
        return TransportMetadata(transport_type="responses_websocket", url_schemes=["ws", "wss"])

    def get_url(self, request_info: RequestInfo) -> str:
        """The URL that the HTTP transport would use, with a socket's scheme."""
        parts = urlsplit(self._http.get_url(request_info))
        return urlunsplit(parts._replace(scheme=_SCHEMES.get(parts.scheme, parts.scheme)))

    async def send_request(
        self,
        request_info: RequestInfo,
        payload: Json | bytes,
        *,
        first_token_callback: FirstTokenCallback | None = None,
    ) -> RequestRecord:
        """The record of one turn. A request that fails is a record with an error, never an exception."""
        request = self._read(request_info, payload)
        turn = Turn(self._lines, self._settings, request, first_token_callback)
        response, error = None, None
        try:
            async with asyncio.timeout(self.model_endpoint.endpoint.timeout or None):
                give_up_ns = request_info.cancel_after_ns
                response = await turn.run(give_up_s=None if give_up_ns is None else give_up_ns / _NS)
        except RequestFailedError as failure:
            error = ErrorDetails(code=failure.status or _BAD_GATEWAY, type=failure.code, message=str(failure))
        except GivenUpError:
            error = ErrorDetails(
                code=_CLIENT_CLOSED_REQUEST, type="RequestCancellationError", message="The request was cancelled."
            )
        except TimeoutError:
            error = ErrorDetails(code=_REQUEST_TIMEOUT, type="TimeoutError", message="The request timed out.")
        finally:
            if response is None and turn.seat is not None:
                self._leave(turn, error)
            if request_info.is_final_turn or self._is_one_turn_a_socket:
                self._lines.release(request.conversation_id)
        return self._record(turn, request, response, error)

    def _read(self, request_info: RequestInfo, payload: Json | bytes) -> TurnRequest:
        return TurnRequest(
            url=self.build_url(request_info),
            headers=self.build_headers(request_info),
            payload=orjson.loads(payload) if isinstance(payload, bytes) else payload,
            conversation_id=request_info.x_correlation_id,
            parent_id=request_info.parent_correlation_id,
            root_id=request_info.root_correlation_id,
            is_first=request_info.turn_index == 0,
            is_warm_up=request_info.credit_phase == CreditPhase.WARMUP,
        )

    def _leave(self, turn: Turn, error: ErrorDetails | None) -> None:
        """After a request that was given up: its events may still come."""
        is_given_up = error is None or error.code in (_CLIENT_CLOSED_REQUEST, _REQUEST_TIMEOUT)
        if is_given_up and turn.seat is not None:
            self._lines.abandon(turn.seat)

    def _record(
        self, turn: Turn, request: TurnRequest, response: Json | None, error: ErrorDetails | None
    ) -> RequestRecord:
        messages = turn.exchange.messages if turn.exchange is not None else []
        ended_ns = messages[-1].perf_ns if response is not None and messages else time.perf_counter_ns()
        record = RequestRecord(
            request_headers=redact_headers(dict(request.headers)),
            timestamp_ns=turn.times.started_at_ns,
            start_perf_ns=turn.times.started_ns,
            recv_start_perf_ns=messages[0].perf_ns if messages else None,
            end_perf_ns=ended_ns,
            status=200 if error is None else error.code,
            error=error,
            trace_data=trace_of(turn, collects_chunks=self.model_endpoint.endpoint.collect_trace_chunks),
        )
        if self.model_endpoint.endpoint.streaming:
            record.responses.extend(messages)
        elif response is not None:
            text = orjson.dumps(response).decode()
            record.responses.append(TextResponse(perf_ns=ended_ns, content_type="application/json", text=text))
        if error is not None and error.code == _CLIENT_CLOSED_REQUEST:
            record.cancellation_perf_ns = ended_ns
        return record
