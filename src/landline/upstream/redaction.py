"""Keeps keys out of what a target says: servers like to repeat the one that they refuse."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from landline.wire.errors import ApiError
from landline.wire.event_names import FAILED
from landline.wire.model_events import Failed, ModelEvent, Relayed

MARK = "[key]"
"""What stands where a key stood."""


def redact(events: list[ModelEvent], secrets: Sequence[str]) -> list[ModelEvent]:
    """The batch without secrets in its error, or in the failed response that is relayed with it."""
    if not events or not isinstance(events[-1], Failed):
        return events
    return [_redact_event(event, secrets) for event in events]


def redact_error(error: ApiError, secrets: Sequence[str]) -> ApiError:
    """The error without secrets in its message."""
    message = error.message
    for secret in secrets:
        message = message.replace(secret, MARK)
    return msgspec.structs.replace(error, message=message)


def _redact_event(event: ModelEvent, secrets: Sequence[str]) -> ModelEvent:
    match event:
        case Failed(error):
            return Failed(redact_error(error, secrets))
        case Relayed(kind, members) if kind == FAILED:
            return Relayed(kind, {name: _redact_raw(value, secrets) for name, value in members.items()})
        case _:
            return event


def _redact_raw(value: Raw, secrets: Sequence[str]) -> Raw:
    data = bytes(value)
    for secret in secrets:
        data = data.replace(msgspec.json.encode(secret)[1:-1], MARK.encode())
    return Raw(data)
