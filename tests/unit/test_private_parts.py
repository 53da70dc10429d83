"""The internals of uvicorn, websockets and aiohttp that Landline overrides, calls or sets are as it expects them.

They are no public interface, so each of the three has an upper bound in pyproject.toml. A new version is tried by raising
the bound: where one of these tests fails, read that class anew and what Landline does with it, then correct both. What is
searched for in pip's source is looked for here too.
"""

# pyright: reportPrivateUsage=false

import asyncio
import functools
import inspect
import tomllib
import zlib
from collections import deque
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
import uvicorn
from aiohttp.client_proto import ResponseHandler
from aiohttp.compression_utils import ZLibCompressor
from aiohttp.http import WebSocketWriter
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from landline.compression_budget import CompressionBudget
from landline.engine import index_settings
from landline.server import lifecycle
from landline.server.compression import LineDeflate, LineDeflateFactory
from landline.server.http_protocol import HttpProtocol
from landline.server.line_protocol import CountingProtocol, LineProtocol
from landline.upstream.counted import CountedConnection, CountedResponse, CountingConnector
from landline.upstream.line_socket import LineCompressor, LineDeflated

ROOT = Path(__file__).parents[2]

OVERRIDDEN: dict[type, dict[str, str]] = {
    HttpProtocol: {
        "connection_made": "(self, transport)",
        "data_received": "(self, data)",
        "eof_received": "(self)",
        "connection_lost": "(self, exc)",
        "shutdown": "(self)",
        "on_message_begin": "(self)",
        "on_headers_complete": "(self)",
        "on_body": "(self, body)",
        "on_message_complete": "(self)",
        "send_400_response": "(self, msg)",
        "_should_upgrade": "(self)",
        "_start_asgi_task": "(self, cycle, app)",
    },
    LineProtocol: {
        "__init__": "(self, config, server_state, app_state, _loop)",
        "connection_made": "(self, transport)",
        "data_received": "(self, data)",
        "handle_connect": "(self, event)",
        "send": "(self, message)",
        "send_receive_event_to_app": "(self)",
        "handle_parser_exception": "(self)",
        "connection_lost": "(self, exc)",
        "keepalive_timeout": "(self)",
        "run_asgi": "(self)",
        "shutdown": "(self)",
    },
    lifecycle._Uvicorn: {
        "__init__": "(self, config)",
        "capture_signals": "(self)",
        "startup": "(self, sockets)",
        "on_tick": "(self, counter)",
        "shutdown": "(self, sockets)",
    },
    CountingProtocol: {
        "__init__": "(self, origins, extensions, subprotocols, select_subprotocol, state, max_size, logger)",
        "accept": "(self, request)",
        "receive_data": "(self, data)",
        "recv_frame": "(self, frame)",
    },
    LineDeflateFactory: {
        "__init__": (
            "(self, server_no_context_takeover, client_no_context_takeover, server_max_window_bits, "
            "client_max_window_bits, compress_settings, require_client_max_window_bits)"
        ),
        "process_request_params": "(self, params, accepted_extensions)",
    },
    LineDeflate: {
        "__init__": (
            "(self, remote_no_context_takeover, local_no_context_takeover, remote_max_window_bits, "
            "local_max_window_bits, compress_settings)"
        ),
        "encode": "(self, frame)",
    },
    CountedConnection: {
        "__init__": "(self, loop)",
        "connection_made": "(self, transport)",
        "set_response_params": (
            "(self, timer, skip_payload, read_until_eof, auto_decompress, read_timeout, read_bufsize, "
            "timeout_ceil_threshold, max_line_size, max_field_size, max_headers)"
        ),
        "eof_received": "(self)",
        "connection_lost": "(self, exc)",
        "data_received": "(self, data)",
        "pause_reading": "(self)",
        "resume_reading": "(self, resume_parser)",
    },
    CountedResponse: {"start": "(self, connection)"},
    CountingConnector: {
        "__init__": (
            "(self, verify_ssl, fingerprint, use_dns_cache, ttl_dns_cache, dns_cache_max_size, family, ssl_context, ssl, "
            "local_addr, resolver, keepalive_timeout, force_close, limit, limit_per_host, enable_cleanup_closed, loop, "
            "timeout_ceil_threshold, happy_eyeballs_delay, interleave, socket_factory, ssl_shutdown_timeout)"
        )
    },
    LineDeflated: {
        "__init__": (
            "(self, reader, writer, protocol, response, timeout, autoclose, autoping, loop, heartbeat, compress, "
            "client_notakeover)"
        )
    },
    LineCompressor: {
        "__init__": ("(self, encoding, suppress_deflate_header, level, wbits, strategy, executor, max_sync_chunk_size)")
    },
}
"""Each class of ours, and what it overrides of its base, with the parameters that the base has."""


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers nothing, for ever."""
    await asyncio.Event().wait()


def _nothing(_name: str, default: object = None) -> object:
    return default


def transport() -> Any:
    """An open transport that nobody writes to."""
    made = Mock(spec=asyncio.Transport)
    made.get_extra_info.side_effect = _nothing
    made.is_closing.return_value = False
    return made


@pytest.fixture
async def http() -> AsyncGenerator[HttpToolsProtocol]:
    """A connection of uvicorn's own, open; its requests are given up at the end."""
    protocol = HttpToolsProtocol(uvicorn.Config(application), ServerState(), {}, asyncio.get_running_loop())
    protocol.connection_made(transport())
    yield protocol
    for task in protocol.tasks:
        task.cancel()
    await asyncio.gather(*protocol.tasks, return_exceptions=True)


def assert_has(part: object, **kinds: type | tuple[type, ...]) -> None:
    """Names everything that is missing, or of another type, at once."""
    wrong = [name for name, kind in kinds.items() if not isinstance(getattr(part, name, ...), kind)]
    assert not wrong, f"{type(part).__module__}.{type(part).__name__} has not, or has otherwise: {', '.join(wrong)}"


@pytest.mark.parametrize("ours", OVERRIDDEN, ids=lambda ours: ours.__name__)
def test_what_is_overridden_has_the_parameters_that_are_expected(ours: type) -> None:
    base = ours.__bases__[0]
    base = getattr(base, "__origin__", base)
    for name, parameters in OVERRIDDEN[ours].items():
        found = getattr(base, name, None)
        assert found is not None, f"{base.__name__} has no `{name}` any more, which {ours.__name__} overrides"
        has = f"({', '.join(inspect.signature(found).parameters)})"
        assert has == parameters, f"{base.__name__}.{name} has other parameters"


@pytest.mark.parametrize("ours", OVERRIDDEN, ids=lambda ours: ours.__name__)
def test_everything_that_is_overridden_is_listed_here(ours: type) -> None:
    base = ours.__bases__[0]
    inherited = {name for name in vars(ours) if callable(getattr(base, name, None))}
    own = {name for name in inherited if name == "__init__" or not name.startswith("__")}
    assert own == set(OVERRIDDEN[ours])


@pytest.mark.parametrize("package", ["uvicorn", "websockets", "aiohttp"])
def test_a_package_whose_internals_are_used_has_an_upper_bound(package: str) -> None:
    needs: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    [need] = [need for need in needs if need.startswith((f"{package}>", f"{package}<", f"{package}="))]
    assert ",<" in need


async def test_uvicorns_http_protocol_has_what_is_used_of_it(http: HttpToolsProtocol) -> None:
    assert_has(http, pipeline=deque, loop=asyncio.AbstractEventLoop, server_state=ServerState)
    for method in ("_unset_keepalive_if_required", "_should_upgrade_to_ws", "handle_websocket_upgrade"):
        assert not inspect.signature(getattr(http, method)).parameters, method
    http.data_received(b"POST /p?q HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{")
    assert_has(http, scope=dict, cycle=RequestResponseCycle)
    assert http.headers is http.scope["headers"]  # `on_headers_complete` changes them in place
    assert http.url == b"/p?q"
    assert isinstance(http.server_state.default_headers, list)
    assert STATUS_LINE[400].startswith(b"HTTP/1.1 400 ")


async def test_uvicorns_request_has_what_is_used_of_it(http: HttpToolsProtocol) -> None:
    http.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n{")
    cycle = http.cycle
    assert_has(
        cycle,
        scope=dict,
        message_event=asyncio.Event,
        disconnected=bool,
        keep_alive=bool,
        more_body=bool,
        response_started=bool,
        response_complete=bool,
        waiting_for_100_continue=bool,
        chunked_encoding=(bool, type(None)),
        expected_content_length=int,
    )
    assert cycle.more_body
    assert cycle.waiting_for_100_continue


async def test_uvicorn_puts_a_request_that_waits_in_the_pipeline_with_its_application(http: HttpToolsProtocol) -> None:
    http.data_received(2 * b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    [(waiting, app)] = http.pipeline
    assert isinstance(waiting, RequestResponseCycle)
    assert callable(app)


async def test_uvicorns_socket_protocol_has_what_is_used_of_it() -> None:
    config = uvicorn.Config(application)
    assert_has(config, ws_max_size=int, ws_per_message_deflate=bool)
    protocol = WebSocketsSansIOProtocol(config, ServerState(), {}, asyncio.get_running_loop())
    assert_has(
        protocol,
        conn=ServerProtocol,
        queue=asyncio.Queue,
        writable=asyncio.Event,
        connections=set,
        loop=asyncio.AbstractEventLoop,
        handshake_complete=bool,
        disconnected=bool,
        close_sent=bool,
        close_timer=(asyncio.TimerHandle, type(None)),
    )
    assert protocol.writable.is_set()
    for method in ("handle_events", "stop_keepalive"):
        assert not inspect.signature(getattr(protocol, method)).parameters, method
    assert issubclass(ClientDisconnected, OSError)


async def test_uvicorn_takes_a_partial_for_a_socket_protocol() -> None:
    protocol = functools.partial(LineProtocol, budget=CompressionBudget())
    config = uvicorn.Config(application, ws=protocol)  # pyright: ignore[reportArgumentType]
    config.load()
    assert config.ws_protocol_class is protocol


async def test_uvicorns_server_has_what_is_used_of_it() -> None:
    server = uvicorn.Server(uvicorn.Config(application))
    assert_has(server, started=bool, should_exit=bool, server_state=ServerState)
    assert_has(server.server_state, connections=set)
    assert "sockets" in inspect.signature(server.serve).parameters


def test_websockets_protocol_has_what_is_used_of_it() -> None:
    protocol = ServerProtocol()
    assert_has(protocol, reader=StreamReader, extensions=list)
    assert_has(protocol.reader, buffer=bytearray)
    assert protocol.parser_exc is None
    assert protocol.close_sent is None
    assert protocol.data_to_send() == []


def test_websockets_reads_a_frame_out_of_its_buffer_before_it_tells_of_it() -> None:
    left: list[int] = []

    class Protocol(ServerProtocol):
        def recv_frame(self, frame: Frame) -> None:
            left.append(len(self.reader.buffer))
            super().recv_frame(frame)

    protocol = Protocol(state=OPEN)
    frames = [Frame(Opcode.TEXT, text).serialize(mask=True) for text in (b"one", b"three")]
    protocol.receive_data(b"".join(frames))
    assert left == [len(frames[1]), 0]


def test_websockets_keeps_its_inflater_in_an_attribute_that_can_be_dropped() -> None:
    deflate = PerMessageDeflate(False, False, 15, 15)
    assert_has(deflate, remote_no_context_takeover=bool, local_no_context_takeover=bool)
    assert_has(deflate, remote_max_window_bits=int, local_max_window_bits=int)
    assert "decoder" in vars(deflate)  # `LineDeflate.close` gives its memory back


def test_websockets_answers_an_offer_with_the_extension_that_was_agreed() -> None:
    factory = ServerPerMessageDeflateFactory(client_max_window_bits=15)
    answer, agreed = factory.process_request_params([("client_max_window_bits", None)], [])
    assert answer == [("client_max_window_bits", "15")]
    assert isinstance(agreed, PerMessageDeflate)


async def test_aiohttps_connector_makes_its_connections_by_a_factory_that_can_be_replaced() -> None:
    async with aiohttp.TCPConnector() as connector:
        assert connector._loop is asyncio.get_running_loop()
        factory: Any = connector._factory
        assert factory.func is ResponseHandler
        assert factory.keywords == {"loop": connector._loop}


async def test_aiohttps_connection_has_a_read_timeout_that_can_be_dropped() -> None:
    connection = ResponseHandler(asyncio.get_running_loop())
    connection.read_timeout = 1.0
    connection.read_timeout = None
    assert connection.read_timeout is None


async def test_aiohttps_socket_compresses_with_the_compressor_that_its_writer_has() -> None:
    protocol = Mock(transport=transport())
    writer = WebSocketWriter(protocol, protocol.transport, compress=15)
    assert writer.protocol is protocol
    assert writer._compressobj is None
    ours = writer._compressobj = LineCompressor(15, 8)
    assert writer._get_compressor(None) is ours
    timeout, loop = aiohttp.ClientWSTimeout(), asyncio.get_running_loop()
    socket = aiohttp.ClientWebSocketResponse(Mock(), writer, None, Mock(), timeout, True, True, loop, compress=15)
    assert socket._writer is writer
    assert socket.compress == 15


async def test_aiohttps_compressor_writes_with_the_zlib_object_that_it_has() -> None:
    compressor = ZLibCompressor(wbits=-15)
    compressor._compressor = zlib.compressobj(0, zlib.DEFLATED, -15)  # pyright: ignore[reportAttributeAccessIssue]
    written = await compressor.compress(b"stored as it is") + compressor.flush(zlib.Z_SYNC_FLUSH)
    assert b"stored as it is" in written


def test_pip_names_its_index_in_the_module_that_is_searched_for_it() -> None:
    pip = pytest.importorskip("pip")
    source = (Path(pip.__file__).parents[1] / index_settings._INDEX_MODULE).read_text()
    assert index_settings._INDEX.search(source) is not None
