"""`/v1/conversations` and `conversation` on creates, over real HTTP."""

import asyncio
from typing import Any

import pytest

from support.servers.state import DEADLINE_S, StateServer, WatchedStore, state_server


def message(text: str, role: str = "user") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": text}


def texts(page: dict[str, Any]) -> list[str]:
    return [item["content"][0]["text"] for item in page["data"]]


async def conversation(server: StateServer, *items: dict[str, Any], **fields: object) -> str:
    status, made = await server.ask("POST", "/conversations", {"items": list(items), **fields})
    assert status == 200
    return made["id"]


async def listed(server: StateServer, conversation_id: str, query: str = "?order=asc") -> dict[str, Any]:
    status, page = await server.ask("GET", f"/conversations/{conversation_id}/items{query}")
    assert status == 200
    return page


async def test_conversation_is_created_read_changed_and_deleted() -> None:
    async with state_server() as server:
        status, made = await server.ask("POST", "/conversations", {"metadata": {"topic": "t"}})
        assert status == 200
        assert made["id"].startswith("conv_")
        path = f"/conversations/{made['id']}"
        expected = {
            "id": made["id"],
            "object": "conversation",
            "created_at": made["created_at"],
            "metadata": {"topic": "t"},
        }
        assert made == expected
        assert await server.ask("GET", path) == (200, expected)
        changed = expected | {"metadata": {"topic": "u"}}
        assert await server.ask("POST", path, {"metadata": {"topic": "u"}}) == (200, changed)
        assert await server.ask("GET", path) == (200, changed)
        deleted = {"id": made["id"], "object": "conversation.deleted", "deleted": True}
        assert await server.ask("DELETE", path) == (200, deleted)
        for method in ("GET", "DELETE"):
            assert await server.error(method, path) == (404, "not_found", "conversation_id")
        assert await server.error("POST", path, {"metadata": {}}) == (404, "not_found", "conversation_id")


async def test_empty_body_creates_an_empty_conversation() -> None:
    async with state_server() as server:
        async with server.client.post(f"{server.url}/conversations") as answer:
            made = await answer.json()
        assert (answer.status, made["metadata"]) == (200, {})
        assert (await listed(server, made["id"]))["data"] == []


async def test_items_are_added_listed_read_and_deleted() -> None:
    async with state_server() as server:
        made = await conversation(server, message("a"))
        path = f"/conversations/{made}/items"
        status, added = await server.ask("POST", path, {"items": [message("b"), message("c", "assistant")]})
        assert status == 200
        assert (texts(added), added["has_more"]) == (["b", "c"], False)
        assert (added["first_id"], added["last_id"]) == (added["data"][0]["id"], added["data"][1]["id"])
        page = await listed(server, made)
        assert texts(page) == ["a", "b", "c"]
        assert page["data"][1:] == added["data"]
        one = page["data"][0]
        assert one["status"] == "completed"
        assert await server.ask("GET", f"{path}/{one['id']}") == (200, one)
        status, answer = await server.ask("DELETE", f"{path}/{one['id']}")
        assert (status, answer["id"], answer["object"]) == (200, made, "conversation")
        assert texts(await listed(server, made)) == ["b", "c"]
        for method in ("GET", "DELETE"):
            assert await server.error(method, f"{path}/{one['id']}") == (404, "not_found", "item_id")


async def test_pages_cover_the_items_once_newest_first() -> None:
    async with state_server() as server:
        made = await conversation(server, *(message(str(number)) for number in range(5)))
        first = await listed(server, made, "?limit=2")
        second = await listed(server, made, f"?limit=2&after={first['last_id']}")
        third = await listed(server, made, f"?limit=2&after={second['last_id']}")
        assert [texts(page) for page in (first, second, third)] == [["4", "3"], ["2", "1"], ["0"]]
        assert [page["has_more"] for page in (first, second, third)] == [True, True, False]
        assert await server.error("GET", f"/conversations/{made}/items?limit=0") == (400, "invalid_value", "limit")


async def test_another_tenants_conversation_is_not_found() -> None:
    async with state_server() as server:
        _, made = await server.ask("POST", "/conversations", {"items": [message("a")]}, tenant="ada")
        path = f"/conversations/{made['id']}"
        _, page = await server.ask("GET", f"{path}/items", tenant="ada")
        item = page["first_id"]
        for method, below, body in (
            ("GET", "", None),
            ("POST", "", {"metadata": {}}),
            ("DELETE", "", None),
            ("GET", "/items", None),
            ("POST", "/items", {"items": [message("b")]}),
            ("GET", f"/items/{item}", None),
            ("DELETE", f"/items/{item}", None),
        ):
            assert await server.error(method, path + below, body, tenant="eve") == (404, "not_found", "conversation_id")
        create = {"model": "m", "input": "hi", "conversation": made["id"]}
        assert await server.error("POST", "/responses", create, tenant="eve") == (404, "not_found", "conversation")
        assert (await server.ask("GET", path, tenant="ada"))[0] == 200


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"items": [message("a")] * 21}, "invalid_value", "items"),
        ({"items": "a"}, "invalid_value", "items"),
        ({"items": [{"type": "message", "role": "user"}]}, "invalid_value", "items[0]"),
        ({"items": [{"role": "user", "content": 3}]}, "invalid_value", "items[0].content"),
        ({"items": [{"type": "item_reference", "id": "msg_x"}]}, "not_found", "items[0].id"),
        ({"items": [{"type": "compaction_trigger"}]}, "invalid_value", "items[0]"),
        (
            {"items": [{"type": "function_call_output", "call_id": "call_x", "output": ""}]},
            "tool_call_not_found",
            "items",
        ),
    ],
)
async def test_wrong_items_are_refused_as_in_the_input_of_a_response(
    body: dict[str, object], code: str, param: str
) -> None:
    status = 404 if code == "not_found" else 400
    async with state_server() as server:
        made = await conversation(server)
        assert await server.error("POST", "/conversations", body) == (status, code, param)
        assert await server.error("POST", f"/conversations/{made}/items", body) == (status, code, param)
        assert (await listed(server, made))["data"] == []


@pytest.mark.parametrize(
    ("metadata", "param"),
    [
        ({str(number): "" for number in range(17)}, "metadata"),
        ({"k" * 65: ""}, "metadata"),
        ({"k": "v" * 513}, "metadata[...]"),
        ({"k": 1}, "metadata[...]"),
    ],
)
async def test_wrong_metadata_is_refused(metadata: dict[str, object], param: str) -> None:
    async with state_server() as server:
        made = await conversation(server)
        for path in ("/conversations", f"/conversations/{made}"):
            status, code, named = await server.error("POST", path, {"metadata": metadata})
            assert (status, code) == (400, "invalid_value")
            assert named is not None
            assert named.startswith(param.removesuffix("[...]"))
        assert await server.error("POST", f"/conversations/{made}", {}) == (400, "invalid_value", None)


async def test_output_may_answer_a_call_that_the_conversation_holds() -> None:
    async with state_server() as server:
        call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
        made = await conversation(server, call)
        output = {"type": "function_call_output", "call_id": "call_1", "output": "d"}
        assert (await server.ask("POST", f"/conversations/{made}/items", {"items": [output]}))[0] == 200


async def test_reference_adds_the_stored_item() -> None:
    async with state_server() as server:
        response = await server.create("hi")
        made = await conversation(server, {"type": "item_reference", "id": response["output"][0]["id"]})
        assert (await listed(server, made))["data"] == response["output"]


@pytest.mark.parametrize("as_object", [False, True])
async def test_responses_read_and_extend_their_conversation(as_object: bool) -> None:
    async with state_server() as server:
        made = await conversation(server, message("My name is Ada."))
        named = {"id": made} if as_object else made
        first = await server.create("hello", conversation=named)
        second = await server.create("again", conversation=named)
        assert first["conversation"] == second["conversation"] == {"id": made}
        assert "conversation" not in await server.create("alone")
        assert texts(await listed(server, made)) == [
            "My name is Ada.",
            "hello",
            "one two three",
            "again",
            "one two three",
        ]
        assert (await listed(server, made))["data"][2] == first["output"][0]
        shown = [item["content"] for item in server.target.prompts[1]]
        assert [content if isinstance(content, str) else content[0]["text"] for content in shown] == [
            "My name is Ada.",
            "hello",
            "one two three",
            "again",
        ]


async def test_conversation_and_previous_response_exclude_each_other() -> None:
    async with state_server() as server:
        made = await conversation(server)
        response = await server.create()
        body = {"model": "m", "input": "x", "conversation": made, "previous_response_id": response["id"]}
        assert await server.error("POST", "/responses", body) == (400, "invalid_value", "previous_response_id")
        body = {"model": "m", "input": "x", "conversation": "conv_unknown"}
        assert await server.error("POST", "/responses", body) == (404, "not_found", "conversation")


async def test_second_writer_is_turned_away_while_a_response_writes() -> None:
    async with state_server() as server:
        made = await conversation(server)
        body = {"model": "m", "input": "hi", "conversation": made}
        async with server.stream("POST", "/responses", {**body, "stream": True, "user": "slow"}) as events:
            await events.until("response.created")
            assert await server.error("POST", "/responses", body) == (409, "conversation_locked", "conversation")
            adding = await server.error("POST", f"/conversations/{made}/items", {"items": [message("b")]})
            assert adding == (409, "conversation_locked", "conversation")
            server.target.permit()
            await events.rest()
        assert (await server.ask("POST", "/responses", body))[0] == 200


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"user": "break"}, 502), ({"user": "refuse"}, 503), ({"model": "unknown"}, 404), ({"input": []}, 200)],
)
async def test_conversation_is_free_after_every_ending(fields: dict[str, object], status: int) -> None:
    async with state_server() as server:
        made = await conversation(server, message("a"))
        body = {"model": "m", "input": "hi", "conversation": made}
        answer, _ = await server.ask("POST", "/responses", body | fields)
        assert answer == status
        if status != 200:
            assert texts(await listed(server, made)) == ["a"]
        assert (await server.ask("POST", "/responses", body))[0] == 200


async def test_conversation_is_free_after_a_request_that_could_not_be_resolved() -> None:
    async with state_server() as server:
        made = await conversation(server)
        body = {"model": "m", "input": "hi", "conversation": made}
        output = [{"type": "function_call_output", "call_id": "call_x", "output": ""}]
        assert await server.error("POST", "/responses", body | {"input": output}) == (
            400,
            "tool_call_not_found",
            "input",
        )
        assert (await server.ask("POST", "/responses", body))[0] == 200


@pytest.mark.parametrize("user", ["slow", "mute"])
async def test_conversation_is_free_after_its_client_left(user: str) -> None:
    store = WatchedStore()
    async with state_server(store) as server:
        made = await conversation(server)
        body = {"model": "m", "input": "hi", "conversation": made}
        asking = asyncio.create_task(server.ask("POST", "/responses", body | {"user": user}))
        await asyncio.wait_for(server.target.started.acquire(), DEADLINE_S)
        if user == "slow":
            await asyncio.wait_for(store.begun.acquire(), DEADLINE_S)
        asking.cancel()
        await asyncio.wait_for(store.ended.acquire(), DEADLINE_S)
        assert (await server.ask("POST", "/responses", body))[0] == 200
