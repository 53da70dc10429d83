"""Responses as a dialect: the entry point of this package. Forwards the client's create and items, relays the events."""

import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw

from landline.dialects.dialect import CountRequest, Prompt, StreamDecoder, UpstreamRequest
from landline.dialects.request_parts import affinity_headers
from landline.dialects.responses.events import ResponsesStreamDecoder
from landline.dialects.responses.faults import read_refusal
from landline.dialects.responses.request import (
    Members,
    ReasoningPolicy,
    RenderedLink,
    ResponsesFlags,
    count_request,
    create_members,
    is_stored,
    render_items,
    stream_options,
)
from landline.session.lineage import Link
from landline.wire.errors import ApiError
from landline.wire.items import Item

PATH = "/responses"
_TRIGGER = b'{"type":"compaction_trigger"}'
_TRUE = Raw(b"true")
_UNREADABLE = re.compile(
    r"Item with id 'rs_|encrypted[ _](?:reasoning|content)|created under a different|['\"`]include\b", re.IGNORECASE
)
"""Azure: VicBilibily/GCMP#345 (2026-08). "Encrypted content is not supported with this model": NousResearch/hermes-agent#24234."""

_encode = msgspec.json.Encoder().encode


class Responses:
    """The Responses dialect with the flags of one server."""

    def __init__(self, flags: ResponsesFlags | None = None) -> None:
        self.flags = flags or ResponsesFlags()

    @property
    def prefills_warm_up(self) -> bool:
        """No: over HTTP a warm-up leaves no state for the next turn; on a socket `build_frame` sends it."""
        return False

    @property
    def compacts(self) -> bool:
        return self.flags.compaction == "upstream"

    def build_request(self, prompt: Prompt, *, omit_reasoning: bool = False) -> UpstreamRequest | ApiError:
        """The request for a turn: its whole history as `input`."""
        rendered = self._render(prompt.history, self._policy(prompt, takes_none=omit_reasoning))
        members = self._members(prompt, rendered, omit_reasoning=omit_reasoning)
        members |= {"stream": _TRUE, **stream_options(prompt)}
        return UpstreamRequest(
            path=PATH,
            body=_join(members, _pieces(rendered, prompt)),
            headers=self.headers(prompt) | {"Content-Type": "application/json", "Accept": "text/event-stream"},
            notes=_notes(rendered),
        )

    def retry_request(self, prompt: Prompt, error: ApiError) -> UpstreamRequest | None:
        """The request without reasoning, if the upstream refused reasoning that it cannot decrypt.

        Another model or account encrypted it, or the key is gone. OpenAI then answers `invalid_encrypted_content`, or that
        an item `rs_…` is not found; Azure that it was created under a different resource; others only mention it. Models
        that do not reason refuse `include: ["reasoning.encrypted_content"]`.
        """
        is_reasoning = error.code == "invalid_encrypted_content" or _UNREADABLE.search(error.message) is not None
        if not is_reasoning or (prompt.history is not None and prompt.history.is_sealed):
            return None
        rendered = self._render(prompt.history, self._policy(prompt))
        has_sent = any(each.has_reasoning for each in rendered[-1:])
        if not has_sent and not self._asks_for_reasoning(prompt, rendered):
            return None
        request = self.build_request(prompt, omit_reasoning=True)
        return request if isinstance(request, UpstreamRequest) else None

    def build_frame(
        self,
        prompt: Prompt,
        items: Sequence[Item],
        *,
        previous_response_id: str | None = None,
        stream_id: str | None = None,
        omit_reasoning: bool = False,
    ) -> bytes | ApiError:
        """One `response.create` frame with these items: those new since `previous_response_id`, or the whole history.

        A warm-up stays one (`generate: false`). If instructions cannot be sent with `previous_response_id`, the caller
        ensures that they are those with which the chain began.
        """
        members: Members = {"type": Raw(b'"response.create"')}
        if stream_id is not None:
            members["stream_id"] = Raw(_encode(stream_id))
        if previous_response_id is not None:
            members["previous_response_id"] = Raw(_encode(previous_response_id))
        rendered = [render_items(None, items, self._policy(prompt, takes_none=omit_reasoning))]
        members |= self._members(prompt, rendered, omit_reasoning=omit_reasoning)
        if prompt.request.generate is False:
            members["generate"] = Raw(b"false")
        if previous_response_id is not None and self.flags.instructions_with_previous == "omit":
            members.pop("instructions", None)
        return _join(members, _pieces(rendered, prompt))

    def count_requests(self, prompt: Prompt) -> Sequence[CountRequest] | ApiError:
        """The one way to have the prompt counted."""
        rendered = self._render(prompt.history, self._policy(prompt))
        pieces = [piece for each in rendered for piece in each.pieces]
        return [count_request(create_members(prompt, self.flags), pieces)]

    def open_decoder(self, prompt: Prompt) -> StreamDecoder:
        """A decoder of the answer over HTTP; a socket's frames go to an `EventReader`."""
        del prompt
        return ResponsesStreamDecoder()

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        """What a non-2xx answer means."""
        return read_refusal(status, headers, body).error

    def headers(self, prompt: Prompt) -> dict[str, str]:
        """Headers that tell routers in front of the upstream which conversation this is; also for a socket's upgrade."""
        return affinity_headers(self.flags.affinity_headers, prompt.affinity_key)

    def _policy(self, prompt: Prompt, *, takes_none: bool = False) -> ReasoningPolicy:
        takes_foreign = self.flags.foreign_reasoning == "send"
        return ReasoningPolicy(takes_foreign, is_stored(prompt, self.flags), takes_none)

    def _members(self, prompt: Prompt, rendered: Sequence[RenderedLink], *, omit_reasoning: bool) -> Members:
        asks = not omit_reasoning and self._asks_for_reasoning(prompt, rendered)
        return create_members(prompt, self.flags, keeps_reasoning=asks)

    def _asks_for_reasoning(self, prompt: Prompt, rendered: Sequence[RenderedLink]) -> bool:
        """Whether to ask for encrypted reasoning: only of models known to reason, as others refuse the `include`."""
        is_known = prompt.request.reasoning is not None or any(each.has_reasoning for each in rendered[-1:])
        is_wanted = self.flags.keep_reasoning and self.flags.foreign_reasoning == "omit"
        return is_known and is_wanted and not is_stored(prompt, self.flags)

    def _render(self, history: Link | None, policy: ReasoningPolicy) -> list[RenderedLink]:
        if history is None:
            return []

        def extend(before: RenderedLink | None, items: Sequence[Item]) -> RenderedLink:
            return render_items(before, items, policy)

        return history.folds(f"responses:{policy}", extend)


def _pieces(rendered: Sequence[RenderedLink], prompt: Prompt) -> list[bytes]:
    pieces = [piece for each in rendered for piece in each.pieces]
    return [*pieces, _TRIGGER] if prompt.is_compaction else pieces


def _join(members: Members, pieces: Sequence[bytes]) -> bytes:
    """One JSON object; the items are copied once, byte for byte."""
    head = _encode(members)[:-1] + b',"input":['
    if not pieces:
        return head + b"]}"
    parts = list(pieces)
    parts[0] = head + parts[0]
    parts[-1] += b"]}"
    return b",".join(parts)


def _notes(rendered: Sequence[RenderedLink]) -> tuple[str, ...]:
    left_out = rendered[-1].left_out if rendered else 0
    return (f"{left_out} reasoning items",) if left_out else ()
