"""A turn's line in the log: `turn_ended`, made when its last bytes have left. It never holds what was said."""

import json
import re

import structlog

from landline.ledger.entry import Entry

TEXT_MAX_CHARS = 128
"""Of a name that a client chose."""
_PLAIN = re.compile(r"[\w./:@+,-]*")

_log = structlog.stdlib.get_logger(__name__)

Value = str | float


def log_turn(entry: Entry) -> None:
    """Logs the turn as everything else is logged."""
    fields = turn_fields(entry)
    _log.info("turn_ended", **fields)


def turn_line(entry: Entry) -> str:
    """The same as `key=value`, at a tenth of the cost."""
    response_id, *rest = turn_fields(entry).items()
    pairs = (response_id, ("event", "turn_ended"), *rest)
    return " ".join([f"{key}={_quote(value) if isinstance(value, str) else value}" for key, value in pairs])


def turn_fields(entry: Entry) -> dict[str, Value]:
    """What the line says, in order; names that are empty and times that never came are left out."""
    counts, split, tokens, times = entry.bytes, entry.split, entry.tokens, entry.times
    fields: dict[str, Value] = {
        "response_id": entry.response_id,
        "outcome": entry.outcome,
        "session": entry.session_id,
        "transport": entry.transport,
        "lane": entry.lane,
        "tenant": entry.tenant,
        "model": entry.model[:TEXT_MAX_CHARS],
        "target": entry.target,
        "reason": entry.reason,
        "affinity": entry.affinity,
        "error": entry.error_code,
        "prefix_items": entry.prefix_items,
        "tries": entry.tries,
        "requests": entry.upstream_requests,
        "resends": entry.resends,
        "compactions": entry.compactions,
        "wire_in": counts.wire_in,
        "wire_out": counts.wire_out,
        "payload_in": counts.payload_in,
        "payload_out": counts.payload_out,
        "stateless": counts.stateless,
        "upstream_out": counts.upstream_out,
        "upstream_in": counts.upstream_in,
        "tools": split.tools,
        "instructions": split.instructions,
        "history": split.history,
        "new_items": split.new_items,
        "other": split.other,
        "input_tokens": tokens.input,
        "cached_tokens": tokens.cached,
        "output_tokens": tokens.output,
        "reasoning_tokens": tokens.reasoning,
        "total_s": round(times.total, 6),
    }
    if times.queued is not None:
        fields["queued_s"] = round(times.queued, 6)
    if times.first_event is not None:
        fields["first_event_s"] = round(times.first_event, 6)
    if entry.is_warm_up:
        fields["warm_up"] = "true"
    if entry.is_attached:
        fields["attached"] = "true"
    return {key: value for key, value in fields.items() if value != ""}


def _quote(value: str) -> str:
    """The value; in quotes if it holds what would end it, or could be taken for another line."""
    return value if _PLAIN.fullmatch(value) else json.dumps(value)
