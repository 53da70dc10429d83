"""What the model did in one go, with the outputs of its calls, as chat messages."""

import re

import msgspec

from landline.dialects.chat_completions.content import ChatPart, as_chat, text_part
from landline.dialects.chat_completions.details import with_ids
from landline.dialects.chat_completions.flags import ChatCompletionsFlags
from landline.dialects.history_calls import IdForm, OpenCalls
from landline.dialects.history_items import Called

NOTED = "(Noted.)"
"""The model's word between outputs and what the user says next."""
ID_FORMS = {
    "max_40": IdForm(re.compile(r".{1,40}", re.DOTALL), "call_", 24),
    "alphanumeric_9": IdForm(re.compile(r"[a-zA-Z0-9]{9}"), "", 9),
}
"""OpenAI takes ids of 40 characters (vercel/ai#5171), and each once in a conversation (agno-agi/agno#5116). Mistral:
anomalyco/opencode#1680."""

_encode = msgspec.json.Encoder().encode


class UsedCall(msgspec.Struct, frozen=True):
    """A call under the id that it has in the request."""

    call: Called
    use_id: str


def _no_calls() -> OpenCalls[ChatPart]:
    return OpenCalls()


class ModelRun(msgspec.Struct):
    """The newest assistant message, still open."""

    texts: list[str] = []
    thoughts: list[str] = []
    details: list[str] = []
    """What its vendor signed, as JSON objects."""
    calls: list[UsedCall] = []
    open_calls: OpenCalls[ChatPart] = msgspec.field(default_factory=_no_calls)
    """By their places in `calls`."""
    held: list[bytes] = []
    """Messages that came while calls were unanswered."""

    @property
    def is_over(self) -> bool:
        """Whether the user has spoken since: what the model says next is another message."""
        return bool(self.open_calls.outputs or self.held)

    def copy(self) -> "ModelRun":
        """One that can be added to without changing this one."""
        lists = list(self.texts), list(self.thoughts), list(self.details), list(self.calls)
        return ModelRun(*lists, self.open_calls.copy(), list(self.held))

    def call(self, used: UsedCall) -> None:
        """Adds a call."""
        self.open_calls.add(used.call.call_id, len(self.calls))
        self.calls.append(used)


def run_messages(run: ModelRun, flags: ChatCompletionsFlags, *, then_told: bool = False) -> list[bytes]:
    """The assistant message, the outputs of its calls, then what had to wait for them.

    `then_told`: a message follows that is not the model's.
    """
    assistant = _assistant_message(run, flags)
    messages = [_encode(assistant)] if assistant is not None else []
    attachments: list[ChatPart] = []
    for place, used in enumerate(run.calls):
        content = run.open_calls.output(place)
        said = as_chat(content) if flags.tool_images else content.text
        messages.append(_encode({"role": "tool", "tool_call_id": used.use_id, "content": said}))
        if not flags.tool_images and content.attachments:
            attachments += [text_part(f"Attached to the output of {used.use_id}:"), *content.attachments]
    if run.calls and flags.role_order == "strict" and (attachments or run.held or then_told):
        messages.append(_encode({"role": "assistant", "content": NOTED}))
    if attachments:
        messages.append(_encode({"role": "user", "content": attachments}))
    return [*messages, *run.held]


def _assistant_message(run: ModelRun, flags: ChatCompletionsFlags) -> dict[str, object] | None:
    """None if there is nothing to say: servers refuse an empty message."""
    text = "\n\n".join(text for text in run.texts if text)
    thought = "\n\n".join(run.thoughts) if flags.reasoning_field != "none" else ""
    if not text and not thought and not run.details and not run.calls:
        return None
    message: dict[str, object] = {"role": "assistant", "content": text if text or not run.calls else None}
    reasoning = thought or flags.reasoning_placeholder
    if run.details:
        use_ids = {used.call.call_id: used.use_id for used in run.calls}
        message["reasoning_details"] = with_ids(run.details, use_ids)
    elif reasoning and flags.reasoning_field != "none":
        message[flags.reasoning_field] = reasoning
    if run.calls:
        message["tool_calls"] = [_call_member(used, flags) for used in run.calls]
    return message


def _call_member(used: UsedCall, flags: ChatCompletionsFlags) -> dict[str, object]:
    call = used.call
    if call.input is not None and flags.custom_tools == "custom":
        return {"id": used.use_id, "type": "custom", "custom": {"name": call.name, "input": call.input}}
    return {"id": used.use_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
