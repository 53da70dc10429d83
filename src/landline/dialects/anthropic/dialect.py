"""The Messages API as a dialect: the entry point of this package. Builds requests, opens decoders, reads errors."""

from collections.abc import Mapping, Sequence

import msgspec

from landline.dialects.anthropic.breakpoints import CacheMode, cache_mode, mark_member, place_breakpoints
from landline.dialects.anthropic.settings import (
    AnswerFormat,
    AnthropicFlags,
    ThinkingMembers,
    answer_format,
    ask_for_thinking,
    read_settings,
)
from landline.dialects.anthropic.stream import MessageStreamDecoder
from landline.dialects.anthropic.tools import NO_TOOL, OfferedTools, choice_member, is_forced, offer_tools, tool_maker
from landline.dialects.anthropic.transcript import (
    MessageSpan,
    Transcript,
    close_transcript,
    extend_transcript,
    text_block,
)
from landline.dialects.dialect import CountRequest, Prompt, StreamDecoder, UpstreamRequest
from landline.dialects.faults import read_fault
from landline.dialects.request_parts import affinity_headers, read_input_tokens
from landline.dialects.tool_calls import call_id_prefix
from landline.dialects.tools import ChosenTools, ToolNames, ToolReader, choose_tools
from landline.session.lineage import Link
from landline.wire.errors import ApiError, api_error
from landline.wire.items import Item

PATH = "/messages"
COUNT_PATH = "/messages/count_tokens"

_encode = msgspec.json.Encoder().encode
_COUNTED = ("model", "tools", "tool_choice", "thinking", "output_config")
"""Members that count_tokens takes, beside `system` and `messages`."""


class RequestParts(msgspec.Struct, frozen=True):
    """The parts of a request before they are joined to its body."""

    members: dict[str, object]
    """All members of the body except tools, system and messages, which are JSON already."""
    tools: Sequence[bytes]
    system: Sequence[bytes]
    is_system_marked: bool
    pieces: Sequence[MessageSpan]
    betas: tuple[str, ...]
    notes: tuple[str, ...]


class Anthropic:
    """The Messages dialect with the flags of one model or gateway."""

    def __init__(self, flags: AnthropicFlags | None = None) -> None:
        self.flags = flags or AnthropicFlags()
        self._tools = ToolReader(tool_maker(self.flags))

    @property
    def prefills_warm_up(self) -> bool:
        return self.flags.warm_up == "prefill"

    @property
    def compacts(self) -> bool:
        return False

    def build_request(self, prompt: Prompt) -> UpstreamRequest | ApiError:
        """The request for a turn, or the error that says why this model cannot answer it."""
        parts = self._build_parts(prompt)
        if isinstance(parts, ApiError):
            return parts
        members = parts.members if prompt.request.is_warm_up else {**parts.members, "stream": True}
        mode = cache_mode(prompt.request, self.flags.cache)
        body = _join(parts, members | self.flags.extra_body, mode, mark_member(prompt.request, self.flags.cache_ttl))
        return UpstreamRequest(path=PATH, body=body, headers=self._headers(prompt, parts.betas), notes=parts.notes)

    def count_requests(self, prompt: Prompt) -> Sequence[CountRequest] | ApiError:
        """The API's own counter."""
        parts = self._build_parts(prompt)
        if isinstance(parts, ApiError):
            return parts
        members = {name: value for name, value in parts.members.items() if name in _COUNTED}
        headers = {**self._headers(prompt, parts.betas), "Accept": "application/json"}
        return [CountRequest(COUNT_PATH, _join(parts, members, "off"), read_input_tokens, headers=headers)]

    def open_decoder(self, prompt: Prompt) -> StreamDecoder:
        """A decoder of the answer."""
        return MessageStreamDecoder(
            find_tools=lambda: self._tools.known(prompt),
            call_id_prefix=call_id_prefix(prompt),
            is_warm_up=prompt.request.is_warm_up,
        )

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        """What a non-2xx answer means."""
        return read_fault(status, headers, body)

    def _build_parts(self, prompt: Prompt) -> RequestParts | ApiError:
        tool_set = self._tools.read(prompt)
        if isinstance(tool_set, ApiError):
            return tool_set
        chosen = choose_tools(tool_set, prompt.request.tool_choice)
        if isinstance(chosen, ApiError):
            return chosen
        transcripts = _transcripts(prompt.history, tool_set.renamed)
        last = transcripts[-1] if transcripts else Transcript()
        if last.error is not None:
            return last.error
        if last.is_empty and prompt.history is not None and not prompt.request.is_warm_up:
            message = "Expected `input` to hold something that this model can read: it would be asked with no message."
            return api_error("missing_required_parameter", message, param="input")
        pieces = [piece for transcript in transcripts for piece in transcript.pieces]
        closed = close_transcript(last)
        return self._assemble(prompt, chosen, closed, [*pieces, *closed.pieces])

    def _assemble(
        self, prompt: Prompt, chosen: ChosenTools, last: Transcript, pieces: Sequence[MessageSpan]
    ) -> RequestParts | ApiError:
        request = prompt.request
        max_tokens = request.max_output_tokens or self.flags.max_tokens
        thinking = ThinkingMembers()
        if not request.is_warm_up:
            starts_signed = last.starts_signed or not last.is_loop
            thinking = ask_for_thinking(
                request, self.flags, max_tokens, is_forced=is_forced(chosen), starts_signed=starts_signed
            )
        settings = read_settings(request, self.flags, is_thinking=thinking.is_on)
        if isinstance(settings, ApiError):
            return settings
        members: dict[str, object] = {"model": prompt.model, "max_tokens": 0 if request.is_warm_up else max_tokens}
        members |= settings
        if thinking.thinking is not None:
            members["thinking"] = thinking.thinking
        form = answer_format(request)
        output = {"effort": thinking.effort, "format": form.member}
        if any(output.values()):
            members["output_config"] = {name: value for name, value in output.items() if value}
        offered = offer_tools(chosen.tools, form.enforced)
        tools = offered.members
        if tools and not request.is_warm_up:
            choice = choice_member(chosen, request.parallel_tool_calls)
            if choice is not None:
                members["tool_choice"] = choice
        elif not tools and last.call_ids.newest:
            tools, members["tool_choice"] = [NO_TOOL], {"type": "none"}
        texts = (request.instructions or "", *last.system, form.told)
        system = [block for block in map(text_block, texts) if block is not None]
        betas = self.flags.betas if thinking.beta is None else (*self.flags.betas, thinking.beta)
        return RequestParts(
            members, tools, system, last.is_system_marked, pieces, betas, _notes(last, thinking, form, offered)
        )

    def _headers(self, prompt: Prompt, betas: Sequence[str]) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json" if prompt.request.is_warm_up else "text/event-stream",
            "anthropic-version": self.flags.api_version,
        }
        if betas:
            headers["anthropic-beta"] = ",".join(betas)
        return headers | affinity_headers(self.flags.affinity_headers, prompt.affinity_key)


def _transcripts(history: Link | None, names: ToolNames) -> list[Transcript]:
    if history is None:
        return []
    key = f"anthropic:{sorted(names.items())}" if names else "anthropic"

    def extend(before: Transcript | None, items: Sequence[Item]) -> Transcript:
        return extend_transcript(before, items, names)

    return history.folds(key, extend)


def _join(parts: RequestParts, members: Mapping[str, object], mode: CacheMode, mark: bytes = b"") -> bytes:
    """Joins the body. The pieces of the messages are copied unchanged, with the marks of breakpoints between them."""
    places = place_breakpoints(
        parts.pieces,
        mode,
        has_tools=bool(parts.tools),
        has_system=bool(parts.system),
        is_system_marked=parts.is_system_marked,
    )
    body: list[bytes] = [_encode(members)[:-1]]
    if parts.tools:
        body += (b',"tools":[', *_blocks(parts.tools, mark if places.has_tools else b""), b"]")
    if parts.system:
        body += (b',"system":[', *_blocks(parts.system, mark if places.has_system else b""), b"]")
    messages = [piece.body for piece in parts.pieces]
    for index in sorted(places.spans, reverse=True):
        messages.insert(index + 1, mark)
    return b"".join((*body, b',"messages":[', *messages, b"}]}]}"))


def _blocks(blocks: Sequence[bytes], mark: bytes) -> tuple[bytes, bytes, bytes]:
    """The blocks joined by commas; the mark goes into the last one."""
    return b",".join(blocks)[:-1], mark, b"}"


def _notes(last: Transcript, thinking: ThinkingMembers, form: AnswerFormat, offered: OfferedTools) -> tuple[str, ...]:
    counts = {
        "reasoning": last.left_out,
        "items of hosted tools": last.passed_over,
        "strict of tools": offered.loose,
        "limits of tools, told in words": offered.told,
    }
    notes = tuple(f"{kind}: {count}" for kind, count in counts.items() if count)
    return (*notes, *(note for note in (thinking.note, form.note) if note is not None))
