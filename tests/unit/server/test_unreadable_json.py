"""What cannot be read again is refused wherever it comes in, and nothing that was there before suffers."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from landline.stores.memory import MemoryStore
from landline.stores.store import StoredConversation
from landline.wire.items import Item
from support.servers.state import DEADLINE_S, StateServer, state_server

BROKEN = {
    "float": (b"1e400", "invalid_value"),
    "integer": (b"4" * 5000, "invalid_value"),
    "bytes": (b'"\xff\xfe"', "invalid_json"),
    "half a pair": (b'"cut \\ud83d"', "invalid_json"),
    "constant": (b"NaN", "invalid_json"),
    "depth": (b"[" * 100_000 + b"]" * 100_000, "invalid_json"),
    "some depth": (b"[" * 400 + b"]" * 400, "invalid_json"),
}
broken_values = pytest.mark.parametrize(("value", "code"), BROKEN.values(), ids=BROKEN)

BODIES = {
    "unknown member": b'{"model":"m","input":"hi","x":%s}',
    "metadata of a client": b'{"model":"m","input":"hi","client_metadata":{"y":[%s]}}',
    "member of an item": b'{"model":"m","input":[{"role":"user","content":"hi","x":%s}]}',
    "member of a part": b'{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"hi","x":%s}]}]}',
    "unknown item": b'{"model":"m","input":[{"role":"user","content":"hi"},{"type":"acme_note","x":%s}]}',
    "schema of a tool": b'{"model":"m","input":"hi","tools":[{"type":"function","name":"f","parameters":{"x":%s}}]}',
    "tool of an unknown kind": b'{"model":"m","input":"hi","tools":[{"type":"acme","x":%s}]}',
    "schema of an answer": b'{"model":"m","input":"hi","text":{"format":{"type":"json_schema","name":"n","schema":{"x":%s}}}}',
    "added tools": b'{"model":"m","input":[{"type":"additional_tools","tools":[{"type":"acme","x":%s}]}]}',
}
ITEM = b'{"role":"user","content":"hi","x":%s}'


async def post(server: StateServer, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
    async with server.client.post(server.url + path, data=body) as answer:
        return answer.status, await answer.json()


async def received(line: ClientConnection) -> dict[str, Any]:
    return json.loads(await asyncio.wait_for(line.recv(), DEADLINE_S))


async def ending(line: ClientConnection) -> dict[str, Any]:
    while (event := await received(line))["type"] not in ("response.completed", "error"):
        pass
    return event


@broken_values
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_create_that_cannot_be_read_is_refused_over_http(body: bytes, value: bytes, code: str) -> None:
    async with state_server() as server:
        for path in ("/responses", "/responses/compact", "/responses/input_tokens"):
            status, answer = await post(server, path, body % value)
            assert (status, answer["error"]["code"]) == (400, code)
            assert len(answer["error"]["message"]) < 300
        assert server.target.prompts == []


@broken_values
async def test_conversation_takes_nothing_that_cannot_be_read(value: bytes, code: str) -> None:
    async with state_server() as server:
        status, answer = await post(server, "/conversations", b'{"items":[' + ITEM % value + b"]}")
        assert (status, answer["error"]["code"]) == (400, code)
        _, made = await server.ask("POST", "/conversations", {"items": [{"role": "user", "content": "before"}]})
        path = f"/conversations/{made['id']}"
        for where, body in (("/items", b'{"items":[' + ITEM % value + b"]}"), ("", b'{"metadata":{},"x":%s}' % value)):
            status, answer = await post(server, path + where, body)
            assert (status, answer["error"]["code"]) == (400, code)
        status, answer = await post(server, "/responses", BODIES["member of an item"] % value)
        assert status == 400
        _, page = await server.ask("GET", f"{path}/items")
        assert [item["content"][0]["text"] for item in page["data"]] == ["before"]
        assert (await server.create("more", conversation=made["id"]))["status"] == "completed"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ("unknown member", "x"),
        ("member of a part", "input[0].content[0].x"),
        ("schema of a tool", "tools[0].parameters.x"),
        ("schema of an answer", "text.format.schema.x"),
    ],
)
async def test_refusal_names_the_place(body: str, param: str) -> None:
    async with state_server() as server:
        for value in (b"-1e999", b'"\xf0\x9f"'):
            _, answer = await post(server, "/responses", BODIES[body] % value)
            assert answer["error"]["param"] == param
            assert f"`{param}`" in answer["error"]["message"]


@broken_values
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_frame_that_cannot_be_read_ends_nothing_but_its_own_request(body: bytes, value: bytes, code: str) -> None:
    async with state_server() as server, connect(server.url.replace("http", "ws") + "/responses") as line:
        slow = {"type": "response.create", "model": "m", "input": "hi", "user": "slow", "stream_id": "other"}
        await line.send(json.dumps(slow))
        await asyncio.wait_for(server.target.started.acquire(), DEADLINE_S)
        await line.send(b'{"type":"response.create","stream_id":"bad",' + (body % value)[1:])
        error = await ending(line)
        assert (error["type"], error["status"], error["error"]["code"]) == ("error", 400, code)
        server.target.permit()
        ended = await ending(line)
        assert (ended["type"], ended["stream_id"]) == ("response.completed", "other")
        await line.send(json.dumps({"type": "response.create", "model": "m", "input": "hi", "stream_id": "bad"}))
        assert (await ending(line))["type"] == "response.completed"


FRAMES = {
    "steer": b'{"type":"response.steer","previous_response_id":"resp_1","input":[{"role":"user","content":[%s]}]}',
    "steer's parent": b'{"type":"response.steer","previous_response_id":%s,"input":"x"}',
    "cancel": b'{"type":"response.cancel","response_id":%s}',
    "processed": b'{"type":"response.processed","response_id":%s}',
    "type": b'{"type":%s}',
    "lane": b'{"type":"response.create","model":"m","input":"hi","stream_id":%s}',
    "parent": b'{"type":"response.create","model":"m","input":"hi","previous_response_id":%s}',
    "no type": b'{"x":%s}',
    "no object": b"[%s]",
    "bare": b"%s",
}


@broken_values
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
async def test_no_frame_that_cannot_be_read_closes_the_line(frame: bytes, value: bytes, code: str) -> None:
    async with state_server() as server, connect(server.url.replace("http", "ws") + "/responses") as line:
        await line.send(frame % value)
        error = await received(line)
        assert (error["type"], error["status"]) == ("error", 400)
        assert error["error"]["code"] in (code, "invalid_json", "invalid_stream_id", "invalid_value")
        await line.send(json.dumps({"type": "response.create", "model": "m", "input": "hi"}))
        assert (await ending(line))["type"] == "response.completed"


@pytest.mark.parametrize(
    "odd", [b"1e308", b"9" * 4300, b'{"a":1,"a":2}', b'"\\u0000"', b'"\\ud83d\\ude00"', b"[" * 150 + b"]" * 150]
)
async def test_what_is_merely_odd_is_kept_and_played_back(odd: bytes) -> None:
    async with state_server() as server:
        status, first = await post(server, "/responses", BODIES["unknown item"] % odd)
        assert status == 200
        status, page = await server.ask("GET", f"/responses/{first['id']}/input_items")
        assert status == 200
        note = next(item for item in page["data"] if item["type"] == "acme_note")
        assert note["x"] == json.loads(odd)
        assert (await server.create("more", previous_response_id=first["id"]))["status"] == "completed"


async def test_conversation_that_holds_what_cannot_be_read_goes_on_and_loses_it_on_request() -> None:
    store = MemoryStore()
    kept = [Item(raw=b'{"id":"note","type":"acme_note","x":1e400}', type="acme_note", id="note")]
    await store.create_conversation("", StoredConversation(conversation_id="conv", created_at=1.0, metadata={}), kept)
    async with state_server(store) as server:
        for _ in range(2):
            assert (await server.create("more", conversation="conv"))["status"] == "completed"
        assert all(item["type"] == "message" for prompt in server.target.prompts for item in prompt)
        status, page = await server.ask("GET", "/conversations/conv/items?order=asc")
        assert (status, page["data"][0]["id"], len(page["data"])) == (200, "note", 5)
        assert (await server.ask("GET", "/conversations/conv/items/note"))[0] == 200
        reference = [{"type": "item_reference", "id": "note"}]
        assert await server.error("POST", "/responses", {"model": "m", "input": reference}) == (
            404,
            "not_found",
            "input[0].id",
        )
        assert (await server.ask("DELETE", "/conversations/conv/items/note"))[0] == 200
        _, page = await server.ask("GET", "/conversations/conv/items")
        assert len(page["data"]) == 4
