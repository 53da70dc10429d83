"""Chat completions as a dialect: the entry point of this package. Builds requests, opens decoders, reads errors."""

import operator
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.dialects.chat_completions.settings import (
    ChatCompletionsFlags,
    RequestOverrides,
    choice_member,
    read_settings,
    tool_maker,
)
from landline.dialects.chat_completions.stream import ChatStreamDecoder
from landline.dialects.chat_completions.transcript import Transcript, close_transcript, extend_transcript
from landline.dialects.dialect import CountRequest, Prompt, StreamDecoder, UpstreamRequest
from landline.dialects.faults import read_fault
from landline.dialects.request_parts import affinity_headers, read_input_tokens
from landline.dialects.tool_calls import call_id_prefix
from landline.dialects.tools import ToolNames, ToolReader, ToolSet, choose_tools
from landline.session.lineage import Link
from landline.wire.errors import ApiError, api_error
from landline.wire.items import Item

PATH = "/chat/completions"

_encode = msgspec.json.Encoder().encode
_closed = operator.attrgetter("closed")
_NO_OVERRIDES = RequestOverrides()


class ChatCompletions:
    """The chat-completions dialect with the flags of one server."""

    def __init__(self, flags: ChatCompletionsFlags | None = None) -> None:
        self.flags = flags or ChatCompletionsFlags()
        shaping = (
            self.flags.developer_role,
            self.flags.system_position,
            self.flags.custom_tools,
            self.flags.reasoning_field,
            self.flags.reasoning_placeholder,
            str(self.flags.reasoning_details),
            self.flags.call_ids,
            self.flags.role_order,
            str(self.flags.tool_images),
        )
        self._rendering_key = ":".join(("chat_completions", *shaping))
        self._tools = ToolReader(tool_maker(self.flags))

    @property
    def prefills_warm_up(self) -> bool:
        return self.flags.warm_up == "prefill"

    @property
    def compacts(self) -> bool:
        return False

    def build_request(self, prompt: Prompt, overrides: RequestOverrides = _NO_OVERRIDES) -> UpstreamRequest | ApiError:
        """The request for a turn, or the error that says why this server cannot answer it."""
        tool_set = self.tool_set(prompt)
        if isinstance(tool_set, ApiError):
            return tool_set
        members = self._members(prompt, tool_set, overrides)
        if isinstance(members, ApiError):
            return members
        transcripts = self._transcripts(prompt.history, tool_set.renamed)
        last = transcripts[-1] if transcripts else Transcript()
        if last.error is not None:
            return last.error
        messages = self._messages(transcripts, last, prompt.request.instructions, overrides.system_suffix)
        if not messages and prompt.history is not None and not prompt.request.is_warm_up:
            message = "Expected `input` to hold something that this model can read: it would be asked with no message."
            return api_error("missing_required_parameter", message, param="input")
        body = b"".join((_encode(members)[:-1], b',"messages":[', *messages, b"]}"))
        return UpstreamRequest(path=PATH, body=body, headers=self._headers(prompt), notes=_notes(last))

    def count_requests(self, prompt: Prompt) -> Sequence[CountRequest] | ApiError:
        """The ways to have the prompt counted."""
        request = self.build_request(prompt)
        return request if isinstance(request, ApiError) else count_requests(request.body)

    def open_decoder(self, prompt: Prompt) -> StreamDecoder:
        """A decoder of the answer."""
        return ChatStreamDecoder(
            find_tools=lambda: self._tools.known(prompt),
            find_call_ids=lambda: self._last_transcript(prompt).call_ids,
            call_id_prefix=call_id_prefix(prompt),
            keeps_details=self.flags.reasoning_details,
            is_warm_up=prompt.request.is_warm_up,
        )

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        """What a non-2xx answer means."""
        return read_fault(status, headers, body)

    def tool_set(self, prompt: Prompt) -> ToolSet | ApiError:
        """The tools of a turn; cached by their bytes."""
        return self._tools.read(prompt)

    def _members(self, prompt: Prompt, tool_set: ToolSet, overrides: RequestOverrides) -> dict[str, object] | ApiError:
        """Every member of the body but `messages`."""
        members: dict[str, object] = {"model": prompt.model, "stream": True}
        if self.flags.stream_usage:
            members["stream_options"] = {"include_usage": True}
        chosen = choose_tools(tool_set, prompt.request.tool_choice)
        if isinstance(chosen, ApiError):
            if "tools" not in overrides.omit:
                return chosen
        elif chosen.tools:
            members["tools"] = [msgspec.Raw(tool.json) for tool in chosen.tools]
            choice = choice_member(chosen, self.flags)
            if choice is not None:
                members["tool_choice"] = choice
            if prompt.request.parallel_tool_calls is not None:
                members["parallel_tool_calls"] = prompt.request.parallel_tool_calls
        members |= read_settings(prompt.request, self.flags)
        members |= self.flags.extra_body
        members |= overrides.members
        return {name: value for name, value in members.items() if name not in overrides.omit}

    def _messages(
        self, transcripts: Sequence[Transcript], last: Transcript, front: str | None, suffix: str
    ) -> Sequence[bytes]:
        """The conversation as byte strings that join to the inside of a JSON array."""
        system = [front or "", *last.system, suffix]
        pieces = [self._system_message([text for text in system if text])]
        pieces += map(_closed, transcripts)
        pieces.append(close_transcript(last, self.flags))
        while pieces and not pieces[-1]:
            pieces.pop()
        if pieces:
            pieces[-1] = pieces[-1][:-1]
        return pieces

    def _system_message(self, texts: Sequence[str]) -> bytes:
        if not texts:
            return b""
        return _encode({"role": self.flags.developer_role, "content": "\n\n".join(texts)}) + b","

    def _transcripts(self, history: Link | None, names: ToolNames) -> list[Transcript]:
        if history is None:
            return []
        key = f"{self._rendering_key}:{sorted(names.items())}" if names else self._rendering_key

        def extend(before: Transcript | None, items: Sequence[Item]) -> Transcript:
            return extend_transcript(before, items, self.flags, names)

        return history.folds(key, extend)

    def _last_transcript(self, prompt: Prompt) -> Transcript:
        transcripts = self._transcripts(prompt.history, self._tools.known(prompt).renamed)
        return transcripts[-1] if transcripts else Transcript()

    def _headers(self, prompt: Prompt) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        return headers | affinity_headers(self.flags.affinity_headers, prompt.affinity_key)


def _notes(last: Transcript) -> tuple[str, ...]:
    counts = {"reasoning": last.left_out, "items of hosted tools": last.passed_over}
    return tuple(f"{kind}: {count}" for kind, count in counts.items() if count)


def count_requests(body: bytes) -> list[CountRequest]:
    """Ways to count a body: llama-server's counter, which takes it unchanged, and vLLM's tokenizer."""
    shape = msgspec.json.decode(body, type=_TokenizeRequest)
    return [
        CountRequest("/chat/completions/input_tokens", body, read_input_tokens),
        CountRequest("/tokenize", msgspec.json.encode(shape), _read_count, is_at_root=True),
    ]


class _TokenizeRequest(msgspec.Struct):
    """The members of a chat request that vLLM's `TokenizeChatRequest` knows (0.11: model, messages, tools, template arguments)."""

    model: str
    messages: Raw
    tools: Raw | UnsetType = UNSET
    chat_template: Raw | UnsetType = UNSET
    chat_template_kwargs: Raw | UnsetType = UNSET


class _VllmCount(msgspec.Struct):
    count: int


def _read_count(body: bytes) -> int | None:
    """The count; None also for llama-server's own `/tokenize`, which counts plain text only and ignores messages."""
    try:
        return msgspec.json.decode(body, type=_VllmCount).count
    except msgspec.DecodeError:
        return None
