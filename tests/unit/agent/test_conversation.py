"""Requests are made of the same items however they are sent, and their size is known without making them."""

import json

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from landline.agent.conversation import ContinuationPoint, ConversationLog, RequestSettings, user_message

_CHOICES = st.sampled_from(["auto", "required", "none"])


def conversation_of(texts: list[str], *, instructions: str | None = None) -> ConversationLog:
    tools = Raw(b'[{"type":"function","name":"ls"}]')
    conversation = ConversationLog(
        RequestSettings(model="m", instructions=instructions, tools=tools, max_output_tokens=99)
    )
    conversation.append(user_message(text) for text in texts)
    return conversation


@given(texts=st.lists(st.text()), instructions=st.none() | st.text(), choice=_CHOICES)
def test_stateless_size_is_the_size_of_the_full_body(texts: list[str], instructions: str | None, choice: str) -> None:
    conversation = conversation_of(texts, instructions=instructions)
    assert conversation.stateless_bytes(choice) == len(conversation.http_body(choice))  # type: ignore[arg-type]


@given(texts=st.lists(st.text(), min_size=1), data=st.data())
def test_known_items_and_a_delta_make_the_full_history(texts: list[str], data: st.DataObject) -> None:
    known = data.draw(st.integers(0, len(texts)))
    conversation = conversation_of(texts)
    full = json.loads(conversation.frame("auto", None))
    delta = json.loads(conversation.frame("auto", ContinuationPoint("resp_1", known)))
    assert full["input"][:known] + delta["input"] == full["input"]
    assert delta.pop("previous_response_id") == "resp_1"
    assert {**delta, "input": 0} == {**full, "input": 0}, "what is no history is repeated"


def test_frame_is_the_body_with_a_type_and_without_stream() -> None:
    conversation = conversation_of(["a"])
    body = json.loads(conversation.http_body("auto"))
    frame = json.loads(conversation.frame("auto", None))
    assert body.pop("stream") is True
    assert frame.pop("type") == "response.create"
    assert frame == body


def test_stored_body_is_the_body_with_store_on_and_only_new_items_behind_an_anchor() -> None:
    conversation = conversation_of(["a", "b"])
    body = json.loads(conversation.http_body("auto"))
    stored = json.loads(conversation.stored_http_body("auto", None))
    assert stored == {**body, "store": True}
    later = json.loads(conversation.stored_http_body("auto", ContinuationPoint("resp_1", 1)))
    assert later == {**stored, "input": stored["input"][1:], "previous_response_id": "resp_1"}
