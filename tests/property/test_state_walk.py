"""Any walk over stored and unstored state gives the model exactly the conversation of a plain reference list."""

import asyncio
import itertools
import tempfile
from pathlib import Path
from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.fakes.chat import FakeChatServer
from support.fakes.scenario import Received, Scenario
from support.scripts.chat import Answer
from support.servers.walking import WalkingServer

Conversation = list[tuple[str, str]]
"""Role and text of each message."""

USERS_OWN = ("user ", "opening ", "note ")
"""How the walk's own messages begin; an earlier summary is a message too, and is summed up again."""
OPERATIONS = (
    "create over HTTP",
    "create over the socket",
    "create unstored over the socket",
    "continue over HTTP",
    "continue over the socket",
    "continue over the socket",
    "continue unstored over the socket",
    "delete a response",
    "open a conversation",
    "speak in a conversation over HTTP",
    "speak in a conversation over the socket",
    "add to a conversation",
    "delete from a conversation",
    "compact",
    "reconnect",
    "restart",
)
steps = st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 1000)), min_size=4, max_size=25)


class Walk:
    """Carries out one operation after the other and compares what the model is shown."""

    def __init__(self, server: WalkingServer, scenario: Scenario) -> None:
        self.server = server
        self.scenario = scenario
        self.numbers = itertools.count()
        self.stored: dict[str, Conversation] = {}
        self.deleted: list[str] = []
        self.on_socket: dict[str, Conversation] = {}
        """Unstored responses that this socket remembers."""
        self.conversations: dict[str, list[tuple[str, str, str]]] = {}
        """Item id, role, text."""

    async def take(self, operation: str, choice: int) -> None:
        over_socket = "socket" in operation
        store = "unstored" not in operation
        match operation.split(maxsplit=1)[0]:
            case "create":
                await self.create([], None, over_socket=over_socket, store=store)
            case "continue":
                known = {**self.stored, **(self.on_socket if over_socket else {})}
                parent = _pick([*known, *self.deleted[:1]], choice)
                if parent is not None:
                    await self.create(known.get(parent), parent, over_socket=over_socket, store=store)
            case "delete" if operation == "delete a response":
                await self.delete_response(_pick(list(self.stored), choice))
            case "delete":
                await self.delete_item(choice)
            case "open":
                await self.open_conversation()
            case "speak":
                await self.speak(_pick(list(self.conversations), choice), over_socket=over_socket)
            case "add":
                await self.add_items(_pick(list(self.conversations), choice))
            case "compact":
                await self.compact(_pick(list(self.stored), choice))
            case "reconnect":
                await self.server.reconnect()
                self.on_socket.clear()
            case _:
                await self.server.restart()
                self.on_socket.clear()

    async def create(self, history: Conversation | None, parent: str | None, *, over_socket: bool, store: bool) -> None:
        """A turn after `history`; None means that the parent must not be found."""
        text = f"user {next(self.numbers)}"
        body: dict[str, Any] = {"model": self.scenario.model, "input": text, "store": store}
        body |= {"previous_response_id": parent} if parent is not None else {}
        asked = len(self.scenario.received)
        response = await self.server.create(body, over_socket=over_socket)
        if history is None:
            is_remembered = over_socket and response.get("status") == "completed"
            assert is_remembered or response["code"] == "previous_response_not_found", response
            if is_remembered:
                assert parent in self.deleted
                self.stored[response["id"]] = self.seen()
                self.drop_unless_stored(response["id"], store)
            return
        assert response["status"] == "completed", response
        assert len(self.scenario.received) == asked + 1
        expected = [*history, ("user", text)]
        assert self.seen()[:-1] == expected
        self.stored[response["id"]] = self.seen()
        self.drop_unless_stored(response["id"], store)

    def drop_unless_stored(self, response_id: str, store: bool) -> None:
        if not store:
            self.on_socket[response_id] = self.stored.pop(response_id)

    def seen(self) -> Conversation:
        """What the model was shown last, and what it answered."""
        last = self.scenario.received[-1]
        assert last.refused is None
        assert last.reply is not None
        return [(message["role"], _text(message["content"])) for message in [*last.messages, last.reply]]

    async def delete_response(self, response_id: str | None) -> None:
        if response_id is None:
            return
        status, answer = await self.server.request("DELETE", f"/responses/{response_id}")
        assert (status, answer["deleted"]) == (200, True)
        del self.stored[response_id]
        self.deleted.insert(0, response_id)
        assert (await self.server.request("GET", f"/responses/{response_id}"))[0] == 404

    async def open_conversation(self) -> None:
        text = f"opening {next(self.numbers)}"
        status, made = await self.server.request(
            "POST", "/conversations", {"items": [{"role": "user", "content": text}]}
        )
        assert status == 200, made
        self.conversations[made["id"]] = []
        await self.refresh(made["id"], [("user", text)])

    async def refresh(self, conversation_id: str, expected: Conversation) -> None:
        """Compares the conversation's items and takes over their ids."""
        _, page = await self.server.request("GET", f"/conversations/{conversation_id}/items?order=asc&limit=100")
        items = [(item["id"], item["role"], _text(item["content"])) for item in page["data"]]
        assert [(role, text) for _, role, text in items] == expected
        self.conversations[conversation_id] = items

    async def speak(self, conversation_id: str | None, *, over_socket: bool) -> None:
        if conversation_id is None:
            return
        text = f"user {next(self.numbers)}"
        body = {"model": self.scenario.model, "input": text, "conversation": conversation_id}
        response = await self.server.create(body, over_socket=over_socket)
        assert response["status"] == "completed", response
        before = [(role, text) for _, role, text in self.conversations[conversation_id]]
        assert self.seen()[:-1] == [*before, ("user", text)]
        self.stored[response["id"]] = self.seen()
        await self.refresh(conversation_id, self.seen())

    async def add_items(self, conversation_id: str | None) -> None:
        if conversation_id is None:
            return
        text = f"note {next(self.numbers)}"
        items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}]
        status, _ = await self.server.request("POST", f"/conversations/{conversation_id}/items", {"items": items})
        assert status == 200
        before = [(role, text) for _, role, text in self.conversations[conversation_id]]
        await self.refresh(conversation_id, [*before, ("user", text)])

    async def delete_item(self, choice: int) -> None:
        places = [(name, index) for name, items in self.conversations.items() for index in range(len(items))]
        place = _pick(places, choice)
        if place is None:
            return
        name, index = place
        items = self.conversations[name]
        status, _ = await self.server.request("DELETE", f"/conversations/{name}/items/{items[index][0]}")
        assert status == 200
        await self.refresh(name, [(role, text) for _, role, text in items[:index] + items[index + 1 :]])

    async def compact(self, response_id: str | None) -> None:
        """A compacted window holds the user's words and the summary, and the next turn comes last."""
        if response_id is None:
            return
        history = self.stored[response_id]
        body = {"model": self.scenario.model, "previous_response_id": response_id}
        status, window = await self.server.request("POST", "/responses/compact", body)
        assert status == 200, window
        summary = self.scenario.received[-1].reply
        assert summary is not None
        text = f"user {next(self.numbers)}"
        request = {
            "model": self.scenario.model,
            "input": [*window["output"], {"role": "user", "content": text}],
        }
        response = await self.server.create(request, over_socket=False)
        assert response["status"] == "completed", response
        shown = "\n".join(said for _, said in self.seen()[:-1])
        assert _text(summary["content"]) in shown
        assert all(said in shown for _, said in history if said.startswith(USERS_OWN))
        assert self.seen()[-2] == ("user", text)
        self.stored[response["id"]] = self.seen()


def _pick(options: list[Any], choice: int) -> Any:
    return options[choice % len(options)] if options else None


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _answer(received: Received) -> Answer:
    return Answer(text=f"answer to {len(received.messages)} messages: {_text(received.messages[-1]['content'])}")


def _config(fake: FakeChatServer, store: str) -> str:
    return f"""
[store]
url = "{store}"
[targets.fake]
dialect = "chat_completions"
base_url = "{fake.base_url}"
[models."*"]
targets = ["fake"]
"""


async def _walk(operations: list[tuple[str, int]], fake: FakeChatServer) -> None:
    scenario = fake.scenario(_answer)
    with tempfile.TemporaryDirectory() as folder:
        async with WalkingServer(_config(fake, "sqlite:///walk.db"), Path(folder)) as server:
            walk = Walk(server, scenario)
            for operation, choice in operations:
                await walk.take(operation, choice)


@settings(max_examples=25, deadline=None, suppress_health_check=cast("list[HealthCheck]", list(HealthCheck)))
@given(operations=steps)
def test_model_sees_exactly_the_conversation(operations: list[tuple[str, int]], shared_fake: FakeChatServer) -> None:
    asyncio.run(_walk(operations, shared_fake))
