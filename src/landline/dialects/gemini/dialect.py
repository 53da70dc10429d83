"""Gemini as a dialect: the entry point of this package. Builds requests, opens decoders, reads errors."""

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from landline.dialects.dialect import CountRequest, Prompt, StreamDecoder, UpstreamRequest
from landline.dialects.gemini.faults import read_fault
from landline.dialects.gemini.parts import text_part
from landline.dialects.gemini.settings import (
    GeminiFlags,
    declare,
    family_of,
    format_instruction,
    generation_config,
    service_tier,
    tool_members,
)
from landline.dialects.gemini.stream import GeminiStreamDecoder
from landline.dialects.gemini.transcript import Transcript, TranscriptOptions, close_transcript, extend_transcript
from landline.dialects.tool_calls import call_id_prefix
from landline.dialects.tools import ToolNames, ToolReader, ToolSet, choose_tools
from landline.session.lineage import Link
from landline.wire.errors import ApiError, api_error
from landline.wire.items import Item

_HEADERS = {"Content-Type": "application/json", "Accept": "text/event-stream"}
_PATH_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/@")
"""Bytes of a model name that need no escape in a URL's path."""
_encode = msgspec.json.Encoder().encode


class Gemini:
    """The generateContent dialect with the flags of one server."""

    def __init__(self, flags: GeminiFlags | None = None) -> None:
        self.flags = flags or GeminiFlags()
        self._tools = ToolReader(declare)

    @property
    def prefills_warm_up(self) -> bool:
        """No: the implicit cache stores only prompts that were answered."""
        return False

    @property
    def compacts(self) -> bool:
        return False

    def build_request(self, prompt: Prompt) -> UpstreamRequest | ApiError:
        """The request for a turn, or the error that says why Gemini cannot answer it."""
        tool_set = self._tools.read(prompt)
        if isinstance(tool_set, ApiError):
            return tool_set
        members = self._members(prompt, tool_set)
        if isinstance(members, ApiError):
            return members
        options = self._options(prompt.model, tool_set.renamed)
        transcripts = _transcripts(prompt.history, options)
        last = transcripts[-1] if transcripts else Transcript()
        if last.error is not None:
            return last.error
        pieces = [*(transcript.written for transcript in transcripts), close_transcript(last, options)]
        told = format_instruction(prompt.request) if self._puts_format_in_words(prompt, tool_set) else ""
        front = "\n\n".join(text for text in (prompt.request.instructions or "", told) if text)
        instructions, contents = _split_system(front, last.system, pieces)
        if not any(contents):
            message = "Expected `input` to hold something that this model can read: it would be asked with no message."
            return api_error("missing_required_parameter", message, param="input")
        if instructions:
            members["systemInstruction"] = {"parts": [{"text": instructions}]}
        body = b"".join((b'{"contents":[', *contents, b"]", *_rest_of(_encode(members))))
        path = f"{_model_path(prompt.model)}:streamGenerateContent?alt=sse"
        counts = {"reasoning of other models": last.left_out, "items of hosted tools": last.passed_over}
        notes = [f"{kind}: {count}" for kind, count in counts.items() if count]
        notes += ["text.format: told in words, because this model takes none beside tools"] if told else []
        return UpstreamRequest(path=path, body=body, headers=dict(_HEADERS), notes=tuple(notes))

    def count_requests(self, prompt: Prompt) -> Sequence[CountRequest] | ApiError:
        """The one way to have the prompt counted."""
        request = self.build_request(prompt)
        return request if isinstance(request, ApiError) else [count_request(_model_path(prompt.model), request.body)]

    def open_decoder(self, prompt: Prompt) -> StreamDecoder:
        """A decoder of the answer."""
        return GeminiStreamDecoder(lambda: self._tools.known(prompt), call_id_prefix(prompt), prompt.model)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        """What a non-2xx answer means."""
        return read_fault(status, headers, body)

    def _members(self, prompt: Prompt, tool_set: ToolSet) -> dict[str, object] | ApiError:
        """Every member of the body but `contents` and `systemInstruction`."""
        request = prompt.request
        chosen = choose_tools(tool_set, request.tool_choice)
        if isinstance(chosen, ApiError):
            return chosen
        is_format_in_words = self._puts_format_in_words(prompt, tool_set)
        settings = generation_config(
            request, family_of(prompt.model, self.flags), is_format_in_words=is_format_in_words
        )
        extra = dict(self.flags.extra_body)
        more = extra.pop("generationConfig", None)
        if isinstance(more, dict):
            settings |= cast("dict[str, object]", more)
        members = tool_members(tool_set, chosen) | service_tier(request)
        if settings:
            members["generationConfig"] = settings
        return members | extra

    def _puts_format_in_words(self, prompt: Prompt, tool_set: ToolSet) -> bool:
        return bool(tool_set.tools) and not family_of(prompt.model, self.flags).takes_schema_with_tools

    def _options(self, model: str, names: ToolNames) -> TranscriptOptions:
        return TranscriptOptions(model, family_of(model, self.flags), self.flags.call_ids, names)


def _transcripts(history: Link | None, options: TranscriptOptions) -> list[Transcript]:
    if history is None:
        return []

    def extend(before: Transcript | None, items: Sequence[Item]) -> Transcript:
        return extend_transcript(before, items, options)

    family = options.family
    shaping = (options.model, family.needs_signatures, family.takes_media_inside, options.has_call_ids)
    return history.folds(f"gemini:{shaping}:{sorted(options.names.items(), key=str)}", extend)


def _split_system(instructions: str, system: Sequence[str], pieces: Sequence[bytes]) -> tuple[str, Sequence[bytes]]:
    """The system instruction, and the contents.

    Gemini refuses a request without contents. If there are only developer messages, they become the user's content.
    """
    if any(pieces):
        return "\n\n".join(text for text in (instructions, *system) if text), pieces
    parts = b",".join(text_part(text) for text in system if text)
    return instructions, [b'{"role":"user","parts":[' + parts + b"]}"] if parts else []


def _rest_of(members: bytes) -> tuple[bytes, ...]:
    """The JSON that follows the first member of the body."""
    return (b"}",) if members == b"{}" else (b",", members[1:])


def _model_path(model: str) -> str:
    """`/models/NAME`; a name that holds a slash says itself what it is (`tunedModels/NAME`)."""
    path = "".join(chr(byte) if byte in _PATH_BYTES else f"%{byte:02X}" for byte in model.encode())
    return f"/{path}" if "/" in model else f"/models/{path}"


def count_request(model_path: str, body: bytes) -> CountRequest:
    """For a generateContent body: `countTokens`, which reads it whole, its tools and instructions too."""
    model = msgspec.json.encode({"model": model_path.removeprefix("/")})
    request = b'{"generateContentRequest":' + model[:-1] + b"," + body[1:] + b"}"
    return CountRequest(f"{model_path}:countTokens", request, _read_total)


class _TotalTokenCount(msgspec.Struct, rename="camel"):
    total_tokens: int


def _read_total(body: bytes) -> int | None:
    try:
        return msgspec.json.decode(body, type=_TotalTokenCount).total_tokens
    except msgspec.DecodeError:
        return None
