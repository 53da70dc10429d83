"""A store that is away for a while: clients are told so, nothing stays locked or half-done, and no restart is needed."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from landline.stores import make_store
from support.servers.state import DEADLINE_S, StateServer, state_server
from support.stores.outage import KINDS, Kind, Outage, Place
from support.stores.postgres import PostgresServer

TIMEOUT_S = 0.4
LONG_S = 30.0
PATH = "/v1/responses"

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def find_server() -> Iterator[Callable[[], PostgresServer]]:
    """One server for all of these tests, started for the first that needs it."""
    servers: list[PostgresServer] = []

    def find() -> PostgresServer:
        if not servers:
            servers.append(PostgresServer())
        return servers[0]

    yield find
    for server in servers:
        server.remove()


@pytest.fixture
def place(tmp_path: Path, find_server: Callable[[], PostgresServer]) -> Place:
    return Place(tmp_path, find_server)


@asynccontextmanager
async def fragile_server(
    kind: Kind, place: Place, *, save_wait_s: float = LONG_S
) -> AsyncGenerator[tuple[StateServer, Outage]]:
    async with place.database(kind) as away:
        store = make_store(away.url, timeout_s=TIMEOUT_S)
        await store.open()
        try:
            async with state_server(store, save_wait_s=save_wait_s) as server:
                yield server, away
        finally:
            await store.close()


async def readiness(server: StateServer) -> tuple[int, dict[str, Any]]:
    async with server.client.get(server.url.removesuffix("/v1") + "/ready") as answer:
        return answer.status, await answer.json()


async def until_ready(server: StateServer, wanted: int) -> dict[str, Any]:
    """The answer of `/ready` once it has the wanted status."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            status, answer = await readiness(server)
            if status == wanted:
                return answer


async def start_slow(server: StateServer, **fields: object) -> asyncio.Task[tuple[int, dict[str, Any]]]:
    """A turn that waits for its words, once its begin is saved."""
    body = {"model": "m", "input": "hi", "user": "slow", **fields}
    task = asyncio.create_task(server.ask("POST", "/responses", body))
    await server.target.started.acquire()
    return task


async def new_conversation(server: StateServer) -> str:
    status, made = await server.ask("POST", "/conversations", {})
    assert status == 200
    return made["id"]


@every_kind
async def test_turn_that_ends_in_a_short_outage_is_saved_and_completed(kind: Kind, place: Place) -> None:
    async with fragile_server(kind, place) as (server, away):
        conversation = await new_conversation(server)
        turn = await start_slow(server, conversation=conversation)
        await away.begin()
        server.target.permit()
        await until_ready(server, 503)
        await away.end()
        status, response = await turn
        assert (status, response["status"]) == (200, "completed")
        assert await server.ask("GET", f"/responses/{response['id']}") == (200, response)
        await server.create("and on", conversation=conversation)
        assert len(server.target.prompts[-1]) == 3


@every_kind
async def test_turn_that_outlasts_patience_fails_and_frees_its_conversation(kind: Kind, place: Place) -> None:
    async with fragile_server(kind, place, save_wait_s=0.1) as (server, away):
        conversation = await new_conversation(server)
        turn = await start_slow(server, conversation=conversation)
        await away.begin()
        server.target.permit()
        status, answer = await turn
        assert (status, answer["error"]["code"]) == (503, "store_unavailable")
        await until_ready(server, 503)
        await away.end()
        await until_ready(server, 200)
        await server.create("again", conversation=conversation)
        assert len(server.target.prompts[-1]) == 1


@every_kind
async def test_outage_from_begin_to_end_of_a_turn_leaves_no_trace_of_it_behind(kind: Kind, place: Place) -> None:
    async with fragile_server(kind, place) as (server, away):
        first = await server.create()
        line = await server.client.ws_connect(server.url + "/responses")
        create = {"type": "response.create", "model": "m", "input": "b", "user": "mute"}
        await line.send_json(create | {"previous_response_id": first["id"]})
        await server.target.started.acquire()
        await server.target.started.acquire()
        await away.begin()
        server.target.permit(4)
        await until_ready(server, 503)
        await away.end()
        response = (await _last(line))["response"]
        assert response["status"] == "completed"
        assert await server.ask("GET", f"/responses/{response['id']}") == (200, response)
        await server.create("and on", previous_response_id=response["id"])
        assert len(server.target.prompts[-1]) == 5
        await line.close()


@every_kind
async def test_failed_turn_is_found_as_failed_after_the_outage(kind: Kind, place: Place) -> None:
    async with fragile_server(kind, place, save_wait_s=0.1) as (server, away):
        line = await server.client.ws_connect(server.url + "/responses")
        await line.send_json({"type": "response.create", "model": "m", "input": "a", "user": "slow"})
        await server.target.started.acquire()
        await away.begin()
        server.target.permit()
        event = await _last(line)
        assert event["type"] == "response.failed"
        assert event["response"]["error"]["code"] == "store_unavailable"
        await away.end()
        await until_ready(server, 200)
        status, stored = await server.ask("GET", f"/responses/{event['response']['id']}")
        assert (status, stored["status"], stored["error"]["code"]) == (200, "failed", "store_unavailable")
        await line.send_json({"type": "response.create", "model": "m", "input": "b"})
        assert (await _last(line))["response"]["status"] == "completed"
        await line.close()


async def _last(line: Any) -> dict[str, Any]:
    """The event that ends the next turn."""
    async with asyncio.timeout(DEADLINE_S):
        async for message in line:
            event = json.loads(message.data)
            if event["type"] in ("error", "response.completed", "response.failed", "response.incomplete"):
                return event
    raise AssertionError("the line was closed")


@every_kind
async def test_background_response_that_ends_in_an_outage_completes(kind: Kind, place: Place) -> None:
    async with fragile_server(kind, place, save_wait_s=0.1) as (server, away):
        conversation = await new_conversation(server)
        made = await server.create(background=True, user="slow", conversation=conversation)
        await server.target.started.acquire()
        await away.begin()
        server.target.permit()
        await until_ready(server, 503)
        await away.end()
        await until_ready(server, 200)
        async with asyncio.timeout(DEADLINE_S):
            while (await server.ask("GET", f"/responses/{made['id']}"))[1]["status"] != "completed":
                pass
        status, response = await server.ask("POST", f"/responses/{made['id']}/cancel")
        assert (status, response["status"]) == (200, "completed")
        await server.create("and on", conversation=conversation)


@every_kind
async def test_background_response_that_runs_through_an_outage_can_be_cancelled(kind: Kind, place: Place) -> None:
    async with fragile_server(kind, place) as (server, away):
        made = await server.create(background=True, user="slow")
        await server.target.started.acquire()
        await away.begin()
        refused = await server.error("POST", "/responses", {"model": "m", "input": "b", "background": True})
        assert refused[:2] == (503, "store_unavailable")
        await until_ready(server, 503)
        await away.end()
        await until_ready(server, 200)
        status, response = await server.ask("POST", f"/responses/{made['id']}/cancel")
        assert (status, response["status"]) == (200, "cancelled")


@every_kind
async def test_refused_turn_frees_its_conversation_after_an_outage(kind: Kind, place: Place) -> None:
    async with fragile_server(kind, place) as (server, away):
        conversation = await new_conversation(server)
        body = {"model": "m", "input": "hi", "user": "mute", "conversation": conversation}
        asking = asyncio.create_task(server.ask("POST", "/responses", body))
        await server.target.started.acquire()
        await away.begin()
        asking.cancel()  # before its response was created: nothing is kept of it
        await until_ready(server, 503)
        await away.end()
        await until_ready(server, 200)
        server.target.permit(9)
        await server.create("again", conversation=conversation)


@every_kind
async def test_every_path_says_that_the_store_is_away(kind: Kind, place: Place) -> None:
    async with fragile_server(kind, place) as (server, away):
        made, conversation = await server.create(), await new_conversation(server)
        one, thread = f"/responses/{made['id']}", f"/conversations/{conversation}"
        item = {"role": "user", "content": "x"}
        create = {"model": "m", "input": "x"}
        writes = [
            ("DELETE", one, None),
            ("POST", "/responses", create | {"conversation": conversation}),
            ("POST", "/responses", create | {"background": True}),
            ("POST", "/conversations", {"items": [item]}),
            ("POST", thread, {"metadata": {}}),
            ("DELETE", thread, None),
            ("POST", f"{thread}/items", {"items": [item]}),
            ("DELETE", f"{thread}/items/msg_1", None),
        ]
        reads = [
            ("GET", one, None),
            ("POST", f"{one}/cancel", None),
            ("GET", f"{one}/input_items", None),
            ("POST", "/responses", create | {"previous_response_id": made["id"], "store": False}),
            ("POST", "/responses", create | {"input": [{"type": "item_reference", "id": "msg_1"}], "store": False}),
            ("POST", "/responses/input_tokens", create | {"previous_response_id": made["id"]}),
            ("POST", "/responses/compact", create | {"previous_response_id": made["id"]}),
            ("GET", thread, None),
            ("GET", f"{thread}/items", None),
            ("GET", f"{thread}/items/msg_1", None),
        ]
        await away.begin()
        for method, path, body in writes + (reads if away.stops_reading else []):
            async with server.client.request(method, server.url + path, json=body) as answer:
                told = await answer.json()
                assert (answer.status, told["error"]["code"]) == (503, "store_unavailable"), (method, path, told)
                assert told["error"]["type"] == "service_unavailable_error"
                assert float(answer.headers["retry-after"]) > 0
        assert (await server.create(store=False))["status"] == "completed"
        await away.end()
        await until_ready(server, 200)
        await server.create(conversation=conversation)


@every_kind
async def test_outage_is_told_by_readiness_and_logged_at_both_ends(kind: Kind, place: Place) -> None:
    with capture_logs() as logs:
        async with fragile_server(kind, place) as (server, away):
            assert (await readiness(server))[0] == 200
            await away.begin()
            for _ in range(3):
                await server.error("POST", "/conversations", {})
            answer = await until_ready(server, 503)
            assert answer["error"]["code"] == "store_unavailable"
            assert answer["reasons"][0].startswith("the store cannot be ")
            await away.end()
            await until_ready(server, 200)
    names = [entry["event"] for entry in logs if entry["log_level"] != "debug"]
    assert [name for name in names if "store" in name] == ["store_unavailable", "store_available"]
    assert "request_broke" not in names


@every_kind
async def test_readiness_notices_an_outage_that_nobody_met(kind: Kind, place: Place) -> None:
    async with fragile_server(kind, place) as (server, away):
        await away.begin()
        await until_ready(server, 503)
        await away.end()
        await until_ready(server, 200)


async def test_cut_connections_are_no_outage_to_clients(place: Place) -> None:
    async with place.database("stopped") as away:
        store = make_store(away.url, timeout_s=TIMEOUT_S)
        await store.open()
        async with state_server(store) as server:
            conversation = await new_conversation(server)
            turn = await start_slow(server, conversation=conversation)
            await away.cut()
            server.target.permit()
            status, response = await turn
            assert (status, response["status"]) == (200, "completed")
            await server.create("and on", conversation=conversation)
        await store.close()


@every_kind
async def test_server_ends_in_a_bounded_time_although_the_store_stays_away(kind: Kind, place: Place) -> None:
    with capture_logs() as logs:
        async with fragile_server(kind, place, save_wait_s=0.1) as (server, away):
            made = await server.create(background=True, user="slow")
            await server.target.started.acquire()
            await away.begin()
            server.target.permit()
            await until_ready(server, 503)
            server.line.stop()
        lost = [entry for entry in logs if entry["event"] == "responses_not_saved"]
        assert [entry["response_ids"] for entry in lost] == [[made["id"]]]
        await away.end()
