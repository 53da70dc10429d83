"""Where the bytes of a create went, and how many a client without a session would have sent instead.

Lengths only: nothing is encoded again, and what a turn follows costs nothing, because its lineage keeps running totals.
"""

from msgspec import UNSET, UnsetType

from landline.session.lineage import Link
from landline.session.meter import Meter
from landline.session.playback import playback_of
from landline.session.turn import Turn
from landline.wire.canonical import excess_bytes, is_spaced
from landline.wire.requests import NULL, CreateRequest, is_null

_BRACKETS = 2
_QUOTES = 2


def measure_turn(turn: Turn) -> None:
    """Counts on the turn's meter what its create was made of, and the body that a client without a session would have
    sent: no `previous_response_id`, every item of the lineage played back as this client does it, no warm-up at all.

    No answer waits for it: it is called when the turn is over, and lets go of the meter's history.
    """
    meter = turn.meter
    measure_create(meter, turn.request, turn.body)
    history, meter.history = meter.history, UNSET
    if isinstance(history, UnsetType):
        if not turn.is_resolved:
            _measure_unresolved(turn)
            return
        history, meter.own_items = turn.history, len(turn.items)  # refused before it was looked at
    if history is not None and meter.known_items:
        new_bytes = sum([len(item.raw) + meter.comma_bytes for item in history.items[meter.known_items :]])
        meter.known_input_bytes = max(meter.input_bytes - new_bytes, 0)
    if not turn.request.is_warm_up:
        meter.stateless_bytes = meter.settings_bytes + _stateless_input_bytes(turn, history)


def _measure_unresolved(turn: Turn) -> None:
    """Of a turn that was refused before its history was found: its own create is the least that would have been sent."""
    meter = turn.meter
    if not turn.request.is_warm_up:
        meter.stateless_bytes = meter.settings_bytes + max(meter.input_bytes - meter.input_excess_bytes, _BRACKETS)


def measure_create(meter: Meter, request: CreateRequest, body: bytes | str) -> None:
    """Counts a create as it came, its parts and what of it a client without a session sends too; at most once a meter."""
    if meter.settings_bytes:
        return
    comma_bytes = meter.comma_bytes = 2 if is_spaced(body) else 1
    payload_bytes = meter.payload_in_bytes = text_bytes(body) if isinstance(body, str) else len(body)
    input_bytes = len(request.input)
    if input_bytes == len(NULL) and is_null(request.input):
        input_bytes = 0
    meter.input_bytes = input_bytes
    meter.settings_bytes = payload_bytes - input_bytes - _session_bytes(request, comma_bytes)
    if _is_compacted(meter):
        meter.input_excess_bytes = excess_bytes(bytes(request.input)) if input_bytes else 0
        excess = excess_bytes(body.encode() if isinstance(body, str) else body) - meter.input_excess_bytes
        of_session = _session_bytes(request, comma_bytes) - _session_bytes(request, 1)
        meter.settings_bytes -= excess - of_session
    if request.instructions:
        meter.instructions_bytes = _string_bytes(request.instructions, is_escaped=comma_bytes > 1 and body.isascii())
    if request.tools:
        spelled_bytes = _BRACKETS + sum(map(len, request.tools)) + (len(request.tools) - 1) * comma_bytes
        # a client that puts spaces in one place only is not believed to have sent more than it did
        meter.tools_bytes = min(spelled_bytes, payload_bytes - input_bytes - meter.instructions_bytes)


def _stateless_input_bytes(turn: Turn, history: Link | None) -> int:
    meter = turn.meter
    is_whole = history is None or (meter.own_items > 0 and history.parent is None)
    if is_whole and meter.input_bytes and not _names_stored_items(turn):
        return meter.input_bytes - meter.input_excess_bytes
    if history is None:
        return _BRACKETS
    is_compact = _is_compacted(meter)
    replay = history.replay
    size_bytes = replay.played_bytes(playback_of(meter.client), is_compact=is_compact)
    return _BRACKETS + size_bytes + max(replay.items - 1, 0) * (1 if is_compact else meter.comma_bytes)


def _names_stored_items(turn: Turn) -> bool:
    """Whether the input holds references, which only a server that stores items understands."""
    return not turn.is_resolved and any(item.type == "item_reference" for item in turn.items)


def _is_compacted(meter: Meter) -> bool:
    """Whether the client would have spelled shorter without a session, over HTTP, than it does on this socket."""
    return meter.transport == "socket" and meter.comma_bytes > 1 and playback_of(meter.client).is_compact


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
