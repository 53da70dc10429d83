"""How far an answer has come: what the reader of its connection decides by whether to wait for more."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from landline.session.lineage import Link
from landline.session.meter import Meter
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
    meter: Meter = msgspec.field(default_factory=Meter)
    """Of the turn: targets count there what they send and get."""
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
    """What of the conversation could not be said to this upstream, for the log: kinds and counts, never content."""


class CountRequest(msgspec.Struct, frozen=True):
    """One way to ask a server how many tokens a prompt has, without running it."""

    path: str
    body: bytes
    read_count: Callable[[bytes], int | None]
    """Reads a 200; None if the server meant something else."""
    is_at_root: bool = False
    """Whether the path follows the server's root and not its `/v1`."""
    headers: dict[str, str] = {}
    """Beside the target's own and the content type."""


class Progress:
    """Kept by a decoder while it reads one answer."""

    __slots__ = ("is_counted", "is_finished", "resumptions", "signs")

    def __init__(self) -> None:
        self.signs = 0
        """Grows with everything that belongs to the answer, pieces of a record too; not with comments, pings, or chunks
        that say nothing, which servers send to keep a connection open whether or not the model still writes."""
        self.is_finished = False
        """Whether the model's own ending is known. Usage, and the end of the stream, may still follow."""
        self.is_counted = False
        """Whether usage followed the ending in a record of its own, so that only the end of the stream is missing."""
        self.resumptions = 0
        """How often more of the answer followed an ending. Some gateways write a finish reason into every chunk, others a
        tool call behind it."""

    def note(self) -> None:
        """Something of the answer came."""
        self.signs += 1

    def note_output(self) -> None:
        """Something that the model wrote came."""
        self.signs += 1
        if self.is_finished:
            self.resumptions += 1
            self.is_counted = False

    def note_finish(self, *, is_new: bool) -> None:
        """The model's ending came. Said once more in the same words, it is no sign of life."""
        self.signs += is_new or not self.is_finished
        self.is_finished = True

    def note_usage(self, *, is_alone: bool, is_new: bool) -> None:
        """Usage came, alone in its record or beside output or an ending."""
        self.signs += is_new
        self.is_counted = self.is_finished and (is_alone or self.is_counted)


class StreamDecoder(Protocol):
    """Reads one response of the upstream. Fed any split of the body; holds the state of one turn."""

    @property
    def oddities(self) -> Sequence[str]:
        """Members that were left out because they are of another type than the API says, for the log; never content."""
        ...

    @property
    def progress(self) -> Progress:
        """How far the answer has come."""
        ...

    def is_whole(self) -> bool:
        """Whether the answer is complete though its body has not ended; asked when nothing more comes."""
        ...

    def feed(self, chunk: bytes) -> list[ModelEvent]:
        """The model events that the chunk completes, in order."""
        ...

    def end(self) -> list[ModelEvent]:
        """Called once when the body ended: the closing event, or `Failed` if the stream was cut short."""
        ...


class Dialect(Protocol):
    """How one kind of upstream is asked and understood."""

    @property
    def prefills_warm_up(self) -> bool:
        """Whether a warm-up is worth a request to this upstream; if not, it is answered without one."""
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
        """The meaning of a non-2xx answer, kept: rate limit with its wait, context overflow, authentication …"""
        ...


@runtime_checkable
class RelayingDialect(Dialect, Protocol):
    """The dialect of an upstream that speaks Responses: its own events announce the response, so nobody else does."""

    def retry_request(self, prompt: Prompt, error: ApiError) -> UpstreamRequest | None:
        """Another request for the turn that was refused with this error; None if the error is the answer."""
        ...
