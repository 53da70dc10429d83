"""A lineage as chat messages, carried along link by link: what a link's items add is made into bytes once.

Strict servers want every call answered in the messages that directly follow it, exactly once. So a transcript keeps the
newest assistant message open until its calls are answered:

- items of the model that follow each other are one assistant message;
- messages that stand between calls and their outputs come after the outputs;
- images in outputs come in a user message after the outputs (or in them, by flag);
- a call that is still unanswered when the model goes on, or at the end, gets a note in place of its output;
- an output whose call is not open any more is told in a user message.

The result does not depend on how the items are cut into links, so a history that is sent whole and one that is sent in
deltas look the same to the model.
"""

from collections.abc import Sequence
from typing import assert_never

import msgspec

from landline.dialects.chat_completions.content import ChatPart, as_chat, read_attachment, text_part
from landline.dialects.chat_completions.flags import ChatCompletionsFlags
from landline.dialects.content import Content
from landline.dialects.names import ToolNames
from landline.dialects.sayings import Answered, Called, Saying, Spoken, Thought, Told, Unsaid, read_item
from landline.wire.errors import ApiError
from landline.wire.items import Item

NO_OUTPUT = "(no output yet)"
_encode = msgspec.json.Encoder().encode


class ModelRun(msgspec.Struct, frozen=True):
    """The newest assistant message, still open."""

    texts: tuple[str, ...] = ()
    thoughts: tuple[str, ...] = ()
    calls: tuple[Called, ...] = ()
    answers: dict[str, Content[ChatPart]] = {}
    held: tuple[bytes, ...] = ()
    """Messages that came while calls were unanswered."""


class Transcript(msgspec.Struct, frozen=True):
    """The conversation up to and with one link."""

    closed: bytes = b""
    """The messages that this link finished, as JSON, each followed by a comma."""
    run: ModelRun | None = None
    system: tuple[str, ...] = ()
    """Leading system messages, if the server wants them in one."""
    has_messages: bool = False
    error: ApiError | None = None
    """Why the conversation cannot be said; it stays for the rest of the lineage."""


def extend_transcript(
    before: Transcript | None, items: Sequence[Item], flags: ChatCompletionsFlags, names: ToolNames
) -> Transcript:
    """The transcript after more items."""
    if before is not None and before.error is not None:
        return before
    writer = _Writer(before or Transcript(), flags)
    for item in items:
        saying = read_item(item, names, read_attachment)
        if isinstance(saying, ApiError):
            return Transcript(error=saying)
        writer.say(saying)
    return writer.transcript()


def close_transcript(transcript: Transcript, flags: ChatCompletionsFlags) -> bytes:
    """The messages that are still open at the end of the conversation, each followed by a comma."""
    if transcript.run is None:
        return b""
    return b"".join(message + b"," for message in _close_run(transcript.run, flags))


class _Writer:
    """A transcript that is being extended."""

    def __init__(self, before: Transcript, flags: ChatCompletionsFlags) -> None:
        self._flags = flags
        self._before = before
        self._closed: list[bytes] = []
        self._run = before.run
        self._system = before.system

    def transcript(self) -> Transcript:
        return Transcript(
            closed=b"".join(message + b"," for message in self._closed),
            run=self._run,
            system=self._system,
            has_messages=self._has_messages(),
        )

    def say(self, saying: Saying[ChatPart]) -> None:
        match saying:
            case Told(role, content):
                is_developer = role == "developer"
                self._tell(self._flags.developer_role if is_developer else role, as_chat(content))
            case Spoken(text):
                run = self._model_run()
                self._run = msgspec.structs.replace(run, texts=(*run.texts, text))
            case Thought(text):
                if text:
                    run = self._model_run()
                    self._run = msgspec.structs.replace(run, thoughts=(*run.thoughts, text))
            case Called():
                run = self._model_run()
                self._run = msgspec.structs.replace(run, calls=(*run.calls, saying))
            case Answered():
                self._answer(saying)
            case Unsaid():
                pass
            case _:
                assert_never(saying)

    def _has_messages(self) -> bool:
        return self._before.has_messages or bool(self._closed) or self._run is not None

    def _tell(self, role: str, content: str | list[ChatPart]) -> None:
        if self._flags.system_position == "start" and role == self._flags.developer_role:
            if isinstance(content, str) and not self._has_messages():
                self._system = (*self._system, content)
                return
            role = "user"
        message = _encode({"role": role, "content": content})
        run = self._run
        if run is not None and _unanswered(run):
            self._run = msgspec.structs.replace(run, held=(*run.held, message))
            return
        self._close()
        self._closed.append(message)

    def _answer(self, answered: Answered[ChatPart]) -> None:
        run = self._run
        if run is None or answered.call_id not in _unanswered(run):
            self._tell("user", _late_output(answered))
            return
        self._run = msgspec.structs.replace(run, answers={**run.answers, answered.call_id: answered.content})

    def _model_run(self) -> ModelRun:
        """The run that the model's next item belongs to."""
        if self._run is not None and (self._run.answers or self._run.held):
            self._close()
        return self._run or ModelRun()

    def _close(self) -> None:
        if self._run is not None:
            self._closed.extend(_close_run(self._run, self._flags))
            self._run = None


def _unanswered(run: ModelRun) -> list[str]:
    return [call.call_id for call in run.calls if call.call_id not in run.answers]


def _close_run(run: ModelRun, flags: ChatCompletionsFlags) -> list[bytes]:
    """The assistant message, the outputs of its calls, then what had to wait for them."""
    if flags.reasoning_field == "none" and not run.texts and not run.calls:
        return []
    messages = [_encode(_assistant_message(run, flags))]
    attachments: list[ChatPart] = []
    for call in run.calls:
        content: Content[ChatPart] = run.answers.get(call.call_id, Content((NO_OUTPUT,)))
        said = as_chat(content) if flags.tool_images else content.text
        messages.append(_encode({"role": "tool", "tool_call_id": call.call_id, "content": said}))
        if not flags.tool_images and content.attachments:
            attachments += [text_part(f"Attached to the output of {call.call_id}:"), *content.attachments]
    if attachments:
        messages.append(_encode({"role": "user", "content": attachments}))
    return [*messages, *run.held]


def _assistant_message(run: ModelRun, flags: ChatCompletionsFlags) -> dict[str, object]:
    text = "\n\n".join(text for text in run.texts if text)
    message: dict[str, object] = {"role": "assistant", "content": text if text or not run.calls else None}
    thought = "\n\n".join(thought for thought in run.thoughts if thought)
    if thought and flags.reasoning_field != "none":
        message[flags.reasoning_field] = thought
    if run.calls:
        message["tool_calls"] = [_call_member(call, flags) for call in run.calls]
    return message


def _call_member(call: Called, flags: ChatCompletionsFlags) -> dict[str, object]:
    if call.input is not None and flags.custom_tools == "custom":
        return {"id": call.call_id, "type": "custom", "custom": {"name": call.name, "input": call.input}}
    return {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _late_output(answered: Answered[ChatPart]) -> str | list[ChatPart]:
    return as_chat(Content((f"Output of the tool call {answered.call_id}:", *answered.content.parts)))
