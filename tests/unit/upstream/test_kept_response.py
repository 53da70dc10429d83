"""What is known of an upstream's response is what the client is told of it, or nothing."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from landline.session.composer import Composer
from landline.session.lineage import Link
from landline.session.turn import Turn
from landline.upstream.kept_response import KeptResponse
from landline.wire.items import decode_item
from landline.wire.model_events import Finished, Relayed
from landline.wire.requests import CreateRequest
from support.conversations.chat import function_call, message

Object = dict[str, Any]
HISTORY = Link(None, [decode_item(json.dumps(message("user", "hi")).encode())])
ITEMS = [message("assistant", "a"), function_call("call_1"), message("assistant", "b", "c"), {"type": "x:y", "z": 1}]


def relayed(event: Object) -> Relayed:
    return Relayed(event["type"], {name: Raw(json.dumps(value).encode()) for name, value in event.items()})


def ended(output: Sequence[Object] | None, kind: str = "completed") -> Object:
    response: Object = {"id": "resp_1", "object": "response", "status": kind}
    return {"type": f"response.{kind}", "response": response if output is None else {**response, "output": output}}


def told(items: Sequence[Object], *, left_open: int = 0) -> list[Object]:
    """The events of the items, the last ones never done."""
    events: list[Object] = []
    for index, item in enumerate(items):
        events.append({"type": "response.output_item.added", "output_index": index, "item": item})
        if index < len(items) - left_open:
            events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    return events


def kept(events: Sequence[Object], history: Link | None = HISTORY) -> tuple[bytes, str] | None:
    response = KeptResponse()
    for event in events:
        response.note(relayed(event))
    return response.anchor(history)


@given(
    items=st.lists(st.sampled_from(ITEMS), max_size=4),
    left_open=st.integers(0, 1),
    has_output=st.booleans(),
    is_terminal_only=st.booleans(),
    kind=st.sampled_from(["completed", "incomplete"]),
)
def test_the_anchor_is_where_the_clients_lineage_goes_on(
    items: list[Object], left_open: int, has_output: bool, is_terminal_only: bool, kind: str
) -> None:
    has_output = has_output or is_terminal_only or left_open > 0
    events = [] if is_terminal_only else told(items, left_open=left_open)
    events.append(ended(items if has_output else None, kind))
    turn = Turn(response_id="resp_ours", request=CreateRequest(model="m"), history=HISTORY, created_at=0.0)
    composer = Composer(turn, model="m", new_id=lambda prefix: prefix)
    composer.feed([*map(relayed, events), Finished()])
    history = composer.close(0.0).history
    assert history is not None
    assert kept(events) == (history.digest, "resp_1")


def test_a_warm_up_goes_on_from_its_input() -> None:
    assert kept([ended([])]) == (HISTORY.digest, "resp_1")


def test_nothing_goes_on_from_no_item_at_all() -> None:
    assert kept([ended([])], None) is None


@pytest.mark.parametrize(
    "events",
    [
        [],
        told(ITEMS),
        [*told(ITEMS, left_open=1), ended(None, "incomplete")],
        [{"type": "response.completed"}],
        [{"type": "response.completed", "response": {"output": []}}],
        [{"type": "response.completed", "response": {"id": 7}}],
        [{"type": "response.completed", "response": []}],
        [*told(ITEMS), {"type": "response.output_item.done", "output_index": "one"}, ended(None)],
        [*told([{"type": "message", "role": "assistant", "content": 7}]), ended(None)],
        [*told([{"no": "type"}]), ended(None)],
    ],
    ids=range(10),
)
def test_nothing_goes_on_from_a_response_that_is_not_understood(events: list[Object]) -> None:
    assert kept(events) is None
