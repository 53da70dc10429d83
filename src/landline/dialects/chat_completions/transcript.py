"""A lineage as chat messages, carried along link by link: what a link's items add is made into bytes once.

Strict servers want every call answered in the messages that directly follow it, exactly once. So a transcript keeps the
newest assistant message open until its calls are answered:

- items of the model that follow each other are one assistant message;
- messages that stand between calls and their outputs come after the outputs;
- images in outputs come in a user message after the outputs (or in them, by flag);
- a call that is still unanswered when the model goes on, or at the end, gets a note in place of its output;
- an output whose call is not open any more is told in a user message;
- ids of calls are used once in a conversation, and are no longer than vendors take them.

The result does not depend on how the items are cut into links, so a history that is sent whole and one that is sent in
deltas look the same to the model.
"""

from collections.abc import Sequence
from typing import assert_never

import msgspec

from landline.dialects.chat_completions.content import ChatPart, as_chat, read_attachment
from landline.dialects.chat_completions.details import VENDOR
from landline.dialects.chat_completions.flags import ChatCompletionsFlags
from landline.dialects.chat_completions.model_run import ID_FORMS, ModelRun, UsedCall, run_messages
from landline.dialects.history_calls import UseIds, UseIdWriter
from landline.dialects.history_items import Answered, Called, Content, Saying, Spoken, Thought, Told, Unsaid, read_item
from landline.dialects.tools import ToolNames
from landline.wire.errors import ApiError
from landline.wire.items import Item

GO_ON = "(Go on.)"
"""The user's last message where a server does not answer its own model's words."""

_encode = msgspec.json.Encoder().encode


class Transcript(msgspec.Struct, frozen=True):
    """The conversation up to and with one link."""

    closed: bytes = b""
    """The messages that this link finished, as JSON, each followed by a comma."""
    run: ModelRun | None = None
    system: tuple[str, ...] = ()
    """Leading system messages, if the server wants them in one."""
    use_ids: UseIds = UseIds()
    """Of all calls."""
    has_messages: bool = False
    left_out: int = 0
    """Reasoning that is not told."""
    passed_over: int = 0
    """Items that tell what hosted tools of other targets did."""
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
    run = transcript.run
    if run is None:
        return b""
    messages = run_messages(run, flags)
    if flags.role_order == "strict" and messages and not run.calls:
        messages.append(_encode({"role": "user", "content": GO_ON}))
    return b"".join(message + b"," for message in messages)


class _Writer:
    """A transcript that is being extended."""

    def __init__(self, before: Transcript, flags: ChatCompletionsFlags) -> None:
        self._flags = flags
        self._had_messages = before.has_messages
        self._closed: list[bytes] = []
        self._run = before.run.copy() if before.run is not None else None
        self._system = list(before.system)
        self._use_ids = UseIdWriter(before.use_ids, ID_FORMS[flags.call_ids])
        self._left_out = before.left_out
        self._passed_over = before.passed_over

    def transcript(self) -> Transcript:
        return Transcript(
            closed=b"".join(message + b"," for message in self._closed),
            run=self._run,
            system=tuple(self._system),
            use_ids=self._use_ids.use_ids(),
            has_messages=self._has_messages(),
            left_out=self._left_out,
            passed_over=self._passed_over,
        )

    def say(self, saying: Saying[ChatPart]) -> None:
        match saying:
            case Told(role, content):
                is_developer = role == "developer"
                self._tell(self._flags.developer_role if is_developer else role, as_chat(content))
            case Spoken(text):
                self._open_run().texts.append(text)
            case Thought():
                self._think(saying)
            case Called(call_id):
                self._open_run().call(UsedCall(saying, self._use_ids.add(call_id)))
            case Answered(call_id, content):
                if self._run is None or not self._run.open_calls.answer(call_id, content):
                    self._tell("user", _late_output(saying))
            case Unsaid(is_lost):
                self._passed_over += is_lost
            case _:
                assert_never(saying)

    def _think(self, thought: Thought) -> None:
        signed = thought.signed
        details = signed.blocks if signed is not None and signed.by == VENDOR and self._flags.reasoning_details else ()
        if thought.text or details:
            run = self._open_run()
            run.thoughts += [thought.text] if thought.text else []
            run.details += details
        if not details and (not thought.text or self._flags.reasoning_field == "none"):
            self._left_out += 1

    def _has_messages(self) -> bool:
        return self._had_messages or bool(self._closed) or self._run is not None

    def _tell(self, role: str, content: str | list[ChatPart]) -> None:
        if self._flags.system_position == "start" and role == self._flags.developer_role:
            if isinstance(content, str) and not self._has_messages():
                self._system.append(content)
                return
            role = "user"
        message = _encode({"role": role, "content": content})
        if self._run is not None and self._run.open_calls.unanswered:
            self._run.held.append(message)
            return
        self._close(then_told=True)
        self._closed.append(message)

    def _open_run(self) -> ModelRun:
        """The run that the model's next item belongs to."""
        if self._run is not None and self._run.is_over:
            self._close()
        if self._run is None:
            self._run = ModelRun()
        return self._run

    def _close(self, *, then_told: bool = False) -> None:
        if self._run is not None:
            self._closed += run_messages(self._run, self._flags, then_told=then_told)
            self._run = None


def _late_output(answered: Answered[ChatPart]) -> str | list[ChatPart]:
    return as_chat(Content((f"Output of the tool call {answered.call_id}:", *answered.content.parts)))
