"""What is new in a request: the delta holds what the server has not, and never what it has."""

from typing import Any

from aiperf_responses_websocket.history import (
    ServedHistory,
    create_frame,
    full_input,
    hash_items,
    new_items,
    remember,
    warm_up_frame,
)

Json = dict[str, Any]


def message(role: str, text: str) -> Json:
    return {"type": "message", "role": role, "content": text}


def call(call_id: str) -> Json:
    return {"type": "function_call", "call_id": call_id, "name": "ls", "arguments": "{}"}


def output(call_id: str) -> Json:
    return {"type": "function_call_output", "call_id": call_id, "output": "a.txt"}


ASKED = [message("system", "Be kind."), message("user", "one")]


def unsent(items: list[Json], *made: Json, has_answer: bool = True) -> list[Json] | None:
    """What a request with these items sends after a response to `ASKED` that consisted of `made`."""
    served = remember({"id": "resp_1", "status": "completed"}, hash_items(ASKED), list(made) if has_answer else [])
    assert served is not None
    return new_items(items, hash_items(items), served)


def test_only_what_follows_the_known_input_is_sent() -> None:
    new = message("user", "two")
    assert unsent([*ASKED, message("assistant", "Hi."), new], message("assistant", "Hi.")) == [new]


def test_a_recorded_answer_gives_way_to_the_served_one() -> None:
    new = message("user", "two")
    assert unsent([*ASKED, message("assistant", "as recorded"), new], message("assistant", "Hi.")) == [new]


def test_the_output_of_a_served_call_is_sent_without_the_call() -> None:
    assert unsent([*ASKED, call("c1"), output("c1")], call("c1")) == [output("c1")]


def test_a_recorded_call_that_was_not_served_goes_with_its_output() -> None:
    items = [*ASKED, call("c9"), output("c9")]
    assert unsent(items, message("assistant", "Hi.")) == [call("c9"), output("c9")]


def test_reasoning_is_not_sent_back() -> None:
    reasoning: Json = {"type": "reasoning", "summary": []}
    assert unsent([*ASKED, reasoning, message("assistant", "Hi.")], reasoning, message("assistant", "Hi.")) == []


def test_a_recorded_answer_is_sent_where_a_warm_up_made_none() -> None:
    items = [*ASKED, message("assistant", "as recorded"), message("user", "two")]
    assert unsent(items, has_answer=False) == items[2:]


def test_a_changed_history_is_no_delta() -> None:
    assert (
        unsent([message("system", "Be brief."), ASKED[1], message("user", "two")], message("assistant", "Hi.")) is None
    )
    assert unsent(ASKED[:1], message("assistant", "Hi.")) is None


def test_a_string_is_one_user_message() -> None:
    assert full_input({"input": "one"}) == [message("user", "one")]
    assert full_input({}) == []


def test_a_failed_response_is_not_continued() -> None:
    assert remember({"id": "resp_1", "status": "failed"}, (), []) is None
    assert remember({"status": "completed"}, (), []) is None
    assert isinstance(remember({"id": "resp_1", "status": "incomplete"}, (), []), ServedHistory)


def test_a_frame_has_the_body_without_what_concerns_http() -> None:
    payload = {"model": "m", "tools": [], "stream": True, "stream_options": {"include_usage": True}, "input": ASKED}
    frame = create_frame(payload, ASKED[1:], previous_response_id="resp_1", stream_id="lane-1")
    assert frame == {
        "type": "response.create",
        "model": "m",
        "tools": [],
        "input": ASKED[1:],
        "previous_response_id": "resp_1",
        "stream_id": "lane-1",
    }


def test_a_warm_up_asks_for_no_output() -> None:
    assert warm_up_frame({"model": "m", "max_output_tokens": 1}) == {"model": "m", "generate": False}
