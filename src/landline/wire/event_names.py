"""Names of Responses events that are compared as strings, and the sets they form; the typed events are in `events`.

Used wherever events of an upstream are read without being decoded: relays, sockets, the Responses dialect.
"""

CREATED = "response.created"
QUEUED = "response.queued"
IN_PROGRESS = "response.in_progress"
COMPLETED = "response.completed"
INCOMPLETE = "response.incomplete"
FAILED = "response.failed"
ITEM_ADDED = "response.output_item.added"
ITEM_DONE = "response.output_item.done"
TEXT_DELTA = "response.output_text.delta"
REFUSAL_DELTA = "response.refusal.delta"
ARGUMENTS_DELTA = "response.function_call_arguments.delta"
ARGUMENTS_DONE = "response.function_call_arguments.done"
CUSTOM_INPUT_DELTA = "response.custom_tool_call_input.delta"
REASONING_TEXT_DELTA = "response.reasoning_text.delta"
REASONING_DELTA = "response.reasoning.delta"
REASONING_SUMMARY_DELTA = "response.reasoning_summary_text.delta"

ANNOUNCING = frozenset((CREATED, QUEUED, IN_PROGRESS))
"""Events that announce a response before it has output."""
TERMINAL = frozenset((COMPLETED, INCOMPLETE, FAILED))
"""Events that end a response; nothing of it follows."""
ERRORS = frozenset(("error", "response.error"))
"""Errors in an event of their own; the second is what some gateways call it."""
ITEM_EVENTS = frozenset((ITEM_ADDED, ITEM_DONE))
DELTAS = frozenset(
    (
        TEXT_DELTA,
        REFUSAL_DELTA,
        REASONING_TEXT_DELTA,
        REASONING_DELTA,
        REASONING_SUMMARY_DELTA,
        CUSTOM_INPUT_DELTA,
        ARGUMENTS_DELTA,
    )
)
"""Events whose `delta` is text."""
