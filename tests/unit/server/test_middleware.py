"""Every path is behind the gate: nothing is read or accepted before it, and pages that are allowed can read each answer."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from landline.app import build_app
from landline.compression_budget import CompressionBudget
from landline.config import Config
from landline.config.settings import ServerSettings
from landline.server.access import Access
from landline.server.asgi import Methods
from landline.server.middleware import SamePath
from landline.session.turn import Turn, TurnUpdate
from support.servers.edge import RunningEdge, create, create_frame, running_edge, saying

APP = "http://localhost:5173"
FOREIGN = "https://evil.example"
ALLOWING = Access.of("127.0.0.1", (), (APP,))


async def ask(
    edge: RunningEdge, method: str, path: str, headers: dict[str, str], body: object = None
) -> tuple[int, dict[str, str], str]:
    async with aiohttp.ClientSession(auto_decompress=True) as http:
        data = json.dumps(body).encode() if body is not None else None
        async with http.request(method, edge.http_url + path, headers=headers, data=data) as reply:
            values = {name.lower(): ", ".join(reply.headers.getall(name)) for name in reply.headers}
            return reply.status, values, await reply.text()


async def talk(edge: RunningEdge, *requests: bytes) -> bytes:
    """What a connection answers to these bytes until it is closed."""
    reader, writer = await asyncio.open_connection(edge.host, edge.port)
    for request in requests:
        writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def paths_of_the_server() -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    for route in build_app(Config()).asgi.routes:
        if isinstance(route, Route):
            assert isinstance(route.app, Methods)
            found += [("http", method, route.path) for method in (*route.app.answers, "PUT", "OPTIONS")]
        elif isinstance(route, WebSocketRoute):
            found.append(("websocket", "GET", route.path))
    return [*found, ("http", "POST", "/nowhere"), ("websocket", "GET", "/nowhere")]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"host", b"localhost"), (b"origin", b"null")], 403),
        ([(b"host", b"localhost"), (b"sec-fetch-site", b"cross-site")], 403),
        ([(b"host", b"evil.example:8080"), (b"origin", b"http://evil.example:8080")], 421),
        ([(b"host", b"localhost"), (b"host", b"localhost")], 400),
    ],
)
async def test_every_path_is_refused_before_anything_is_read(headers: list[tuple[bytes, bytes]], expected: int) -> None:
    app = build_app(Config()).asgi
    for kind, method, path in paths_of_the_server():
        sent: list[Any] = []

        async def receive(kind: str = kind) -> dict[str, str]:
            assert kind == "websocket", "a body was read"
            return {"type": "websocket.connect"}

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        scope: dict[str, Any] = {"type": kind, "path": path, "raw_path": path.encode(), "query_string": b""}
        scope |= {"headers": headers, "http_version": "1.1", "method": method, "server": ("127.0.0.1", 8080)}
        scope |= {"extensions": {"websocket.http.response": {}}, "subprotocols": [], "client": ("127.0.0.1", 1)}
        await app(scope, receive, send)
        prefix = "http.response" if kind == "http" else "websocket.http.response"
        assert [message["type"] for message in sent] == [f"{prefix}.start", f"{prefix}.body"], path
        assert sent[0]["status"] == expected, path
        names = [name for name, _ in sent[0]["headers"]]
        assert b"x-request-id" in names
        assert not any(name.startswith(b"access-control") for name in names)
        assert set(json.loads(sent[1]["body"])["error"]) == {"message", "type", "param", "code"}


async def test_socket_is_closed_where_the_server_can_give_no_answer() -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"origin", b"null")]
    scope = {"type": "websocket", "path": "/v1/responses", "headers": headers}
    await build_app(Config()).asgi(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"origin": FOREIGN}, 403, "origin_not_allowed"),
        ({"origin": "null"}, 403, "origin_not_allowed"),
        ({"sec-fetch-site": "cross-site"}, 403, "origin_not_allowed"),
        ({"host": "evil.example"}, 421, "host_not_allowed"),
    ],
)
async def test_refused_requests_run_no_turn(headers: dict[str, str], status: int, code: str) -> None:
    async with running_edge(saying("secret")) as edge:
        for kind in ("application/json", "text/plain"):
            answer = await ask(edge, "POST", "/v1/responses", {"content-type": kind, **headers}, create())
            assert (answer[0], json.loads(answer[2])["error"]["code"]) == (status, code)
            assert "secret" not in answer[2]
        url = f"ws://{headers.get('host', edge.host)}:{edge.port}/v1/responses"
        others = {name: value for name, value in headers.items() if name != "host"}
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, host=edge.host, port=edge.port, additional_headers=others)
        assert refused.value.response.status_code == status
        assert json.loads(refused.value.response.body or b"")["error"]["code"] == code
        assert "x-request-id" in refused.value.response.headers
        assert edge.runner.started == []


async def test_refusal_does_not_wait_for_the_body() -> None:
    head = b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\norigin: null\r\ncontent-type: text/plain\r\n"
    async with running_edge(saying("hi")) as edge:
        reader, writer = await asyncio.open_connection(edge.host, edge.port)
        writer.write(head + b"expect: 100-continue\r\ncontent-length: 1000000\r\n\r\n")
        assert await asyncio.wait_for(reader.readline(), 10) == b"HTTP/1.1 403 Forbidden\r\n"
        writer.close()


async def test_each_request_of_a_connection_is_checked_by_itself() -> None:
    """Kept alive or sent ahead, a good first request vouches for none behind it."""
    good = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
    rebound = b"GET /health HTTP/1.1\r\nhost: evil.example\r\n\r\n"
    foreign = b"GET /health HTTP/1.1\r\nhost: localhost\r\norigin: null\r\n\r\n"
    last = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    async with running_edge(saying("hi")) as edge:
        assert statuses(await talk(edge, good, rebound, good, foreign, last)) == [200, 421, 200, 403, 200]


async def test_upgrade_behind_a_good_request_is_checked_too() -> None:
    good = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
    upgrade = (
        b"GET /v1/responses HTTP/1.1\r\nhost: localhost\r\norigin: null\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    async with running_edge(saying("hi")) as edge:
        reader, writer = await asyncio.open_connection(edge.host, edge.port)
        writer.write(good)
        answer = await reader.readuntil(b"}")
        writer.write(upgrade)
        answer += await asyncio.wait_for(reader.read(), 10)
        writer.close()
    assert statuses(answer) == [200, 403]


@pytest.mark.parametrize(
    ("version", "host", "expected"),
    [
        (b"1.0", b"", [200]),
        (b"1.1", b"", [400]),
        (b"1.1", b"host: localhost\r\nhost: evil.example\r\n", [400]),
        (b"1.1", b"host: localhost\r\nHOST: localhost\r\n", [400]),
        (b"1.1", b"host: \r\n", [400]),
        (b"1.0", b"host: evil.example\r\n", [421]),
    ],
)
async def test_host_is_required_once_since_http_1_1(version: bytes, host: bytes, expected: list[int]) -> None:
    request = b"GET /health HTTP/%s\r\n%sconnection: close\r\n\r\n" % (version, host)
    async with running_edge(saying("hi")) as edge:
        assert statuses(await talk(edge, request)) == expected


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        (b"http://localhost:1/health", b"localhost:1", [200]),
        (b"HTTP://LOCALHOST/health?a=b", b"localhost", [200]),
        (b"http://evil.example/health", b"evil.example", [421]),
        (b"http://evil.example/health", b"localhost", [400]),
        (b"http://localhost/health", b"evil.example", [400]),
        (b"http://evil.example?/health", b"evil.example", [421]),
        (b"http://localhost@evil.example/health", b"localhost@evil.example", [400]),
        (b"//evil.example/health", b"localhost", [404]),
    ],
)
async def test_url_as_a_target_names_the_host(target: bytes, host: bytes, expected: list[int]) -> None:
    upgrade = (
        b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    )
    requests = [
        b"GET %s HTTP/1.1\r\nhost: %s\r\n%s\r\n" % (target, host, extra)
        for extra in (b"connection: close\r\n", b"upgrade: h2c\r\nconnection: upgrade, close\r\n", upgrade)
    ]
    async with running_edge(saying("hi")) as edge:
        answers = [statuses(await talk(edge, request)) for request in requests]
    assert answers == [expected, expected, [404] if expected == [200] else expected]


async def test_url_as_a_target_opens_a_socket() -> None:
    request = (
        b"GET http://localhost/v1/responses HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n"
        b"connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    async with running_edge(saying("hi")) as edge:
        reader, writer = await asyncio.open_connection(edge.host, edge.port)
        writer.write(request)
        assert await asyncio.wait_for(reader.readline(), 10) == b"HTTP/1.1 101 Switching Protocols\r\n"
        writer.close()


async def test_pages_body_must_be_json() -> None:
    async with running_edge(saying("hi")) as edge:
        for origin in (edge.http_url, APP):
            for path in ("/v1/responses", "/v1/conversations", "/v1/responses/resp_1/cancel"):
                headers = {"origin": origin, "content-type": "text/plain"}
                status, _, text = await ask(edge, "POST", path, headers, create())
                expected = (415, "unsupported_media_type") if origin != APP else (403, "origin_not_allowed")
                assert (status, json.loads(text)["error"]["code"]) == expected
        headers = {"origin": edge.http_url, "content-type": "application/json; charset=utf-8"}
        assert (await ask(edge, "POST", "/v1/responses", headers, create()))[0] == 200
        assert (await ask(edge, "POST", "/v1/responses", {"content-type": "text/plain"}, create()))[0] == 200
        assert len(edge.runner.started) == 2


async def test_own_and_allowed_origins_open_a_socket() -> None:
    async with running_edge(saying("hi"), access=ALLOWING) as edge:
        for origin in (edge.http_url, APP):
            async with connect(edge.socket_url, origin=Origin(origin)) as line:
                await line.send(create_frame())
                assert json.loads(await line.recv())["type"] == "response.created"


async def broken(turn: Turn) -> AsyncGenerator[TurnUpdate, None]:
    """Fails in a way that only the root of the request answers."""
    raise ZeroDivisionError
    yield


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/health", None, 200),
        ("GET", "/v1/models", None, 200),
        ("POST", "/v1/responses", create(), 200),
        ("POST", "/v1/responses", create(stream=True), 200),
        ("POST", "/v1/responses", {"input": 5}, 400),
        ("GET", "/v1/responses", None, 426),
        ("GET", "/nowhere", None, 404),
        ("DELETE", "/health", None, 405),
        ("OPTIONS", "/v1/responses", None, 405),
    ],
)
async def test_allowed_origin_can_read_every_answer(method: str, path: str, body: object, status: int) -> None:
    headers = {"origin": APP, "content-type": "application/json"}
    async with running_edge(saying("hi"), access=ALLOWING, http_compression=CompressionBudget()) as edge:
        answer = await ask(edge, method, path, headers, body)
    assert answer[0] == status
    assert answer[1]["access-control-allow-origin"] == APP
    assert {"x-request-id", "retry-after"} <= set(answer[1]["access-control-expose-headers"].split(", "))
    assert "origin" in answer[1]["vary"].lower().split(", ")
    assert "access-control-allow-credentials" not in answer[1]


async def test_allowed_origin_can_read_of_our_faults_and_of_a_wrong_type() -> None:
    async with running_edge(broken, access=ALLOWING) as edge:
        for kind, status in (("application/json", 500), ("text/plain", 415)):
            answer = await ask(edge, "POST", "/v1/responses", {"origin": APP, "content-type": kind}, create())
            assert (answer[0], answer[1]["access-control-allow-origin"]) == (status, APP)


async def test_answers_vary_by_origin_as_soon_as_one_is_allowed() -> None:
    async with running_edge(saying("hi"), access=ALLOWING) as edge:
        for headers in ({}, {"origin": edge.http_url}, {"origin": FOREIGN}):
            _, answer, _ = await ask(edge, "GET", "/health", headers)
            assert answer["vary"] == "origin"
            assert "access-control-allow-origin" not in answer
    async with running_edge(saying("hi")) as edge:
        assert "vary" not in (await ask(edge, "GET", "/health", {}))[1]


async def test_preflight_allows_what_is_asked_for() -> None:
    names = "authorization, content-type, x-stainless-os, x-stainless-retry-count, openai-beta"
    headers = {
        "origin": APP,
        "access-control-request-method": "POST",
        "access-control-request-headers": names,
        "access-control-request-private-network": "true",
    }
    async with running_edge(saying("hi"), access=ALLOWING) as edge:
        status, answer, body = await ask(edge, "OPTIONS", "/v1/responses", headers)
    assert (status, body) == (204, "")
    assert answer["access-control-allow-origin"] == APP
    assert answer["access-control-allow-headers"] == names
    assert set(answer["access-control-allow-methods"].split(", ")) >= {"GET", "POST", "DELETE"}
    assert int(answer["access-control-max-age"]) > 0
    assert answer["access-control-allow-private-network"] == "true"
    assert {each.strip() for each in answer["vary"].split(",")} == {
        "origin",
        "access-control-request-method",
        "access-control-request-headers",
    }


@pytest.mark.parametrize("names", ["", 'x"; evil', "a\x01b", "é"])
async def test_preflight_that_asks_for_no_headers_is_told_the_usual_ones(names: str) -> None:
    headers = [(b"host", b"localhost"), (b"origin", APP.encode()), (b"access-control-request-method", b"POST")]
    headers.append((b"access-control-request-headers", names.encode("latin-1")))
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        raise AssertionError("a body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    config = Config(server=ServerSettings(allowed_origins=[APP]))
    scope = {"type": "http", "method": "OPTIONS", "path": "/v1/responses", "headers": headers, "http_version": "1.1"}
    await build_app(config).asgi(scope, receive, send)
    assert dict(sent[0]["headers"])[b"access-control-allow-headers"] == b"authorization, content-type"


async def test_preflight_of_another_origin_is_refused() -> None:
    headers = {"origin": FOREIGN, "access-control-request-method": "POST"}
    async with running_edge(saying("hi"), access=ALLOWING) as edge:
        status, answer, _ = await ask(edge, "OPTIONS", "/v1/responses", headers)
    assert status == 403
    assert not any(name.startswith("access-control") for name in answer)


async def test_refusals_are_logged_seldom() -> None:
    async with running_edge(saying("hi")) as edge:
        with capture_logs() as logs:
            for _ in range(5):
                await ask(edge, "GET", "/health", {"origin": FOREIGN})
    [entry] = [each for each in logs if each["event"] == "request_refused"]
    assert (entry["code"], entry["left_out"]) == ("origin_not_allowed", 0)
    assert FOREIGN in entry["reason"]


async def path_behind(path: str, root: str = "", kind: str = "http") -> str:
    """The path that the router sees."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send):
        seen.append(scope["path"])

    async def unused(*_: object) -> Any:
        raise AssertionError

    await SamePath(app)({"type": kind, "path": path, "root_path": root}, unused, unused)
    return seen[0]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("path", "root", "seen"),
    [
        ("/v1/responses", "", "/v1/responses"),
        ("/v1/responses/", "", "/v1/responses"),
        ("/v1/responses//", "", "/v1/responses"),
        ("/", "", "/"),
        ("/llm/", "/llm", "/llm/"),
        ("/llm/health/", "/llm", "/llm/health"),
        ("/monitor/", "", "/monitor/"),
        ("/llm/monitor/", "/llm", "/llm/monitor/"),
        ("/monitor/state/", "", "/monitor/state"),
    ],
)
async def test_the_router_sees_a_path_without_its_last_slash(kind: str, path: str, root: str, seen: str):
    assert await path_behind(path, root, kind) == seen
