"""Every turn has one entry in the ledger, however it ends, and bytes that belong to no turn are counted beside it."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from socket import SHUT_WR
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landline.ledger import Entry, Ledger
from support.servers.byte_relay import ByteRelay
from support.servers.state import DEADLINE_S, StateServer, state_server


class Book:
    """The entries of a server's ledger as they come."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.entries: list[Entry] = []
        self._came = asyncio.Semaphore(0)
        self.settled = asyncio.Event()
        """Set when bytes that belong to no turn were counted: a socket's, when its last one is."""
        ledger.watch(self._add)
        add_overhead = ledger.add_overhead

        def settle(in_bytes: int, out_bytes: int) -> None:
            add_overhead(in_bytes, out_bytes)
            self.settled.set()

        setattr(ledger, "add_overhead", settle)  # noqa: B010

    async def next(self) -> Entry:
        """The next entry; nothing runs any more for it."""
        await asyncio.wait_for(self._came.acquire(), DEADLINE_S)
        return self.entries[-1]

    def _add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._came.release()


@asynccontextmanager
async def served(**changes: Any) -> AsyncGenerator[tuple[StateServer, Book]]:
    async with state_server(**changes) as server:
        book = Book(server.edge.ledger)
        yield server, book
    assert server.edge.ledger.running_turns == 0
    assert server.edge.ledger.open_lines == 0


@asynccontextmanager
async def socket(server: StateServer, port: int | None = None) -> AsyncGenerator[aiohttp.ClientWebSocketResponse]:
    url = server.url if port is None else f"http://127.0.0.1:{port}/v1"
    async with server.client.ws_connect(f"{url}/responses", compress=15) as opened:
        yield opened


async def say(line: aiohttp.ClientWebSocketResponse, **frame: Any) -> None:
    await line.send_str(json.dumps({"type": "response.create", "model": "m", "input": "hi"} | frame))


async def until(line: aiohttp.ClientWebSocketResponse, *kinds: str) -> dict[str, Any]:
    while True:
        event = json.loads((await line.receive(DEADLINE_S)).data)
        if event["type"] in kinds:
            return event


@pytest.mark.parametrize(
    ("behaviour", "kind", "outcome", "code"),
    [
        ("", "response.completed", "completed", ""),
        ("refuse", "error", "refused", "server_is_overloaded"),
        ("break", "response.failed", "failed", "upstream_error"),
    ],
)
async def test_a_turn_on_a_socket_is_entered_with_its_end(behaviour: str, kind: str, outcome: str, code: str) -> None:
    async with served() as (server, book), socket(server) as line:
        await say(line, user=behaviour, stream_id="lane")
        event = await until(line, kind)
        entry = await book.next()
        assert (entry.outcome, entry.error_code) == (outcome, code)
        assert (entry.transport, entry.lane, entry.target) == (
            "socket",
            "lane",
            "" if outcome == "refused" else "words",
        )
        assert entry.session_id.startswith("line_")
        if kind != "error":
            assert entry.response_id == event["response"]["id"]
        assert entry.bytes.wire_in > 0
        assert 0 < entry.bytes.wire_out < entry.bytes.payload_out
        assert 0 < entry.times.total < DEADLINE_S
        assert entry.times.queued is not None
        assert (entry.times.first_event is None) == (outcome == "refused")


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("", "stop"),
        ("call", "tool_call"),
        ("limit", "length"),
        ("filter", "content_filter"),
        ("break", "error"),
        ("refuse", "error"),
    ],
)
async def test_an_entry_says_why_the_model_stopped(behaviour: str, reason: str) -> None:
    async with served() as (server, book):
        await server.ask("POST", "/responses", {"model": "m", "input": "hi", "user": behaviour})
        assert (await book.next()).finish_reason == reason


async def test_a_model_that_was_not_asked_did_not_stop() -> None:
    async with served() as (server, book), socket(server) as line:
        await say(line, generate=False)
        await until(line, "response.completed")
        assert (await book.next()).finish_reason is None
        await say(line, model="unknown")
        await until(line, "error")
        assert (await book.next()).finish_reason is None


async def test_a_cancelled_turn_is_entered_as_incomplete_with_the_frame_that_cancelled_it() -> None:
    async with served() as (server, book), socket(server) as line:
        await say(line, user="slow")
        created = await until(line, "response.created")
        await line.send_str(json.dumps({"type": "response.cancel", "response_id": created["response"]["id"]}))
        await until(line, "response.incomplete")
        entry = await book.next()
        assert (entry.outcome, entry.finish_reason) == ("incomplete", "error")
        assert entry.bytes.wire_in > entry.bytes.payload_in * 0.5


async def test_a_steered_turn_and_its_successor_are_two() -> None:
    async with served() as (server, book), socket(server) as line:
        await say(line, user="slow", instructions="Be brief.")
        created = await until(line, "response.created")
        steer = {"type": "response.steer", "previous_response_id": created["response"]["id"], "input": "faster"}
        server.target.permit(1)
        await until(line, "response.output_text.delta")
        await line.send_str(json.dumps(steer))
        await until(line, "response.steer.accepted")
        server.target.permit(5)
        first, second = await book.next(), await book.next()
        assert [first.response_id, second.response_id] == [entry.response_id for entry in book.entries]
        whole = {"model": "m", "input": "hi", "user": "slow", "instructions": "Be brief."}
        assert first.bytes.stateless == len(json.dumps(whole))
        assert (second.bytes.wire_in, second.bytes.payload_in) == (0, 0)
        assert second.bytes.stateless > first.bytes.stateless


@pytest.mark.parametrize("is_clean", [True, False])
async def test_a_turn_whose_client_goes_is_entered_as_aborted(is_clean: bool) -> None:
    async with served() as (server, book):
        async with socket(server) as line:
            await say(line, user="slow")
            await until(line, "response.created")
            if not is_clean:
                line.get_extra_info("socket").shutdown(SHUT_WR)
        entry = await book.next()
        assert entry.outcome == "aborted"
        assert entry.bytes.wire_out > 0


async def test_a_turn_that_a_drain_ends_is_entered_as_failed() -> None:
    async with served() as (server, book), socket(server) as line:
        await say(line, user="slow")
        await until(line, "response.created")
        server.line.stop()
        entry = await book.next()
        assert (entry.outcome, entry.error_code) == ("failed", "server_shutting_down")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("behaviour", ["", "refuse", "break"])
async def test_a_turn_over_http_is_entered_once(stream: bool, behaviour: str) -> None:
    async with served() as (server, book):
        body = {"model": "m", "input": "hi", "stream": stream, "user": behaviour}
        async with server.client.post(f"{server.url}/responses", json=body) as answer:
            said = await answer.read()
        entry = await book.next()
        assert entry.outcome == {"": "completed", "refuse": "refused", "break": "failed"}[behaviour]
        assert entry.transport == "http"
        assert entry.bytes.payload_out == len(said)
        assert entry.bytes.wire_out > len(said)
        assert entry.bytes.stateless == entry.bytes.payload_in == len(json.dumps(body))
    assert len(book.entries) == 1


async def test_an_http_client_that_goes_leaves_an_aborted_turn() -> None:
    async with served() as (server, book):
        async with server.stream("POST", "/responses", {"model": "m", "input": "hi", "stream": True, "user": "slow"}):
            pass
        assert (await book.next()).outcome == "aborted"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_background_turn_is_entered_when_it_is_over(stream: bool) -> None:
    async with served() as (server, book):
        body = {"model": "m", "input": "hi", "stream": stream, "background": True}
        async with server.client.post(f"{server.url}/responses", json=body) as answer:
            said = await answer.read()
        entry = await book.next()
        assert (entry.transport, entry.outcome) == ("background", "completed")
        assert entry.bytes.payload_out == len(said)
        overhead = server.edge.ledger.overhead_out_bytes
        await server.ask("GET", f"/responses/{entry.response_id}")
        await server.ask("GET", "/models")
        assert server.edge.ledger.overhead_out_bytes > overhead
        assert book.entries == [entry]


async def test_a_refused_background_turn_is_entered_once() -> None:
    async with served() as (server, book):
        body = {"model": "m", "input": "hi", "background": True, "previous_response_id": "resp_none"}
        await server.ask("POST", "/responses", body)
        entry = await book.next()
        assert (entry.outcome, entry.error_code) == ("refused", "previous_response_not_found")


async def test_a_request_that_becomes_no_turn_is_overhead() -> None:
    async with served() as (server, book):
        assert (await server.ask("POST", "/responses", {"model": "m"}))[0] == 400
        assert (await server.ask("POST", "/responses/input_tokens", {"model": "m", "input": "hi"}))[0] == 200
        assert not book.entries
        assert server.edge.ledger.overhead_in_bytes > 100


async def test_what_comes_behind_an_answer_is_overhead_and_not_the_next_turns() -> None:
    refused = b"PUT /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5000\r\n\r\n"
    body = b'{"model": "m", "input": "hi"}'
    turn = b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    async with served() as (server, book):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.split(":")[2].split("/")[0]))

        async def be_refused() -> None:
            writer.write(refused)
            await reader.readuntil(b"method_not_allowed")
            await asyncio.wait_for(book.settled.wait(), DEADLINE_S)

        await be_refused()
        writer.write(b"x" * 5000)
        for _ in range(2):
            writer.write(turn)
            assert (await book.next()).bytes.wire_in == len(turn)
        assert server.edge.ledger.overhead_in_bytes == len(refused) + 5000
        await be_refused()
        writer.write(b"x" * 4000)
        writer.close()
        async with asyncio.timeout(DEADLINE_S):
            while server.edge.ledger.overhead_in_bytes < 2 * len(refused) + 9000:
                book.settled.clear()
                await book.settled.wait()
        assert server.edge.ledger.overhead_in_bytes == 2 * len(refused) + 9000


async def test_turns_of_one_conversation_over_http_are_one_session() -> None:
    async with served() as (server, book):
        first = await server.create("hi")
        again = [{"role": "user", "content": "hi"}, *first["output"], {"role": "user", "content": "more"}]
        await server.create(again, store=False)
        await server.create("more still", previous_response_id=first["id"])
        await server.create("hi")
        await server.create([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "I said so"}])
        for _ in range(5):
            await book.next()
        *same, another, last = [entry.session_id for entry in book.entries]
        assert len(set(same)) == 1
        assert another not in same
        assert last == another, "a history that was played back otherwise goes on where it began last"
        assert all(each.startswith("sess_") for each in (*same, another))
        assert [entry.split.history > 0 for entry in book.entries] == [False, True, False, True, True]
        session = server.edge.ledger.session(same[0])
        assert session is not None
        assert session.sums.turns == 3
        assert session.transport == "http"


@pytest.mark.parametrize("followed", [True, False])
async def test_a_reference_would_have_been_the_item_that_it_names(followed: bool) -> None:
    async with served() as (server, book):
        first = await server.create([{"role": "user", "content": "hi"}])
        [said] = first["output"]
        more = [{"type": "item_reference", "id": said["id"]}, {"role": "user", "content": "more"}]
        follows = {"previous_response_id": first["id"]} if followed else {}
        for items in (more, [said, more[1]]):
            await server.create(items, **follows)
        for _ in range(3):
            await book.next()
        _, referred, whole = [entry.bytes for entry in book.entries]
        assert referred.payload_in < whole.payload_in
        announced = json.dumps(said, separators=(",", ":"))
        assert referred.stateless == whole.stateless - len(json.dumps(said)) + len(announced)


async def test_compaction_is_a_turn() -> None:
    async with served() as (server, book):
        status, _ = await server.ask("POST", "/responses/compact", {"model": "m", "input": "say much"})
        entry = await book.next()
        assert status == 200
        assert (entry.compactions, entry.transport, entry.outcome) == (1, "http", "completed")


STEPS = st.lists(st.sampled_from(["turn", "slow", "ping", "refused", "broken json", "cancel", "lanes"]), max_size=8)


@settings(max_examples=15, deadline=None)
@given(STEPS, st.booleans())
def test_turns_and_overhead_of_a_socket_are_its_bytes(steps: list[str], is_compressed: bool) -> None:
    asyncio.run(_walk(steps, is_compressed))


async def _walk(steps: list[str], is_compressed: bool) -> None:
    async with served() as (server, book):
        port = int(server.url.rsplit(":", 1)[1].removesuffix("/v1"))
        with ByteRelay(port) as relay:
            url = f"{relay.base_url}/responses"
            async with server.client.ws_connect(url, compress=15 if is_compressed else 0) as line:
                turns = 0
                for step, number in zip(steps, itertools.count(), strict=False):
                    turns += await _take(step, line, server, number)
            for _ in range(turns):
                await book.next()
            await asyncio.wait_for(book.settled.wait(), DEADLINE_S)
        [session] = server.edge.ledger.sessions()
        sums = session.sums.bytes
        assert session.sums.turns == turns
        assert sums.wire_in + session.overhead_in_bytes == relay.sent_bytes
        assert sums.wire_out + session.overhead_out_bytes == relay.received_bytes
        assert server.edge.ledger.overhead_in_bytes == session.overhead_in_bytes


async def _take(step: str, line: aiohttp.ClientWebSocketResponse, server: StateServer, number: int) -> int:
    """One step on the socket; how many turns it took."""
    end = ("response.completed", "response.incomplete", "error")
    match step:
        case "turn":
            await say(line, input="größer " * number)
        case "refused":
            await say(line, user="refuse")
        case "slow":
            await say(line, user="slow")
            server.target.permit()
        case "cancel":
            await say(line, user="slow")
            created = await until(line, "response.created")
            await line.send_str(json.dumps({"type": "response.cancel", "response_id": created["response"]["id"]}))
        case "lanes":
            await say(line, stream_id="a")
            await say(line, stream_id="b")
            await until(line, *end)
            await until(line, *end)
            return 2
        case "broken json":
            await line.send_str("{")
            await until(line, "error")
            return 0
        case _:
            await line.ping()
            return 0
    await until(line, *end)
    return 1
