"""The contract of a dialect: hub and spoke, Responses items in and model events out, never a pair of protocols."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from landline.dialects.progress import Progress
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
