"""The contract of a dialect: Responses items in, model events out. `upstream` calls it, the packages here implement it.

Hub and spoke: a dialect converts between one vendor's API and the types of `wire`, never between two vendors' APIs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from landline.session.lineage import Link
from landline.wire.errors import ApiError
from landline.wire.items import Item
from landline.wire.model_events import ModelEvent
from landline.wire.requests import CreateRequest


class Prompt(msgspec.Struct, frozen=True):
    """What a turn asks of a model: the whole history (its newest link holds this turn's input) and the settings."""

    history: Link | None
    """None when there is no item at all, as in a warm-up that only carries tools."""
    request: CreateRequest
    """Settings: instructions, tools, sampling, formats. Its `input` is already in `history`."""
    model: str
    """The model's name at the upstream."""
    response_id: str = ""
    """Our id of the response that the turn makes."""
    affinity_key: str | None = None
    """Names the lane or conversation to routers behind the target."""
    tenant: str = ""
    """Whose turn it is; no state of a target may cross from one tenant to another."""
    line_id: str | None = None
    """The client's connection, if it is one that stays."""
    body: bytes | str = b""
    """The create as the client sent it; b"" for a turn that no client sent. `request` says what counts where they differ."""
    is_compaction: bool = False
    """Whether the turn's one output is to be a compaction of its history; only for upstreams that make their own."""

    @property
    def tool_items(self) -> Sequence[Item]:
        return self.history.tool_items if self.history is not None else ()


class UpstreamRequest(msgspec.Struct, frozen=True):
    """One HTTP request, relative to the target's base URL."""

    path: str
    body: bytes
    headers: dict[str, str]
    method: str = "POST"
    notes: tuple[str, ...] = ()
    """Parts of the conversation that this upstream cannot be sent, for the log: kinds and counts, never content."""


class CountRequest(msgspec.Struct, frozen=True):
    """One way to ask a server how many tokens a prompt has, without running it."""

    path: str
    body: bytes
    read_count: Callable[[bytes], int | None]
    """Reads the body of a 200; None if it is no count."""
    is_at_root: bool = False
    """Whether the path follows the server's root and not its `/v1`."""
    headers: dict[str, str] = {}
    """Beside the target's own and the content type."""


class Progress:
    """How far an answer has come; kept by its decoder. The connection's reader decides by it whether to wait for more."""

    __slots__ = ("is_counted", "is_finished", "resumptions", "signs")

    def __init__(self) -> None:
        self.signs = 0
        """Signs of life: counts everything that belongs to the answer, parts of a record too. Comments, pings and empty
        chunks do not count: servers send them to keep a connection open whether or not the model still writes."""
        self.is_finished = False
        """Whether the model's finish reason is known. Usage and the end of the stream may still follow."""
        self.is_counted = False
        """Whether usage followed the finish reason in a record of its own, so that only the end of the stream is missing."""
        self.resumptions = 0
        """How often output followed a finish reason. Some gateways write a finish reason into every chunk, others a tool
        call after it."""

    def note(self) -> None:
        """A part of the answer came that is neither output nor an ending."""
        self.signs += 1

    def note_output(self) -> None:
        """Output of the model came."""
        self.signs += 1
        if self.is_finished:
            self.resumptions += 1
            self.is_counted = False

    def note_finish(self, *, is_new: bool) -> None:
        """A finish reason came. A repetition of the same one is no sign of life."""
        self.signs += is_new or not self.is_finished
        self.is_finished = True

    def note_usage(self, *, is_alone: bool, is_new: bool) -> None:
        """Usage came, alone in its record (`is_alone`) or with output or a finish reason."""
        self.signs += is_new
        self.is_counted = self.is_finished and (is_alone or self.is_counted)


class StreamDecoder(Protocol):
    """Decodes one answer of the upstream. Is fed the body in any split; holds the state of one turn."""

    @property
    def oddities(self) -> Sequence[str]:
        """Members that were dropped because their type is not the API's, for the log; never content."""
        ...

    @property
    def progress(self) -> Progress:
        """How far the answer has come."""
        ...

    def is_whole(self) -> bool:
        """Whether the answer is complete although its body has not ended; asked when no more bytes come."""
        ...

    def feed(self, chunk: bytes) -> list[ModelEvent]:
        """The model events that the chunk completes, in order."""
        ...

    def end(self) -> list[ModelEvent]:
        """Called once when the body ended: the closing events, or `Failed` if the stream broke off."""
        ...


class Dialect(Protocol):
    """How one kind of upstream is asked and understood."""

    @property
    def prefills_warm_up(self) -> bool:
        """Whether a warm-up is sent to this upstream; if not, it is answered without a request."""
        ...

    @property
    def compacts(self) -> bool:
        """Whether this upstream compacts conversations itself, and reads the compactions that it made."""
        ...

    def build_request(self, prompt: Prompt) -> UpstreamRequest | ApiError:
        """The upstream request, or the error that says what this upstream cannot do."""
        ...

    def count_requests(self, prompt: Prompt) -> Sequence[CountRequest] | ApiError:
        """The ways to have the prompt counted, in order of preference; servers may know none of them."""
        ...

    def open_decoder(self, prompt: Prompt) -> StreamDecoder:
        """A decoder for the answer to that prompt's request."""
        ...

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        """The error that a non-2xx answer means: rate limit with its wait, context overflow, authentication …"""
        ...


@runtime_checkable
class RelayingDialect(Dialect, Protocol):
    """The dialect of an upstream that speaks Responses: its own events announce the response, so Landline must not."""

    def retry_request(self, prompt: Prompt, error: ApiError) -> UpstreamRequest | None:
        """A second request for a turn that was refused with this error; None if the error is final."""
        ...
