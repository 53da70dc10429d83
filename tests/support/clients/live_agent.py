"""An agent that really talks: openai's own client over one socket, its tools and instructions sent with each turn."""

import random
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

from openai import OpenAI
from openai.types.responses import Response

from support.fakes.scenario import Received
from support.scripts.chat import Answer, Call, Step

INSTRUCTIONS = "You work in a folder of source code. Look before you answer, and say what you saw in few words. " * 30
_SUBJECTS = {
    "read_file": "Reads one file of the folder and gives its text with line numbers, at most so many lines of it.",
    "list_folder": "Lists what is in a folder, with sizes, sorted by name; folders end in a slash.",
    "search": "Finds lines that match a regular expression in all files below a folder, with their numbers.",
    "edit_file": "Replaces one text by another in a file; the old text must be there exactly once.",
    "run": "Runs a command in the folder and gives its output and exit status; it is stopped after its time.",
    "ask_user": "Asks the user a question when the task cannot be done without an answer.",
}


def _tool(name: str, about: str) -> dict[str, Any]:
    text = {
        "type": "string",
        "description": f"What {name} is about. {about} It is taken as it is, nothing is expanded.",
    }
    number = {"type": "integer", "description": f"How much of it at most. {about}"}
    return {
        "type": "function",
        "name": name,
        "description": f"{about} Paths are relative to the folder. " * 3,
        "strict": False,
        "parameters": {
            "type": "object",
            "properties": {"path": text, "pattern": text, "limit": number, "offset": number},
            "required": ["path"],
        },
    }


TOOLS: Any = [_tool(name, about) for name, about in _SUBJECTS.items()]


def call_tools(received: Received) -> Step:
    """The model's side: it reads one file after another."""
    number = sum(message["role"] == "tool" for message in received.messages)
    said = Answer("I have seen enough of it.", delta_chars=4)
    calls = Answer(calls=(Call("read_file", {"path": f"src/part_{number}.py", "limit": 200}),))
    return calls if received.messages[-1]["role"] in ("user", "tool") and number < 400 else said


class LiveAgent:
    """A context manager; each `turn` is a tool's output and the model's next call."""

    def __init__(self, base_url: str, model: str) -> None:
        self._client = OpenAI(base_url=base_url, api_key="none", max_retries=0)
        self._model = model
        self._connection = self._client.responses.connect(websocket_connection_options={"compression": "deflate"})
        self._last: Response | None = None

    def __enter__(self) -> Self:
        self._line = self._connection.enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._line.close()
        self._client.close()

    def turn(self, output: str = "") -> Response:
        """The next turn; `output` is what the tool that was called last gives back."""
        given: Any = self._outputs(output) if self._last is not None else "What does this program do?"
        self._line.response.create(
            model=self._model,
            instructions=INSTRUCTIONS,
            tools=TOOLS,
            input=given,
            previous_response_id=self._last.id if self._last is not None else None,
            store=False,
        )
        for event in self._line:
            if event.type == "response.completed":
                self._last = event.response
                return event.response
            assert event.type not in ("error", "response.failed", "response.incomplete"), event
        raise AssertionError("the line was closed within a turn")

    def _outputs(self, output: str) -> list[dict[str, Any]]:
        assert self._last is not None
        calls = [item.call_id for item in self._last.output if item.type == "function_call"]
        return [{"type": "function_call_output", "call_id": call_id, "output": output} for call_id in calls]


def source_text(number: int, lines: int = 60) -> str:
    """What a tool might have read: about as compressible as code is."""
    draw = random.Random(number)
    names = ["".join(draw.choices("aeiorstnlmkpd", k=draw.randint(4, 9))) for _ in range(lines)]
    return "".join(
        f"def {one}({other}):\n    return {other} * {draw.randrange(9999)}\n" for one, other in pairwise(names)
    )
