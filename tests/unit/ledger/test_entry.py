import json

import pytest

from landline.ledger.entry import NAME_CHARS, Hop, RequestedSettings, make_entry
from landline.session.admission import admit
from landline.session.meter import Transport
from landline.session.turn import Turn
from landline.wire.items import Item
from landline.wire.requests import CreateRequest, decode_create


def make_turn(model: str = "m", **fields: object) -> Turn:
    body = json.dumps({"model": model, "input": "Hello"} | fields).encode()
    request = decode_create(body)
    assert isinstance(request, CreateRequest)
    turn = admit(request, response_id="resp_1", now=1.0, tenant="", body=body)
    assert isinstance(turn, Turn)
    return turn


def test_a_name_that_a_client_made_up_is_kept_so_far() -> None:
    """Of a row that takes any name, the upstream's model is the client's word too."""
    turn = make_turn("m" * 300_000)
    turn.meter.upstream_model = "m" * 300_000
    entry = make_entry(turn, turn.meter, "completed", usage=None)
    assert entry.model == entry.upstream_model == "m" * NAME_CHARS


@pytest.mark.parametrize(("hop", "saved"), [("clients", 4_000), ("upstreams", 4_700)])
def test_saved_is_counted_on_the_hop_that_is_measured(hop: Hop, saved: int) -> None:
    turn = make_turn()
    turn.meter.wire_in_bytes, turn.meter.upstream_out_bytes, turn.meter.stateless_bytes = 1_000, 300, 5_000
    assert make_entry(turn, turn.meter, "completed", usage=None, hop=hop).bytes.saved == saved


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ((), "stop"),
        (({"type": "message", "role": "assistant", "content": []},), "stop"),
        (({"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},), "tool_call"),
        (({"type": "local_shell_call", "call_id": "call_1", "action": {}}, {"type": "message"}), "tool_call"),
        (({"type": "web_search_call", "id": "ws_1"}, {"type": "message"}), "stop"),
        (({"type": "shell_call", "call_id": "call_1"}, {"type": "shell_call_output", "call_id": "call_1"}), "stop"),
    ],
)
def test_a_call_is_why_a_model_stopped_if_its_client_owes_the_output(
    output: tuple[dict[str, object], ...], reason: str
) -> None:
    turn = make_turn()
    turn.meter.asked_at = 1.0
    turn.meter.output = tuple(
        Item(raw=json.dumps(item).encode(), type=str(item["type"]), call_id=item.get("call_id")) for item in output
    )
    assert make_entry(turn, turn.meter, "completed", usage=None).finish_reason == reason


def test_what_the_client_set_is_entered() -> None:
    settings = {"max_output_tokens": 4_000, "temperature": 0, "reasoning": {"effort": "low"}}
    for form, kind in (("text", "text"), ("json_object", "json"), ("json_schema", "json")):
        turn = make_turn(text={"format": {"type": form, "name": "n", "schema": {}}}, top_p=0.9, **settings)
        asked = make_entry(turn, turn.meter, "completed", usage=None).asked
        assert asked == RequestedSettings(None, kind, "low", 4_000, 0.0, 0.9)
    turn = make_turn(text={}, reasoning={})
    assert make_entry(turn, turn.meter, "completed", usage=None).asked == RequestedSettings()


def test_a_response_that_a_client_made_up_is_kept_so_far() -> None:
    turn = make_turn(previous_response_id="r" * 300_000)
    assert make_entry(turn, turn.meter, "refused", usage=None).asked.previous_response_id == "r" * NAME_CHARS


@pytest.mark.parametrize("reason", ["steered", "cancelled", "interrupted", "one that is new"])
def test_a_model_that_was_stopped_did_not_say_why(reason: str) -> None:
    turn = make_turn()
    turn.meter.asked_at, turn.meter.incomplete_reason = 1.0, reason
    assert make_entry(turn, turn.meter, "incomplete", usage=None).finish_reason == "error"


@pytest.mark.parametrize(
    ("transport", "stream", "is_streamed"), [("socket", False, True), ("http", True, True), ("http", False, False)]
)
def test_a_socket_streams_whatever_its_create_says(transport: Transport, stream: bool, is_streamed: bool) -> None:
    turn = make_turn(stream=stream)
    turn.meter.transport = transport
    assert make_entry(turn, turn.meter, "completed", usage=None).is_streamed == is_streamed
