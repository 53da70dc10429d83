"""Which trace a turn belongs to: the request's, the upgrade's, or the one that Codex CLI names in the create."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from landline.server.headers import TraceContext, choose_subprotocol, trace_of, trace_of_frame
from support.servers.edge import running_edge, saying

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-11111111111111111111111111111111-2222222222222222-01"
UPGRADE = TraceContext(PARENT, "vendor=it")


def noted(frame: str | bytes) -> TraceContext:
    return trace_of_frame(UPGRADE, frame)


def test_headers_name_the_trace() -> None:
    headers = [(b"traceparent", PARENT.encode()), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")]
    assert trace_of({"headers": headers}) == TraceContext(PARENT, "a=1,b=2")
    assert trace_of({"headers": [(b"accept", b"*/*")]}) == TraceContext("", "")


@pytest.mark.parametrize("as_bytes", [True, False])
def test_codex_names_the_trace_of_each_turn(as_bytes: bool) -> None:
    notes = {"ws_request_header_traceparent": OTHER, "ws_request_header_tracestate": "c=3", "x-codex": "it"}
    frame = json.dumps({"type": "response.create", "client_metadata": notes, "input": "hi"})
    assert noted(frame.encode() if as_bytes else frame) == TraceContext(OTHER, "c=3")


@pytest.mark.parametrize(
    "create",
    [
        {},
        {"client_metadata": None},
        {"client_metadata": {"ws_request_header_tracestate": "c=3"}},
        {"client_metadata": {"ws_request_header_traceparent": 5}},
        {"client_metadata": "ws_request_header_traceparent"},
        {"input": f'{{"client_metadata": {{"ws_request_header_traceparent": "{OTHER}"}}}}'},
        {"metadata": {"ws_request_header_traceparent": OTHER}},
    ],
)
def test_creates_that_name_none_belong_to_the_upgrades(create: dict[str, object]) -> None:
    assert noted(json.dumps(create)) == UPGRADE


@given(frame=st.binary() | st.builds(lambda raw: b"ws_request_header_traceparent" + raw, st.binary()))
def test_no_frame_breaks_it(frame: bytes) -> None:
    assert noted(frame) == UPGRADE


@given(notes=st.dictionaries(st.text(), st.text()))
def test_any_notes_are_read(notes: dict[str, str]) -> None:
    frame = msgspec.json.encode({"client_metadata": {**notes, "ws_request_header_traceparent": OTHER}})
    assert noted(frame).parent == OTHER


KEY = "openai-insecure-api-key.sk-aaaabbbbcccc"


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["chat"], "chat"),
        (["chat", "superchat"], "chat"),
        (["v1.agent", "responses"], "responses"),
        (["realtime", KEY, "openai-beta.realtime-v1"], "realtime"),
        ([KEY, "realtime"], "realtime"),
        ([KEY, "agent"], "agent"),
        ([KEY, "openai-organization.org-1", "openai-project.proj_1", "agent"], "agent"),
        (["bearer", "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"], "bearer"),
        (["base64url.bearer.authorization.example.dG9rZW4", "agent"], "agent"),
        (["sk-1234", "agent"], "agent"),
        (["a" * 64, "agent"], "agent"),
        ([KEY], KEY),
        (["", "two words", "agent"], "agent"),
        (["two words"], None),
    ],
)
def test_the_choice_is_a_name_and_a_key_only_where_there_is_nothing_else(offered: list[str], chosen: str | None):
    assert choose_subprotocol(offered) == chosen


async def test_a_socket_is_opened_with_the_chosen_one():
    async with running_edge(saying("hi")) as edge:
        async with connect(edge.socket_url, subprotocols=[Subprotocol(KEY), Subprotocol("responses")]) as line:
            assert line.subprotocol == "responses"
        async with connect(edge.socket_url) as line:
            assert line.subprotocol is None
