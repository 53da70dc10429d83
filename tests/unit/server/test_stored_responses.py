"""`/v1/responses/{id}` and below, over real HTTP."""

import asyncio
from typing import Any

import pytest

from support.servers.state import DEADLINE_S, StateServer, WatchedStore, state_server


async def test_response_is_read_back_as_it_was_answered() -> None:
    async with state_server() as server:
        made = await server.create(metadata={"a": "b"})
        assert await server.ask("GET", f"/responses/{made['id']}") == (200, made)


async def test_unstored_response_is_not_found() -> None:
    async with state_server() as server:
        made = await server.create(store=False)
        assert await server.error("GET", f"/responses/{made['id']}") == (404, "not_found", "response_id")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items"), ("GET", "?stream=true")],
)
async def test_unknown_response_and_another_tenants_are_not_found(method: str, path: str) -> None:
    async with state_server() as server:
        made = await server.create(background=True, stream=False, tenant="ada")
        for response_id, tenant in (("resp_unknown", "ada"), (made["id"], "eve"), ("resp_%00", "ada")):
            answer = await server.error(method, f"/responses/{response_id}{path}", tenant=tenant)
            assert answer == (404, "not_found", "response_id")
        assert (await server.ask("GET", f"/responses/{made['id']}", tenant="ada"))[0] == 200


async def test_message_for_an_unknown_response_is_openais() -> None:
    async with state_server() as server:
        _, answer = await server.ask("GET", "/responses/resp_x")
    assert answer["error"]["message"] == "Response with id 'resp_x' not found."
    assert answer["error"]["type"] == "invalid_request_error"


async def test_deleted_response_is_gone_and_its_descendants_go_on() -> None:
    async with state_server() as server:
        first = await server.create("my name is Ada")
        second = await server.create("go on", previous_response_id=first["id"])
        status, answer = await server.ask("DELETE", f"/responses/{first['id']}")
        assert (status, answer) == (200, {"id": first["id"], "object": "response", "deleted": True})
        assert await server.error("GET", f"/responses/{first['id']}") == (404, "not_found", "response_id")
        assert await server.error("DELETE", f"/responses/{first['id']}") == (404, "not_found", "response_id")
        await server.create("and on", previous_response_id=second["id"])
        assert server.target.prompts[-1][0]["content"] == [{"type": "input_text", "text": "my name is Ada"}]


async def test_only_background_responses_can_be_cancelled_or_streamed_again() -> None:
    async with state_server() as server:
        made = await server.create()
        status, answer = await server.ask("POST", f"/responses/{made['id']}/cancel")
        assert status == 400
        assert answer["error"]["message"].startswith("Cannot cancel a synchronous response")
        status, answer = await server.ask("GET", f"/responses/{made['id']}?stream=true")
        assert (status, answer["error"]["param"]) == (400, "stream")
        assert "`background` and `stream`" in answer["error"]["message"]


INPUT = [
    {"role": "user", "content": "a"},
    {"type": "message", "role": "assistant", "content": "b"},
    {"role": "user", "content": [{"type": "input_text", "text": "c"}]},
    {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_1", "output": "d"},
]


async def input_items(server: StateServer, response_id: str, query: str = "") -> dict[str, Any]:
    status, page = await server.ask("GET", f"/responses/{response_id}/input_items{query}")
    assert status == 200
    return page


async def test_input_items_are_shown_whole_newest_first() -> None:
    async with state_server() as server:
        first = await server.create("earlier")
        made = await server.create(INPUT, previous_response_id=first["id"])
        page = await input_items(server, made["id"])
    items = [{name: value for name, value in item.items() if name != "id"} for item in page["data"]]
    assert items == [
        {"type": "function_call_output", "call_id": "call_1", "output": "d", "status": "completed"},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}", "status": "completed"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "c"}], "status": "completed"},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "b", "annotations": [], "logprobs": []}],
            "status": "completed",
        },
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}], "status": "completed"},
    ]
    ids = [item["id"] for item in page["data"]]
    assert [item_id.split("_")[0] for item_id in ids] == ["fco", "fc", "msg", "msg", "msg"]
    assert (page["object"], page["first_id"], page["last_id"], page["has_more"]) == ("list", ids[0], ids[-1], False)


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_cover_the_input_once(order: str) -> None:
    async with state_server() as server:
        made = await server.create(INPUT)
        whole = await input_items(server, made["id"], f"?order={order}")
        paged: list[object] = []
        query = f"?limit=2&order={order}"
        while True:
            page = await input_items(server, made["id"], query)
            paged += page["data"]
            if not page["has_more"]:
                break
            query = f"?limit=2&order={order}&after={page['last_id']}"
    assert paged == whole["data"]


async def test_empty_page_names_no_items() -> None:
    async with state_server() as server:
        made = await server.create()
        page = await input_items(server, made["id"], "?after=msg_unknown")
    assert page == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/input_items?limit=0", "limit"),
        ("/input_items?limit=101", "limit"),
        ("/input_items?limit=ten", "limit"),
        ("/input_items?limit=", "limit"),
        ("/input_items?limit=--5", "limit"),
        ("/input_items?order=up", "order"),
        ("/input_items?order=", "order"),
        ("?stream=perhaps", "stream"),
        ("?stream=true&starting_after=-1", "starting_after"),
        ("?stream=true&starting_after=x", "starting_after"),
        ("?starting_after=3", "starting_after"),
        ("?include_obfuscation=2", "include_obfuscation"),
    ],
)
async def test_wrong_query_names_its_parameter(path: str, param: str) -> None:
    async with state_server() as server:
        made = await server.create()
        assert await server.error("GET", f"/responses/{made['id']}{path}") == (400, "invalid_value", param)


async def test_what_clients_include_is_accepted() -> None:
    async with state_server() as server:
        made = await server.create(include=["reasoning.encrypted_content", "something.new"])
        query = "?include[]=message.output_text.logprobs&include=x&include_obfuscation=false&unknown=1"
        assert await server.ask("GET", f"/responses/{made['id']}{query}") == (200, made)
        assert (await server.ask("GET", f"/responses/{made['id']}/input_items{query}"))[0] == 200


async def test_response_whose_client_left_is_kept_as_incomplete() -> None:
    store = WatchedStore()
    async with state_server(store) as server:
        async with server.stream(
            "POST", "/responses", {"model": "m", "input": "hi", "stream": True, "user": "slow"}
        ) as events:
            response_id = (await events.until("response.created"))["response"]["id"]
            server.target.permit(1)
            await events.until("response.output_text.delta")
        await asyncio.wait_for(store.ended.acquire(), DEADLINE_S)
        status, response = await server.ask("GET", f"/responses/{response_id}")
    assert (status, response["status"]) == (200, "incomplete")
    assert response["output"][0]["content"][0]["text"] == "one "


async def test_item_reference_of_another_tenant_is_not_found() -> None:
    async with state_server() as server:
        made = await server.create(tenant="ada")
        body = {"model": "m", "input": [{"type": "item_reference", "id": made["output"][0]["id"]}]}
        assert (await server.ask("POST", "/responses", body, tenant="ada"))[0] == 200
        assert await server.error("POST", "/responses", body, tenant="eve") == (404, "not_found", "input[0].id")
        body = {"model": "m", "input": "hi", "previous_response_id": made["id"]}
        answer = await server.error("POST", "/responses", body, tenant="eve")
        assert answer == (400, "previous_response_not_found", "previous_response_id")
