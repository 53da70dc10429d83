"""One conversation over four vendors: the model changes in the middle of it, with calls in flight, and nothing is lost."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import openai
import pytest

from support.conversations.told import Said, told_to_anthropic, told_to_chat, told_to_gemini, told_to_responses
from support.fakes.anthropic import API_KEY as ANTHROPIC_KEY
from support.fakes.anthropic import FakeAnthropicServer
from support.fakes.chat import FakeChatServer
from support.fakes.gemini import API_KEY as GEMINI_KEY
from support.fakes.gemini import FakeGeminiServer
from support.fakes.responses import FakeResponses, Reply
from support.fakes.scenario import Scenario
from support.scripts.chat import Answer, Call
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

RESPONSES_KEY = "sk-upstream-0123456789"
TOOL: Any = {
    "type": "function",
    "name": "look",
    "description": "Looks at a place.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    "strict": False,
}
TURNS_EACH = 3
ORDER = ("anthropic", "gemini", "responses", "chat", "anthropic", "responses", "gemini")
"""Back to a vendor that has signed thoughts in the history, too."""


class Vendors:
    """Four strict vendors, and a Landline whose model names are theirs."""

    def __init__(self, anthropic: FakeAnthropicServer, gemini: FakeGeminiServer, chat: FakeChatServer) -> None:
        self._fakes = {"anthropic": anthropic, "gemini": gemini, "chat": chat}
        self.responses = FakeResponses(key=RESPONSES_KEY)
        self.scenarios: dict[str, Scenario] = {}

    def config(self, transport: str) -> str:
        """The configuration of a server in front of them."""
        return f"""
[targets.anthropic]
dialect = "anthropic"
base_url = "{self._fakes["anthropic"].base_url}"
api_key_env = "LANDLINE_TEST_ANTHROPIC_KEY"
[targets.gemini]
dialect = "gemini"
base_url = "{self._fakes["gemini"].base_url}"
api_key_env = "LANDLINE_TEST_GEMINI_KEY"
[targets.chat]
dialect = "chat_completions"
base_url = "{self._fakes["chat"].base_url}"
[targets.responses]
dialect = "responses"
transport = "{transport}"
base_url = "{self.responses.base_url}"
api_key_env = "LANDLINE_TEST_RESPONSES_KEY"
[models.anthropic]
targets = ["anthropic:claude-switch"]
[models.gemini]
targets = ["gemini:gemini-3-switch"]
[models.chat]
targets = ["chat:chat-switch"]
[models.responses]
targets = ["responses:responses-switch"]
"""

    def play(self) -> None:
        """The script of one run, turn by turn in the order of the vendors."""
        turns = [(vendor, turn) for turn, vendor in enumerate(each for each in ORDER for _ in range(TURNS_EACH))]
        for vendor, fake in self._fakes.items():
            model = {"anthropic": "claude-switch", "gemini": "gemini-3-switch", "chat": "chat-switch"}[vendor]
            steps = [
                Answer(
                    said(turn), reasoning=f"Thought {turn}.", calls=tuple(Call("look", each) for each in looks(turn))
                )
                for at, turn in turns
                if at == vendor
            ]
            self.scenarios[vendor] = fake.scenario(steps, model=model)
        self.responses.play(
            *(
                Reply(said(turn), reasoning=f"Thought {turn}.", calls=[Call("look", each) for each in looks(turn)])
                for at, turn in turns
                if at == "responses"
            )
        )

    def told(self) -> list[list[Said]]:
        """What each turn's model was told, in the order of the turns."""
        readers: dict[str, Callable[[dict[str, Any]], list[Said]]] = {
            "anthropic": told_to_anthropic,
            "gemini": told_to_gemini,
            "chat": told_to_chat,
        }
        heard = {
            vendor: iter([readers[vendor](received.body) for received in scenario.received])
            for vendor, scenario in self.scenarios.items()
        }
        heard["responses"] = iter([told_to_responses(each) for each in self.responses.conversations])
        return [next(heard[vendor]) for vendor in ORDER for _ in range(TURNS_EACH)]

    def refusals(self) -> list[str]:
        """Everything that a vendor found wrong with what it was asked."""
        received = [each for scenario in self.scenarios.values() for each in scenario.received]
        return [each.refused for each in [*received, *self.responses.received] if each.refused]


def said(turn: int) -> str:
    return f"Turn {turn}."


def looks(turn: int) -> list[dict[str, str]]:
    """The calls of a turn; every third one makes two at once."""
    return [{"place": f"{turn}.{number}"} for number in range(2 if turn % 3 == 2 else 1)]


def expected() -> list[list[Said]]:
    """The conversation as every turn's model must have been told it."""
    conversation: list[Said] = [("user", "Look around.")]
    told: list[list[Said]] = []
    for turn in range(len(ORDER) * TURNS_EACH):
        told.append(list(conversation))
        conversation += [("said", said(turn)), *(("call", json.dumps(each)) for each in looks(turn))]
        conversation += [("output", f"Seen {each['place']}.") for each in looks(turn)]
    return told


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendors]:
    with ExitStack() as stack:
        fakes = (
            stack.enter_context(FakeAnthropicServer()),
            stack.enter_context(FakeGeminiServer()),
            stack.enter_context(FakeChatServer()),
        )
        made = Vendors(*fakes)
        stack.enter_context(made.responses.in_thread())
        yield made


@pytest.fixture(scope="module", params=["http", "websocket"])
def landline(
    request: pytest.FixtureRequest, vendors: Vendors, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LANDLINE_TEST_ANTHROPIC_KEY", ANTHROPIC_KEY)
        environment.setenv("LANDLINE_TEST_GEMINI_KEY", GEMINI_KEY)
        environment.setenv("LANDLINE_TEST_RESPONSES_KEY", RESPONSES_KEY)
        with RunningServer(vendors.config(request.param), tmp_path_factory.mktemp("switch")) as server:
            yield server


def outputs_of(output: Sequence[Any]) -> list[Any]:
    """What the client has seen, for every call that it was asked to make."""
    return [
        {
            "type": "function_call_output",
            "call_id": item.call_id,
            "output": f"Seen {json.loads(item.arguments)['place']}.",
        }
        for item in output
        if item.type == "function_call"
    ]


def ask_by_id(base_url: str, *, store: bool) -> None:
    """The run of a client that continues by id: over a socket without storage, over HTTP with it."""
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client, ExitStack() as stack:
        line = None if store else stack.enter_context(client.responses.connect())
        items: Any = [{"role": "user", "content": "Look around."}]
        previous: str | None = None
        for vendor in (each for each in ORDER for _ in range(TURNS_EACH)):
            settings: Any = {"model": vendor, "input": items, "tools": [TOOL], "previous_response_id": previous}
            settings["reasoning"] = {"effort": "low", "summary": "auto"}
            if line is None:
                response = client.responses.create(**settings)
            else:
                line.response.create(store=False, **settings)
                ends = ("response.completed", "response.failed")
                last: Any = next(event for event in line if event.type in ends)
                response = last.response
            assert response.error is None, response.error
            items, previous = outputs_of(response.output), response.id


def ask_in_full(base_url: str, include: list[Any]) -> None:
    """The run of a client that keeps the conversation itself."""
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        history: list[Any] = [{"role": "user", "content": "Look around."}]
        for vendor in (each for each in ORDER for _ in range(TURNS_EACH)):
            reasoning: Any = {"effort": "low", "summary": "auto"}
            response = client.responses.create(
                model=vendor, input=history, tools=[TOOL], store=False, include=include, reasoning=reasoning
            )
            history += [item.model_dump(exclude_none=True) for item in response.output]
            history += outputs_of(response.output)


CLIENTS: dict[str, Callable[[str], None]] = {
    "socket": lambda base_url: ask_by_id(base_url, store=False),
    "stored": lambda base_url: ask_by_id(base_url, store=True),
    "whole": lambda base_url: ask_in_full(base_url, []),
    "whole-sealed": lambda base_url: ask_in_full(base_url, ["reasoning.encrypted_content"]),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_every_vendor_is_told_the_whole_conversation_once(
    vendors: Vendors, landline: RunningServer, client: str
) -> None:
    vendors.play()
    CLIENTS[client](landline.base_url)
    assert vendors.refusals() == []
    assert vendors.told() == expected()


def test_thoughts_go_back_to_who_signed_them_and_to_nobody_else(vendors: Vendors, landline: RunningServer) -> None:
    vendors.play()
    ask_by_id(landline.base_url, store=False)
    anthropic = str(vendors.scenarios["anthropic"].received[-1].body)
    gemini = str(vendors.scenarios["gemini"].received[-1].body)
    by_vendor = [(vendor, turn) for turn, vendor in enumerate(each for each in ORDER for _ in range(TURNS_EACH))]
    last = max(turn for vendor, turn in by_vendor if vendor == "anthropic")
    for vendor, turn in by_vendor:
        if turn < last:
            assert (f"Thought {turn}." in anthropic) == (vendor == "anthropic"), (vendor, turn)
    assert gemini.count("'thoughtSignature'") >= TURNS_EACH
    assert not any(f"Thought {turn}." in gemini for vendor, turn in by_vendor if vendor != "gemini")
    assert "event=left_out target=gemini" in landline.log
