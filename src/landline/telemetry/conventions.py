"""What spans and metrics say of a turn alike, by the GenAI semantic conventions."""

from collections.abc import Mapping, Sequence

from landline.ledger.entry import Entry
from landline.telemetry.settings import Provider

OPERATION = "chat"
"""`gen_ai.operation.name` of a turn: the conventions have no name of its own for the Responses API."""
FAILED = ("failed", "refused")
OTHER_ERROR = "_OTHER"
"""The conventions' `error.type` of an error without a code."""
_NOWHERE = Provider("landline")
"""Of turns that no target took."""

Attributes = dict[str, str | int | float | bool | Sequence[str]]


def provider_of(target: str, providers: Mapping[str, Provider]) -> Provider:
    """Who serves behind the target of this name; "" is no target."""
    return providers.get(target, _NOWHERE)


def provider_attributes(provider: Provider) -> Attributes:
    """Who serves, and where that is."""
    attributes: Attributes = {"gen_ai.operation.name": OPERATION, "gen_ai.provider.name": provider.name}
    if provider.address:
        attributes["server.address"] = provider.address
        attributes["server.port"] = provider.port
    return attributes


def error_type(entry: Entry) -> str | None:
    """`error.type`: one of the codes in docs/errors.md; None if the turn did not fail."""
    return (entry.error_code or OTHER_ERROR) if entry.outcome in FAILED else None
