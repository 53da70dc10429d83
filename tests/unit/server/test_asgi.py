import json
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect

from landline.ledger import Ledger
from landline.monitor.feed import Feed
from landline.server.asgi import RESPONSES_PATHS
from support.servers.edge import RunningEdge, create, create_frame, running_edge, saying

NAMES = ("demo", "org/big-model", "ünï")


def feed() -> Feed:
    return Feed(Ledger(), list_health=list, list_served=list, clock=time.time, version="0")


async def request(edge: RunningEdge, method: str, path: str, **more: Any) -> tuple[int, Mapping[str, str], Any]:
    """Status, headers and JSON body of one request, redirects not followed."""
    options: Any = {"allow_redirects": False, **more}
    async with aiohttp.ClientSession() as http, http.request(method, edge.http_url + path, **options) as answer:
        return answer.status, answer.headers, None if method == "HEAD" else await answer.json()


async def test_models_are_listed():
    async with running_edge(saying("hi"), models=NAMES) as edge:
        status, _, body = await request(edge, "GET", "/v1/models?limit=5")
    assert (status, body["object"]) == (200, "list")
    assert [model["id"] for model in body["data"]] == list(NAMES)
    assert body["data"][0] == {"id": "demo", "created": 1_700_000_000, "owned_by": "landline", "object": "model"}


@pytest.mark.parametrize("name", NAMES)
async def test_a_model_is_read_by_its_id_slashes_and_all(name: str):
    async with running_edge(saying("hi"), models=NAMES) as edge:
        status, _, body = await request(edge, "GET", f"/v1/models/{name}")
    assert (status, body["id"]) == (200, name)


async def test_an_unknown_model_is_not_found():
    async with running_edge(saying("hi")) as edge:
        status, _, body = await request(edge, "GET", "/v1/models/none")
    assert (status, body["error"]["code"]) == (404, "model_not_found")


async def test_health_needs_nothing():
    async with running_edge(saying("hi"), troubles=["target 'a' is down"]) as edge:
        assert (await request(edge, "GET", "/health"))[::2] == (200, {"status": "ok"})
        assert (await request(edge, "HEAD", "/health"))[0] == 200


async def test_ready_says_why_not():
    troubles: list[str] = []
    async with running_edge(saying("hi"), troubles=troubles) as edge:
        ready = await request(edge, "GET", "/ready")
        troubles.append("target 'a' is down")
        status, _, body = await request(edge, "GET", "/ready")
    assert ready[::2] == (200, {"status": "ready"})
    assert (status, body["status"], body["reasons"]) == (503, "not_ready", troubles)
    assert body["error"]["code"] == "server_is_overloaded"


async def test_ready_is_false_while_draining():
    async with running_edge(saying("hi")) as edge:
        edge.drain.begun.set()
        status, _, body = await request(edge, "GET", "/ready")
    assert (status, body["reasons"]) == (503, ["the server is shutting down"])


@pytest.mark.parametrize("path", ["/v1", "/v1/nothing", "/v1/responses//x", "/favicon.ico"])
async def test_an_unknown_path_is_an_api_error(path: str):
    async with running_edge(saying("hi")) as edge:
        status, headers, body = await request(edge, "GET", path)
    assert (status, body["error"]["code"]) == (404, "not_found")
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", "/v1/responses", "POST, GET"), ("POST", "/v1/models", "GET"), ("DELETE", "/health", "GET")],
)
async def test_a_wrong_method_names_the_right_ones(method: str, path: str, allowed: str):
    async with running_edge(saying("hi")) as edge:
        status, headers, body = await request(edge, method, path)
    assert (status, headers["allow"], body["error"]["code"]) == (405, allowed, "method_not_allowed")


async def test_a_plain_get_is_asked_to_upgrade():
    async with running_edge(saying("hi")) as edge:
        status, headers, body = await request(edge, "GET", "/v1/responses")
    assert (status, headers["upgrade"]) == (426, "websocket")
    assert body["error"]["code"] == "websocket_upgrade_required"


async def test_every_answer_has_an_id_of_its_own():
    async with running_edge(saying("hi")) as edge:
        ids = {(await request(edge, "GET", "/health"))[1]["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize(
    "path", ["/v1/models", "/models", "/v1/models/demo", "/health", "/ready", "/v1/openapi.json", "/monitor/state"]
)
async def test_a_slash_at_the_end_changes_nothing(path: str):
    async with running_edge(saying("hi"), monitor=feed()) as edge:
        plain, slashed = await request(edge, "GET", path), await request(edge, "GET", f"{path}/?x=1")
    assert plain[0] == slashed[0] == 200
    assert set(plain[2]) == set(slashed[2])


@pytest.mark.parametrize("path", RESPONSES_PATHS)
async def test_creates_and_sockets_may_have_a_slash_at_the_end(path: str):
    async with running_edge(saying("hi")) as edge:
        status, _, body = await request(edge, "POST", f"{path}/", json=create())
        async with connect(edge.socket_url.replace("/v1/responses", f"{path}/")) as line:
            await line.send(create_frame())
            assert json.loads(await line.recv())["type"] == "response.created"
    assert (status, body["status"]) == (200, "completed")


async def test_stored_things_may_have_a_slash_at_the_end():
    async with running_edge(saying("hi")) as edge:
        _, _, made = await request(edge, "POST", "/v1/conversations/", json={})
        for method, below, status in (("GET", "/", 200), ("GET", "/items/", 200), ("DELETE", "/", 200)):
            assert (await request(edge, method, f"/v1/conversations/{made['id']}{below}"))[0] == status
        status, _, body = await request(edge, "POST", "/v1/responses/resp_1/cancel/")
    assert (status, body["error"]["param"]) == (404, "response_id")


async def test_the_root_leads_to_the_monitor():
    async with running_edge(saying("hi"), monitor=feed()) as edge:
        status, headers, _ = await request(edge, "GET", "/")
        assert (status, headers["location"], headers["cache-control"]) == (307, "monitor", "no-store")
        async with aiohttp.ClientSession() as http, http.get(edge.http_url) as answer:
            assert (answer.status, answer.url.path, answer.content_type) == (200, "/monitor", "text/html")


async def test_the_root_says_what_is_where_when_there_is_no_monitor():
    async with running_edge(saying("hi")) as edge:
        status, _, body = await request(edge, "GET", "/")
        assert (status, body["object"], body["paths"]["responses"]) == (200, "landline", "/v1/responses")
        for path in body["paths"].values():
            assert (await request(edge, "GET", path))[0] in (200, 426)
