"""Where a create's bytes go, and the body that a client without a session would have sent: byte by byte."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.session.admission import CreateOrigin, admit
from landline.session.create_bytes import TurnBytes, measure_turn
from landline.session.lineage import Link
from landline.session.memory import Remembered
from landline.session.turn import Arrival, Transport, Turn
from landline.wire.items import decode_item
from landline.wire.requests import CreateRequest, decode_create

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=12)


def message(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


MESSAGES = st.builds(message, TEXTS)
TOOL: dict[str, Any] = {"type": "function", "name": "f", "parameters": {}}
FOLLOWS = {"previous_response_id": "resp_parent"}
UNKNOWN: list[Any] = [1, {"x": "y"}]
SETTINGS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"model": st.just("m")},
    optional={
        "instructions": TEXTS,
        "tools": st.lists(st.just(TOOL), max_size=3),
        "stream": st.booleans(),
        "temperature": st.just(0.5),
        "metadata": st.dictionaries(st.sampled_from(["a", "b"]), TEXTS),
        "an unknown member": st.just(UNKNOWN),
    },
)
TRANSPORTS: tuple[Transport, ...] = ("socket", "http")
STYLES = st.sampled_from([(",", ":"), (", ", ": ")])


def encode(body: object, style: tuple[str, str] = (",", ":")) -> bytes:
    return json.dumps(body, separators=style, ensure_ascii=False).encode()


def admitted(body: bytes | str, parent: Link | None, transport: Transport = "http", client: str = "") -> Turn:
    """The turn of a create, which continues that lineage if it names a response, but for `resp_gone`."""
    request = decode_create(body)
    assert isinstance(request, CreateRequest), request
    found = None
    if request.previous_response_id not in (None, "resp_gone"):
        found = Remembered("resp_p", parent, None)
    origin = CreateOrigin(body=body, arrival=Arrival(transport=transport, client=client))
    turn = admit(request, response_id="resp_1", now=0.0, parent=found, origin=origin)
    assert isinstance(turn, Turn), turn
    return turn


def measured(
    body: bytes | str,
    parent: Link | None = None,
    *,
    known: int = 0,
    transport: Transport = "http",
    client: str = "",
) -> TurnBytes:
    """The bytes of a turn whose create continues that lineage, or whose first items were known; when it is over."""
    turn = admitted(body, parent, transport, client)
    return measure_turn(turn, turn, known)


@given(SETTINGS, st.lists(MESSAGES, min_size=1, max_size=4), STYLES, st.booleans())
def test_parts_of_a_create_are_its_bytes(
    settings: dict[str, Any], messages: list[dict[str, Any]], style: tuple[str, str], is_text: bool
) -> None:
    body = encode(settings | {"input": messages}, style)
    create = measured(body.decode() if is_text else body).create
    assert create.payload == len(body)
    assert create.input == len(encode(messages, style))
    assert create.tools == (len(encode(settings["tools"], style)) if settings.get("tools") else 0)
    assert create.tools + create.instructions + create.input <= len(body)


@pytest.mark.parametrize("text", ["plain", 'quoted "word" and \\', "two\nlines\tand a tab", "größer 語 😀"])
def test_instructions_are_counted_as_json(text: str) -> None:
    create = {"model": "m", "input": "hi", "instructions": text}
    assert measured(encode(create)).create.instructions == len(encode(text))
    assert measured(json.dumps(create)).create.instructions == len(json.dumps(text))


@given(SETTINGS, st.lists(MESSAGES, min_size=1, max_size=6), st.data())
def test_cut_into_turns_the_stateless_bytes_are_those_of_the_whole_history(
    settings: dict[str, Any], messages: list[dict[str, Any]], data: st.DataObject
) -> None:
    style = data.draw(STYLES)
    cut = data.draw(st.integers(0, len(messages)))
    session = {"type": "response.create", "previous_response_id": "resp_parent", "stream_id": "lane"}
    parent: Link | None = None
    for message in messages[:cut]:
        parent = Link(parent, [decode_item(encode(message, style))])
    members = list(settings.items()) + list(session.items()) + [("input", messages[cut:])]
    body = encode(dict(data.draw(st.permutations(members))), style)
    expected = encode(settings | {"input": messages}, style)
    assert measured(body, parent).stateless == len(expected)


@given(SETTINGS, st.lists(MESSAGES, min_size=1, max_size=6), st.data())
def test_what_openais_python_clients_spell_out_on_sockets_only_is_not_counted(
    settings: dict[str, Any], messages: list[dict[str, Any]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(messages)))
    transport = data.draw(st.sampled_from(TRANSPORTS))
    client = data.draw(st.sampled_from(["OpenAI/Python 3.54.0", "Agents/Python 0.24.0", "Python/3.13 websockets/15.0"]))
    parent: Link | None = None
    for message in messages[:cut]:
        parent = Link(parent, [decode_item(json.dumps(message).encode())])
    session = (FOLLOWS if cut else {}) | {"type": "response.create", "stream_id": "lane"}
    body = json.dumps(settings | session | {"input": messages[cut:]})
    turn = measured(body, parent, transport=transport, client=client)
    stateless = settings | {"input": messages}
    is_compacted = transport == "socket" and not client.startswith("Python")
    expected = encode(stateless) if is_compacted else json.dumps(stateless).encode()
    assert turn.stateless == len(expected)


def test_a_client_of_two_minds_about_spaces_sends_no_more_than_it_does() -> None:
    body = '{"model": "m","input":"hi","tools":' + encode([TOOL] * 100).decode() + "}"
    create = measured(body).create
    assert create.tools + create.instructions + create.input <= create.payload == len(body)


def test_without_a_session_there_is_no_warm_up() -> None:
    assert measured(encode({"model": "m", "input": "hi", "generate": False})).stateless == 0


def test_a_whole_history_is_what_it_is() -> None:
    body = encode({"model": "m", "input": [{"role": "user", "content": "hi"}]})
    assert measured(body).stateless == len(body)
    assert measured(encode({"model": "m", "input": "hi"})).stateless == len(b'{"model":"m","input":"hi"}')


def test_a_turn_that_was_refused_at_once_would_have_been_sent_too() -> None:
    parent = Link(None, [decode_item(encode(message("before")))])
    for followed in (None, parent):
        turn = admitted(
            encode({"model": "no such", "input": [message("hi")]} | (FOLLOWS if followed else {})), followed
        )
        items = [message("before")] * (followed is not None) + [message("hi")]
        assert measure_turn(turn, None).stateless == len(encode({"model": "no such", "input": items}))


@pytest.mark.parametrize("sent", ["hi", [message("hi")], [{"type": "item_reference", "id": "msg_" + "0" * 48}]])
def test_a_turn_after_an_unknown_response_would_have_been_its_own_create_at_least(sent: object) -> None:
    turn = admitted(encode({"model": "m", "input": sent, "previous_response_id": "resp_gone"}), None)
    assert measure_turn(turn, None).stateless == len(encode({"model": "m", "input": sent}))


def test_a_warm_up_after_an_unknown_response_would_not_have_been_sent() -> None:
    body = {"model": "m", "input": "hi", "previous_response_id": "resp_gone", "generate": False}
    turn = admitted(encode(body), None)
    assert measure_turn(turn, None).stateless == 0


@pytest.mark.parametrize(
    ("client", "left_out"),
    [
        ("codex_exec/0.169.0 (Linux; x86_64)", ()),
        ("Agents/Python 0.24.0", ()),
        ("", ()),
        ("pi (linux; x64)", ("status",)),
        ("pydantic-ai/2.66.0", ("id", "status")),
    ],
)
def test_a_models_items_are_played_back_as_the_client_does_it(client: str, left_out: tuple[str, ...]) -> None:
    call = {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "c", "name": "f"}
    call["arguments"] = "{}"
    output = {"type": "function_call_output", "call_id": "c", "output": "done"}
    parent = Link(Link(None, [decode_item(encode(message("go")))]), [decode_item(encode(call))])
    turn = measured(encode({"model": "m", "input": [output]} | FOLLOWS), parent, client=client)
    played = {name: value for name, value in call.items() if name not in left_out}
    whole = encode({"model": "m", "input": [message("go"), played, output]})
    assert turn.stateless == len(whole)


@given(st.lists(MESSAGES, min_size=1, max_size=5), st.data())
def test_what_was_known_of_the_input_is_the_input_without_the_rest(
    messages: list[dict[str, Any]], data: st.DataObject
) -> None:
    style = data.draw(STYLES)
    known = data.draw(st.integers(1, len(messages)))
    turn = measured(encode({"model": "m", "input": messages}, style), known=known)
    assert turn.known_input == len(encode(messages[:known], style))
