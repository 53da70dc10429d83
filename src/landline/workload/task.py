"""One agent's task: its messages, tools, calls and outputs, in recorded sizes and of made-up text; and the script of its model."""

import math
from collections.abc import Iterator
from importlib.resources import files

import msgspec

from landline.workload.text import TextSource

RECORDED = "codex_task.json"
TOOL_NAME = "run_command"
REQUEST = "Call run_command until it told you enough. "
"""The user's message: a real model does what a scripted one does."""

_PROSE_REPETITION = 0.0
_SCHEMA_REPETITION = 0.045
_OUTPUT_REPETITION = 0.02
"""Tuned, so that deflate makes of messages and tools what it made of the recorded ones, and of outputs what it makes of real
text: tests/unit/workload/test_text.py holds the three against those."""
TOKEN_BYTES = 4
"""Of English text and of code, about."""
_DELTA_TOKENS = 4
"""Tokens of an answer that come in one event."""


class MessageShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message that the client sends before the model's first turn."""

    role: str
    size_bytes: int
    """Of the whole item as JSON."""


class CallShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call and its output, both in bytes as they are inside their JSON strings."""

    arguments_bytes: int
    output_bytes: int


class TaskProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task as sizes: none of its text."""

    source: str
    messages: list[MessageShape]
    messages_deflated_bytes: int | None = None
    """All messages together by raw deflate at level 6, as recorded: how compressible their text is; None if it was not."""
    tools: list[int]
    """The bytes of each tool's definition."""
    tools_deflated_bytes: int | None = None
    calls: list[CallShape]
    """Repeated from the first one where a task has more."""
    calls_made: int
    answer_bytes: int
    """Of the model's last text."""


class ToolStep(msgspec.Struct, frozen=True):
    """A call that the model makes, and what the client answers."""

    arguments: str
    """A JSON object."""
    output: str


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What is replayed."""

    messages: tuple[bytes, ...]
    """Items as JSON."""
    tools: bytes
    """A JSON array."""
    steps: tuple[ToolStep, ...]
    answer: str

    @property
    def turns(self) -> int:
        """One for each call, and one for the answer."""
        return len(self.steps) + 1

    @property
    def full_history_bytes(self) -> int:
        """What a client sends that repeats everything in each turn; about, without settings, ids and heads."""
        told = sum(map(len, self.messages)) + len(self.tools)
        steps = [len(step.arguments) + len(step.output) for step in self.steps]
        return self.turns * told + sum(size * (len(steps) - number) for number, size in enumerate(steps))


class ModelPace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast the scripted model is."""

    first_token_ms: float
    tokens_per_s: float

    def ms(self, tokens: int) -> float:
        """How long so many tokens take."""
        return tokens * 1000 / self.tokens_per_s


def recorded_profile() -> TaskProfile:
    """The profile that the package ships."""
    data = files("landline.workload").joinpath(RECORDED).read_bytes()
    return msgspec.json.decode(data, type=TaskProfile)


def make_task(profile: TaskProfile, calls: int | None = None, *, seed: int = 1) -> Task:
    """The task in the profile's sizes, the same for the same seed; `calls` in place of as many as were recorded."""
    count = profile.calls_made if calls is None else calls
    prose = TextSource(3 * seed, _PROSE_REPETITION)
    outputs = TextSource(3 * seed + 1, _OUTPUT_REPETITION)
    *told, request = profile.messages
    shapes = [profile.calls[number % len(profile.calls)] for number in range(count)]
    return Task(
        messages=(*(_message(prose, shape) for shape in told), _message(prose, request, REQUEST)),
        tools=_tools(profile.tools, TextSource(3 * seed + 2, _SCHEMA_REPETITION)),
        steps=tuple(ToolStep(_arguments(outputs, shape), outputs.take(shape.output_bytes)) for shape in shapes),
        answer=prose.take(profile.answer_bytes),
    )


def scripted_turns(task: Task, pace: ModelPace) -> bytes:
    """The transcript (docs/scripted.md) of a model that makes the task's calls and says its answer, as JSON Lines.

    A model's time passes before its call, which then comes at once; the answer comes as it is written.
    """
    turns: list[object] = [{"after_last": "fail"}]
    for number, step in enumerate(task.steps):
        tokens = _tokens(step.arguments)
        wait = {"type": "delay", "ms": pace.first_token_ms + pace.ms(tokens)}
        call = {"type": "function_call", "name": TOOL_NAME, "arguments": step.arguments, "deltas": _deltas(tokens)}
        turns.append({"expect": {"last_item": _last_item(number)}, "steps": [wait, call]})
    answer = [{"type": "delay", "ms": pace.first_token_ms}, *_said(task.answer, pace)]
    turns.append({"expect": {"last_item": _last_item(len(task.steps))}, "steps": answer})
    return b"\n".join(msgspec.json.encode(turn) for turn in turns)


def model_s(task: Task, pace: ModelPace) -> float:
    """The time that the scripted model takes for the whole task."""
    said = sum(_tokens(step.arguments) for step in task.steps) + _tokens(task.answer)
    return (task.turns * pace.first_token_ms + pace.ms(said)) / 1000


def _last_item(number: int) -> str:
    return "function_call_output" if number else "message"


def _said(text: str, pace: ModelPace) -> Iterator[dict[str, object]]:
    size = _DELTA_TOKENS * TOKEN_BYTES
    for start in range(0, len(text), size):
        piece = text[start : start + size]
        yield {"type": "delay", "ms": pace.ms(_tokens(piece))}
        yield {"type": "text", "text": piece}


def _tokens(text: str) -> int:
    return math.ceil(len(text) / TOKEN_BYTES)


def _deltas(tokens: int) -> int:
    return math.ceil(tokens / _DELTA_TOKENS)


def _message(source: TextSource, shape: MessageShape, text: str = "") -> bytes:
    """A message of the shape's size, which begins with the text."""
    empty = len(_message_item(shape.role, text))
    return _message_item(shape.role, text + source.take(shape.size_bytes - empty))


def _message_item(role: str, text: str) -> bytes:
    content = [{"type": "input_text", "text": text}]
    return msgspec.json.encode({"type": "message", "role": role, "content": content})


def _arguments(source: TextSource, shape: CallShape) -> str:
    """A command as the tool's arguments; its text keeps to one line, so that nothing in it is escaped."""
    empty = _command("")
    size = shape.arguments_bytes - len(empty) - empty.count('"')  # each quote is escaped where arguments are a string
    return _command(source.take(size).replace("\n", "; "))


def _command(text: str) -> str:
    return msgspec.json.encode({"command": text}).decode()


def _tools(sizes: list[int], source: TextSource) -> bytes:
    """Function tools of these sizes; the first one is the one that is called."""
    tools = [_tool(size, f"tool_{number}" if number else TOOL_NAME, source) for number, size in enumerate(sizes)]
    return b"[" + b",".join(tools) + b"]"


_PARAMETER_BYTES = 300
"""A parameter with its description, about."""


def _tool(size_bytes: int, name: str, source: TextSource) -> bytes:
    """One tool as JSON: as many described parameters as fit, and a description that takes the rest."""
    names = ["command", *(f"option_{number}" for number in range(1, max(1, size_bytes // _PARAMETER_BYTES)))]
    properties = {each: {"type": "string", "description": source.take(_PARAMETER_BYTES // 2)} for each in names[:-1]}
    properties[names[-1]] = {"type": "string", "description": ""}
    empty = len(_definition(name, "", properties))
    return _definition(name, source.take(size_bytes - empty), properties)


def _definition(name: str, description: str, properties: dict[str, dict[str, str]]) -> bytes:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": ["command"],
        "additionalProperties": False,
    }
    return msgspec.json.encode(
        {"type": "function", "name": name, "description": description, "strict": False, "parameters": parameters}
    )
