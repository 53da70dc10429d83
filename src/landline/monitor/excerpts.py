"""The first characters of items, for the monitor page. Only in use with `[monitor] content = true`."""

from itertools import chain

from landline.ledger.ledger import NEWEST_ITEMS_KEPT, Excerpt, LiveSession
from landline.ledger.report import TurnReport
from landline.wire.items import (
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    Message,
    Reasoning,
    text_of,
    typed_item,
)

EXCERPT_CHARS = 160


def record_excerpts(session: LiveSession, report: TurnReport) -> None:
    """Keeps how the newest items of a turn begin in its session (`Ledger.record_content`)."""
    if report.response is not None:
        new_items = report.turn.items[report.known_items :]
        session.newest_items.extend(excerpt(item) for item in chain(new_items[-NEWEST_ITEMS_KEPT:], report.output))


def excerpt(item: Item) -> Excerpt:
    """The item's role or kind, and its first characters."""
    match typed_item(item):
        case Message(role, content):
            kind, text = role, text_of(content)
        case FunctionCall(name=name, arguments=said) | CustomToolCall(name=name, input=said):
            kind, text = f"call of {name}", said
        case FunctionCallOutput(output=output) | CustomToolCallOutput(output=output):
            kind, text = "its output", text_of(output)
        case Reasoning(summary, content):
            kind, text = "reasoning", text_of(summary) or text_of(content or "")
        case _:
            kind, text = item.type, ""
    return Excerpt(kind, text if len(text) <= EXCERPT_CHARS else f"{text[:EXCERPT_CHARS]}…")
