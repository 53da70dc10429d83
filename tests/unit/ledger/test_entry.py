import json
from typing import Any, Literal

import msgspec
import pytest

from landline.ledger import Prices, TokenCost
from landline.ledger.entry import NAME_CHARS, Count, Entry, Hop, RequestedSettings, make_entry
from landline.ledger.prices import ModelPrice
from landline.ledger.report import Milestones, Service, TurnReport
from landline.session.admission import CreateOrigin, admit
from landline.session.create_bytes import TurnBytes
from landline.session.turn import Arrival, CreateBytes, Transport, Turn
from landline.upstream.target import Traffic
from landline.wire.items import Item
from landline.wire.requests import CreateRequest, decode_create
from landline.wire.responses import (
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    Response,
    Usage,
    new_response,
)

MEASURED = TurnBytes(CreateBytes(), stateless=5_000)
COUNT = Count(wire_in_bytes=1_000, wire_out_bytes=0, payload_out_bytes=0, began_at=1.0, closed_at=2.0, started_at=1.0)


def make_turn(model: str = "m", *, arrival: Arrival | None = None, **fields: object) -> Turn:
    body = json.dumps({"model": model, "input": "Hello"} | fields).encode()
    request = decode_create(body)
    assert isinstance(request, CreateRequest)
    turn = admit(request, response_id="resp_1", now=1.0, origin=CreateOrigin(body=body, arrival=arrival or Arrival()))
    assert isinstance(turn, Turn)
    return turn


def entry_of(turn: Turn, *, hop: Hop = "clients", **report: Any) -> Entry:
    fields: dict[str, Any] = {"outcome": "completed"} | report
    return make_entry(TurnReport(turn=turn, **fields), MEASURED, COUNT, hop)


def response(turn: Turn, **changes: Any) -> Response:
    made = new_response(turn.request, id="resp_1", created_at=1, model="m", conversation_id=None)
    return msgspec.structs.replace(made, **changes)


def test_a_name_that_a_client_made_up_is_kept_so_far() -> None:
    """Of a row that takes any name, the upstream's model is the client's word too."""
    turn = make_turn("m" * 300_000)
    entry = entry_of(turn, service=Service("one", "m" * 300_000, "only", "none", 0))
    assert entry.model == entry.upstream_model == "m" * NAME_CHARS


@pytest.mark.parametrize(("hop", "saved"), [("clients", 4_000), ("upstreams", 4_700)])
def test_saved_is_counted_on_the_hop_that_is_measured(hop: Hop, saved: int) -> None:
    turn = make_turn()
    assert entry_of(turn, hop=hop, traffic=Traffic(sent_bytes=300)).bytes.saved == saved


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
    output: tuple[dict[str, Any], ...], reason: str
) -> None:
    turn = make_turn()
    items = tuple(
        Item(raw=json.dumps(item).encode(), type=str(item["type"]), call_id=item.get("call_id")) for item in output
    )
    assert entry_of(turn, output=items, milestones=Milestones(asked_at=1.0)).finish_reason == reason


def test_what_the_client_set_is_entered() -> None:
    settings: dict[str, Any] = {"max_output_tokens": 4_000, "temperature": 0, "reasoning": {"effort": "low"}}
    forms: list[tuple[str, Literal["text", "json"]]] = [
        ("text", "text"),
        ("json_object", "json"),
        ("json_schema", "json"),
    ]
    for form, kind in forms:
        turn = make_turn(text={"format": {"type": form, "name": "n", "schema": {}}}, top_p=0.9, **settings)
        asked = entry_of(turn).asked
        assert asked == RequestedSettings(None, kind, "low", 4_000, 0.0, 0.9)
    turn = make_turn(text={}, reasoning={})
    assert entry_of(turn).asked == RequestedSettings()


def test_a_response_that_a_client_made_up_is_kept_so_far() -> None:
    turn = make_turn(previous_response_id="r" * 300_000)
    assert entry_of(turn, outcome="refused").asked.previous_response_id == "r" * NAME_CHARS


@pytest.mark.parametrize("reason", ["steered", "cancelled", "interrupted", "one that is new"])
def test_a_model_that_was_stopped_did_not_say_why(reason: str) -> None:
    turn = make_turn()
    ended = response(turn, incomplete_details=IncompleteDetails(reason))
    entry = entry_of(turn, outcome="incomplete", response=ended, milestones=Milestones(asked_at=1.0))
    assert entry.finish_reason == "error"


@pytest.mark.parametrize(
    ("transport", "stream", "is_streamed"), [("socket", False, True), ("http", True, True), ("http", False, False)]
)
def test_a_socket_streams_whatever_its_create_says(transport: Transport, stream: bool, is_streamed: bool) -> None:
    turn = make_turn(stream=stream, arrival=Arrival(transport=transport))
    assert entry_of(turn).is_streamed == is_streamed


@pytest.mark.parametrize(
    ("fields", "service", "cost"),
    [
        ({}, Service("one", "m", "only", "none", 0), TokenCost(1, 1_500_000_000, 500_000_000)),
        ({"service_tier": "default"}, Service("one", "m", "only", "none", 0), TokenCost(1, 1_500_000_000, 500_000_000)),
        ({"service_tier": "flex"}, Service("one", "m", "only", "none", 0), TokenCost()),
        ({}, None, TokenCost()),
    ],
)
def test_a_turn_at_the_standard_tier_costs_what_its_tokens_do(
    fields: dict[str, Any], service: Service | None, cost: TokenCost
) -> None:
    turn = make_turn(**fields)
    usage = Usage(1_000, InputTokensDetails(500), 0, OutputTokensDetails(0), 1_000)
    report = TurnReport(turn=turn, outcome="completed", service=service, response=response(turn, usage=usage))
    prices = Prices({"m": ModelPrice(input=2.0, cached=1.0, output=1.0)})
    assert make_entry(report, MEASURED, COUNT, prices=prices).cost == cost
