"""Where the bytes of a create went, and how many a client without a session would have sent instead.

Lengths only: nothing is encoded again, and what a turn follows costs nothing, because its lineage keeps running totals.
"""

import msgspec
from msgspec import UnsetType

from landline.session.playback import playback_of
from landline.session.turn import Arrival, CreateBytes, Turn
from landline.wire.canonical import excess_bytes, is_spaced
from landline.wire.requests import NULL, CreateRequest, is_null

_BRACKETS = 2
_QUOTES = 2


class TurnBytes(msgspec.Struct, frozen=True, gc=False):
    """Where the bytes of a turn's create went, and what would have been sent for it without a session."""

    create: CreateBytes
    known_input: int = 0
    """Of `input`: items that this server knew already, from the turns before."""
    stateless: int = 0
    """The body that a client without a session would have sent for the same turn: the whole conversation in its input."""


def measure_turn(turn: Turn, resolved: Turn | None, known_items: int = 0) -> TurnBytes:
    """What a turn's create was made of, and the body that a client without a session would have sent: no
    `previous_response_id`, every item of the lineage played back as this client does it, no warm-up at all.

    `resolved` is the turn with its history; None if it was refused before that was found. Of a history that the turn
    brought whole, this server knew the first `known_items` already.
    """
    create = turn.arrival.steered or measure_create(turn)
    if resolved is None and turn.is_resolved:
        resolved = turn  # refused before it was looked at
    if resolved is None:
        # Its own create is the least that would have been sent.
        input_bytes = max(create.input - create.input_excess, _BRACKETS)
        return TurnBytes(create, stateless=0 if turn.request.is_warm_up else create.settings + input_bytes)
    history = resolved.history
    known_input = 0
    if history is not None and known_items:
        new_bytes = sum([len(item.raw) + create.comma for item in history.items[known_items:]])
        known_input = max(create.input - new_bytes, 0)
    if turn.request.is_warm_up:
        return TurnBytes(create, known_input)
    stateless = create.settings + _stateless_input_bytes(turn, create, resolved)
    return TurnBytes(create, known_input, stateless)


def measure_create(turn: Turn) -> CreateBytes:
    """The turn's create as it came, its parts and what of it a client without a session sends too."""
    request, body = turn.request, turn.body
    comma = 2 if is_spaced(body) else 1
    payload = text_bytes(body) if isinstance(body, str) else len(body)
    input_bytes = len(request.input)
    if input_bytes == len(NULL) and is_null(request.input):
        input_bytes = 0
    settings = payload - input_bytes - _session_bytes(request, comma)
    input_excess = instructions = tools = 0
    if _is_compacted(turn.arrival, comma):
        input_excess = excess_bytes(bytes(request.input)) if input_bytes else 0
        excess = excess_bytes(body.encode() if isinstance(body, str) else body) - input_excess
        of_session = _session_bytes(request, comma) - _session_bytes(request, 1)
        settings -= excess - of_session
    if request.instructions:
        instructions = _string_bytes(request.instructions, is_escaped=comma > 1 and body.isascii())
    if request.tools:
        spelled_bytes = _BRACKETS + sum(map(len, request.tools)) + (len(request.tools) - 1) * comma
        # a client that puts spaces in one place only is not believed to have sent more than it did
        tools = min(spelled_bytes, payload - input_bytes - instructions)
    return CreateBytes(payload, tools, instructions, input_bytes, input_excess, settings, comma)


def _stateless_input_bytes(turn: Turn, create: CreateBytes, resolved: Turn) -> int:
    history = resolved.history
    is_whole = history is None or (len(resolved.items) > 0 and history.parent is None)
    if is_whole and create.input and not _names_stored_items(turn):
        return create.input - create.input_excess
    if history is None:
        return _BRACKETS
    is_compact = _is_compacted(turn.arrival, create.comma)
    replay = history.replay
    size_bytes = replay.played_bytes(playback_of(turn.arrival.client), is_compact=is_compact)
    return _BRACKETS + size_bytes + max(replay.items - 1, 0) * (1 if is_compact else create.comma)


def _names_stored_items(turn: Turn) -> bool:
    """Whether the input holds references, which only a server that stores items understands."""
    return not turn.is_resolved and any(item.type == "item_reference" for item in turn.items)


def _is_compacted(arrival: Arrival, comma_bytes: int) -> bool:
    """Whether the client would have spelled shorter without a session, over HTTP, than it does on this socket."""
    return arrival.transport == "socket" and comma_bytes > 1 and playback_of(arrival.client).is_compact


def text_bytes(text: str) -> int:
    """Of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def _session_bytes(request: CreateRequest, comma_bytes: int) -> int:
    """Of the members that only a session has."""
    around = _QUOTES + 2 * comma_bytes  # the quotes of a member's name, its colon, and a comma to its neighbour
    size_bytes = 0
    if request.type is not None:
        size_bytes += len("type") + around + len(request.type) + _QUOTES
    if request.previous_response_id is not None:
        size_bytes += len("previous_response_id") + around + len(request.previous_response_id) + _QUOTES
    if not isinstance(request.stream_id, UnsetType):
        size_bytes += len("stream_id") + around + len(request.stream_id)
    if request.generate is not None:
        size_bytes += len("generate") + around + len("true" if request.generate else "false")
    if request.conversation is not NULL and not is_null(request.conversation):
        size_bytes += len("conversation") + around + len(request.conversation)
    return size_bytes


def _string_bytes(text: str, *, is_escaped: bool) -> int:
    """Of a JSON string, with characters beyond ASCII in UTF-8 or escaped; a client that escapes more than that is counted
    too low here."""
    size_bytes = text_bytes(text) + _QUOTES + text.count('"') + text.count("\\") + text.count("\n") + text.count("\t")
    if not is_escaped or text.isascii():
        return size_bytes
    ascii_chars = len(text.encode("ascii", "ignore"))
    escapes = len(text.encode("utf-16-le", "surrogatepass")) // 2 - ascii_chars
    return size_bytes - (text_bytes(text) - ascii_chars) + len(r"\u0000") * escapes
