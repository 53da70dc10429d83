"""`background: true` over real HTTP: queued, polled, followed, cut, cancelled, drained."""

import asyncio
from typing import Any

import pytest

from landline.stores.events import EventLog
from landline.stores.memory import MemoryStore
from landline.turns.background import BackgroundSettings
from support.servers.state import DEADLINE_S, StateServer, state_server

SLOW = {"model": "m", "input": "hi", "background": True, "user": "slow"}
ONE_AT_A_TIME = BackgroundSettings(max_running=1, max_queued=1)


async def poll(server: StateServer, response_id: str) -> dict[str, Any]:
    status, response = await server.ask("GET", f"/responses/{response_id}")
    assert status == 200
    return response


async def ended(server: StateServer, response_id: str) -> dict[str, Any]:
    """The response once no turn of it runs any more."""
    await asyncio.wait_for(server.edge.background.wait_until_idle(), DEADLINE_S)
    return await poll(server, response_id)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


async def test_create_is_answered_at_once_and_polled_to_its_end() -> None:
    async with state_server() as server:
        status, queued = await server.ask("POST", "/responses", SLOW)
        assert (status, queued["status"], queued["background"], queued["output"]) == (200, "queued", True, [])
        await asyncio.wait_for(server.target.started.acquire(), DEADLINE_S)
        assert (await poll(server, queued["id"]))["status"] == "in_progress"
        server.target.permit()
        response = await ended(server, queued["id"])
        assert response["status"] == "completed"
        assert response["output"][0]["content"][0]["text"] == "one two three"
        assert response["usage"]["output_tokens"] == 3


async def test_stream_says_queued_before_in_progress_and_ends_with_done() -> None:
    async with (
        state_server() as server,
        server.stream("POST", "/responses", SLOW | {"stream": True, "user": None}) as stream,
    ):
        events = await stream.rest()
    assert kinds(events)[:3] == ["created", "queued", "in_progress"]
    assert [event["response"]["status"] for event in events[:3]] == ["queued", "queued", "in_progress"]
    assert kinds(events)[-1] == "completed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_stream_that_was_cut_goes_on_where_it_stopped() -> None:
    async with state_server() as server:
        async with server.stream("POST", "/responses", SLOW | {"stream": True}) as stream:
            response_id = (await stream.until("response.created"))["response"]["id"]
            server.target.permit(1)
            seen = await stream.until("response.output_text.delta")
        path = f"/responses/{response_id}?stream=true"
        async with server.stream("GET", f"{path}&starting_after={seen['sequence_number']}") as stream:
            server.target.permit(2)
            rest = await stream.rest()
        assert [event["sequence_number"] for event in rest] == [
            seen["sequence_number"] + 1 + place for place in range(len(rest))
        ]
        assert [event["delta"] for event in rest if event["type"].endswith("text.delta")] == ["two ", "three"]
        assert kinds(rest)[-1] == "completed"
        whole = await server.events(path)
        assert whole[seen["sequence_number"] + 1 :] == rest
        assert whole[-1]["response"] == await poll(server, response_id)
        assert await server.events(f"{path}&starting_after=1000") == []


async def test_several_clients_follow_one_response() -> None:
    async with state_server() as server, server.stream("POST", "/responses", SLOW | {"stream": True}) as first:
        response_id = (await first.until("response.in_progress"))["response"]["id"]
        async with server.stream("GET", f"/responses/{response_id}?stream=true") as second:
            await second.until("response.in_progress")
            server.target.permit()
            assert await first.rest() == await second.rest()


async def test_response_created_without_a_stream_cannot_be_streamed() -> None:
    async with state_server() as server:
        _, queued = await server.ask("POST", "/responses", SLOW)
        server.target.permit()
        await ended(server, queued["id"])
        answer = await server.error("GET", f"/responses/{queued['id']}?stream=true")
    assert answer == (400, "invalid_value", "stream")


async def test_events_go_after_their_time_and_the_response_stays() -> None:
    now = 0.0
    async with state_server(log=EventLog(kept_s=600, clock=lambda: now)) as server:
        async with server.stream("POST", "/responses", SLOW | {"stream": True, "user": None}) as stream:
            response_id = (await stream.rest())[0]["response"]["id"]
        await ended(server, response_id)
        now = 599.0
        assert await server.events(f"/responses/{response_id}?stream=true")
        now = 600.0
        answer = await server.error("GET", f"/responses/{response_id}?stream=true")
        assert answer == (400, "invalid_value", "stream")
        assert (await poll(server, response_id))["status"] == "completed"


async def test_cancel_ends_the_model_and_the_stream_and_may_be_repeated() -> None:
    async with state_server() as server, server.stream("POST", "/responses", SLOW | {"stream": True}) as stream:
        response_id = (await stream.until("response.created"))["response"]["id"]
        server.target.permit(1)
        await stream.until("response.output_text.delta")
        status, cancelled = await server.ask("POST", f"/responses/{response_id}/cancel")
        assert (status, cancelled["status"]) == (200, "cancelled")
        assert cancelled["output"][0]["status"] == "incomplete"
        rest = await stream.rest()
        assert rest[-1]["type"] == "response.incomplete"
        assert rest[-1]["response"] == cancelled
        assert await server.ask("POST", f"/responses/{response_id}/cancel") == (200, cancelled)
        assert await poll(server, response_id) == cancelled
        answer = await server.error(
            "POST", "/responses", {"model": "m", "input": "x", "previous_response_id": response_id}
        )
        assert answer == (400, "previous_response_not_found", "previous_response_id")


async def test_completed_response_stays_completed_when_cancelled() -> None:
    async with state_server() as server:
        _, queued = await server.ask("POST", "/responses", SLOW)
        server.target.permit()
        response = await ended(server, queued["id"])
        assert await server.ask("POST", f"/responses/{queued['id']}/cancel") == (200, response)


async def test_turns_over_the_limit_wait_in_order_and_more_are_refused() -> None:
    async with state_server(background=ONE_AT_A_TIME) as server:
        _, first = await server.ask("POST", "/responses", SLOW)
        _, second = await server.ask("POST", "/responses", SLOW)
        assert await server.error("POST", "/responses", SLOW) == (429, "rate_limit_exceeded", None)
        await asyncio.wait_for(server.target.started.acquire(), DEADLINE_S)
        assert (await poll(server, second["id"]))["status"] == "queued"
        assert len(server.target.prompts) == 1
        server.target.permit()
        await asyncio.wait_for(server.target.started.acquire(), DEADLINE_S)
        assert (await poll(server, first["id"]))["status"] == "completed"
        server.target.permit()
        assert (await ended(server, second["id"]))["status"] == "completed"
        _, third = await server.ask("POST", "/responses", SLOW | {"user": None})
        assert (await ended(server, third["id"]))["status"] == "completed"


async def test_waiting_turn_that_is_cancelled_never_reaches_the_model() -> None:
    async with state_server(background=ONE_AT_A_TIME) as server:
        _, first = await server.ask("POST", "/responses", SLOW)
        _, second = await server.ask("POST", "/responses", SLOW)
        status, cancelled = await server.ask("POST", f"/responses/{second['id']}/cancel")
        assert (status, cancelled["status"], cancelled["output"]) == (200, "cancelled", [])
        server.target.permit()
        assert (await ended(server, first["id"]))["status"] == "completed"
        assert len(server.target.prompts) == 1


async def test_deleting_a_running_response_stops_it() -> None:
    async with state_server() as server, server.stream("POST", "/responses", SLOW | {"stream": True}) as stream:
        response_id = (await stream.until("response.in_progress"))["response"]["id"]
        assert (await server.ask("DELETE", f"/responses/{response_id}"))[0] == 200
        assert kinds(await stream.rest()) == ["incomplete"]
        assert await server.error("GET", f"/responses/{response_id}?stream=true") == (404, "not_found", "response_id")


async def test_what_cannot_start_is_refused_at_the_create() -> None:
    async with state_server() as server:
        for fields, answer in (
            ({"model": "unknown"}, (404, "model_not_found", "model")),
            ({"previous_response_id": "resp_x"}, (400, "previous_response_not_found", "previous_response_id")),
            ({"conversation": "conv_x"}, (404, "not_found", "conversation")),
            ({"store": False}, (400, "invalid_value", "background")),
        ):
            assert await server.error("POST", "/responses", SLOW | fields) == answer
            assert await server.error("POST", "/responses", SLOW | fields | {"stream": True}) == answer
        await asyncio.wait_for(server.edge.background.wait_until_idle(), DEADLINE_S)


@pytest.mark.parametrize("user", ["refuse", "break"])
async def test_what_fails_later_is_a_failed_response(user: str) -> None:
    async with (
        state_server() as server,
        server.stream("POST", "/responses", SLOW | {"stream": True, "user": user}) as stream,
    ):
        events = await stream.rest()
        response = await ended(server, events[0]["response"]["id"])
    assert kinds(events)[-2:] == ["error", "failed"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert response == events[-1]["response"]
    assert response["status"] == "failed"
    assert response["error"]["code"] == events[-2]["error"]["code"]


async def test_background_response_holds_its_conversation_and_frees_it() -> None:
    async with state_server(background=ONE_AT_A_TIME) as server:
        _, made = await server.ask("POST", "/conversations", {})
        await server.ask("POST", "/responses", SLOW)
        _, queued = await server.ask("POST", "/responses", SLOW | {"conversation": made["id"]})
        assert queued["conversation"] == {"id": made["id"]}
        body = {"model": "m", "input": "hi", "conversation": made["id"]}
        assert await server.error("POST", "/responses", body) == (409, "conversation_locked", "conversation")
        await server.ask("POST", f"/responses/{queued['id']}/cancel")
        assert (await server.ask("POST", "/responses", body))[0] == 200


async def test_client_that_leaves_at_once_changes_nothing() -> None:
    async with state_server() as server:
        async with server.stream("POST", "/responses", SLOW | {"stream": True}) as stream:
            response_id = (await stream.until("response.created"))["response"]["id"]
        server.target.permit()
        assert (await ended(server, response_id))["status"] == "completed"


async def test_drain_lets_background_turns_end_within_the_grace() -> None:
    store = MemoryStore()
    async with state_server(store, drain_grace_s=DEADLINE_S) as server:
        _, queued = await server.ask("POST", "/responses", SLOW)
        await asyncio.wait_for(server.target.started.acquire(), DEADLINE_S)
        server.edge.drain.begun.subscribe(server.target.permit)
        server.line.stop()
    stored = await store.load_response("", queued["id"])
    assert stored is not None
    assert stored.status == "completed"


async def test_background_turns_over_the_grace_are_kept_as_incomplete() -> None:
    store = MemoryStore()
    async with state_server(store, background=ONE_AT_A_TIME) as server:
        _, running = await server.ask("POST", "/responses", SLOW)
        _, waiting = await server.ask("POST", "/responses", SLOW)
        await asyncio.wait_for(server.target.started.acquire(), DEADLINE_S)
    for response in (running, waiting):
        stored = await store.load_response("", response["id"])
        assert stored is not None
        assert stored.status == "incomplete"


async def test_long_silence_on_a_stream_is_filled_with_comments() -> None:
    async with (
        state_server(sse_silence_s=0.01) as server,
        server.client.post(f"{server.url}/responses", json=SLOW | {"stream": True}) as answer,
    ):
        await answer.content.readuntil(b": still there\n\n")


async def test_response_that_another_process_runs_is_not_touched() -> None:
    store = MemoryStore()
    async with state_server(store) as here, state_server(store) as there:
        _, queued = await there.ask("POST", "/responses", SLOW | {"user": "slow"})
        assert (await poll(here, queued["id"]))["status"] == "queued"
        for method, below in (("POST", "/cancel"), ("GET", "?stream=true")):
            answer = await here.error(method, f"/responses/{queued['id']}{below}")
            assert answer == (409, "response_elsewhere", "response_id")
        there.target.permit()
        await ended(there, queued["id"])
        assert (await poll(here, queued["id"]))["status"] == "completed"
