"""The session's rules by example: eviction, forks, limits, age."""

import itertools
import json
from typing import Any

from landline.session.composer import Composer
from landline.session.limits import Limits
from landline.session.session import Session
from landline.session.turn import CloseSocket, Command, SendFrames, StartTurn, Turn, TurnRefused
from landline.wire.errors import api_error
from landline.wire.events import encode_event
from landline.wire.model_events import Failed, Finished, ModelEvent, TextDelta


def session(**limits: Any) -> Session:
    ids = itertools.count()
    return Session(Limits(**limits), opened_at=0.0, new_id=lambda prefix: f"{prefix}_{next(ids)}")


def create(made: Session, now: float = 0.0, **fields: object) -> list[Command]:
    return made.receive_frame(json.dumps({"type": "response.create", "model": "m", "input": "hi"} | fields), now)


def started(commands: list[Command]) -> Turn:
    return next(command.turn for command in commands if isinstance(command, StartTurn))


def frames(commands: list[Command]) -> list[dict[str, Any]]:
    return [json.loads(encode_event(f)) for each in commands if isinstance(each, SendFrames) for f in each.frames]


def end(made: Session, turn: Turn, *events: ModelEvent, now: float = 0.0) -> list[Command]:
    composer = Composer(turn, model="m", new_id=lambda prefix: f"{prefix}_x")
    composer.open()
    composer.feed(events or [TextDelta("ok"), Finished()])
    return made.update_turn(turn.response_id, composer.close(now), now)


def test_chained_turn_sees_its_parents_input_and_output() -> None:
    made = session()
    first = started(create(made, store=False))
    end(made, first)
    second = started(create(made, store=False, input="more", previous_response_id=first.response_id))
    assert second.history is not None
    assert [item.role for item in second.history.all_items()] == ["user", "assistant", "user"]


def test_failed_continuation_on_the_same_lane_evicts_its_parent() -> None:
    made = session()
    first = started(create(made))
    end(made, first)
    second = started(create(made, previous_response_id=first.response_id))
    end(made, second, Failed(api_error("server_error", "x")))
    assert not started(create(made, previous_response_id=first.response_id)).is_resolved


def test_unreadable_continuation_evicts_its_parent_too() -> None:
    made = session()
    first = started(create(made))
    end(made, first)
    assert (
        frames(create(made, previous_response_id=first.response_id, temperature="hot"))[0]["error"]["param"]
        == "temperature"
    )
    assert not started(create(made, previous_response_id=first.response_id)).is_resolved


def test_failed_fork_on_another_lane_keeps_the_parent() -> None:
    made = session()
    first = started(create(made, stream_id="main"))
    end(made, first)
    fork = started(create(made, stream_id="fork", previous_response_id=first.response_id))
    end(made, fork, Failed(api_error("server_error", "x")))
    assert started(create(made, stream_id="main", previous_response_id=first.response_id))


def test_any_ancestor_in_memory_may_be_forked() -> None:
    made = session()
    first = started(create(made))
    end(made, first)
    second = started(create(made, previous_response_id=first.response_id))
    end(made, second)
    fork = started(create(made, stream_id="fork", previous_response_id=first.response_id, input="other"))
    assert fork.history is not None
    assert fork.history.item_count == 3


def test_waiting_fork_keeps_its_parent_alive() -> None:
    made = session(max_in_flight=1)
    first = started(create(made))
    end(made, first)
    failing = started(create(made, previous_response_id=first.response_id))
    assert create(made, stream_id="fork", previous_response_id=first.response_id) == []
    commands = end(made, failing, Failed(api_error("server_error", "x")))
    assert started(commands).stream_id == "fork"


def test_queued_create_may_continue_the_response_that_is_running() -> None:
    made = session()
    first = started(create(made))
    assert create(made, previous_response_id=first.response_id, input="next") == []
    second = started(end(made, first))
    assert second.history is not None
    assert second.history.item_count == 3


def test_incomplete_response_may_be_continued() -> None:
    made = session()
    first = started(create(made))
    end(made, first, TextDelta("cut"), Finished("max_output_tokens"))
    assert started(create(made, previous_response_id=first.response_id))


def test_error_frame_of_a_lane_names_the_lane_and_others_do_not() -> None:
    made = session()
    assert frames(create(made, stream_id="a", temperature=9))[0]["stream_id"] == "a"
    assert "stream_id" not in frames(create(made, temperature=9))[0]
    assert "stream_id" not in frames(create(made, stream_id=""))[0]


def test_lane_ids_count_for_the_life_of_the_connection() -> None:
    made = session(max_named_lanes=2)
    for lane in ("a", "b"):
        assert frames(create(made, stream_id=lane, temperature=9))[0]["error"]["code"] == "invalid_value"
    refused = frames(create(made, stream_id="c"))[0]
    assert (refused["error"]["code"], refused["stream_id"]) == ("websocket_stream_limit_reached", "c")
    assert started(create(made))


def test_queue_overflow_is_a_429_with_its_wait() -> None:
    made = session(max_queued_turns=1)
    create(made)
    create(made)
    refused = frames(create(made))[0]
    assert (refused["status"], refused["error"]["code"]) == (429, "rate_limit_exceeded")
    assert refused["headers"]["retry-after"]


def test_idle_socket_is_closed_at_its_age_limit() -> None:
    made = session(max_age_s=60)
    assert made.tick(59.9) == []
    commands = made.tick(60.0)
    error = frames(commands)[0]
    assert error["error"]["code"] == "websocket_connection_limit_reached"
    assert "1 minutes" in error["error"]["message"]
    assert commands[-1] == CloseSocket(1001, "connection age limit")
    assert create(made) == []


def test_running_turn_may_end_in_the_grace_and_new_ones_are_refused() -> None:
    made = session(max_age_s=60, age_grace_s=30)
    turn = started(create(made))
    assert made.tick(60.0) == []
    assert frames(create(made, now=61.0))[0]["error"]["code"] == "websocket_connection_limit_reached"
    commands = end(made, turn, now=62.0)
    assert [frame["type"] for frame in frames(commands)][-2:] == ["response.completed", "error"]
    assert isinstance(commands[-1], CloseSocket)


def test_processed_and_unknown_cancel_are_ignored() -> None:
    made = session()
    assert made.receive_frame('{"type":"response.processed","response_id":"resp_1"}', 0.0) == []
    assert made.receive_frame('{"type":"response.cancel","response_id":"resp_1"}', 0.0) == []


def test_binary_frame_with_json_is_read() -> None:
    assert started(session().receive_frame(b'{"type":"response.create","model":"m","input":"hi"}', 0.0))


def test_memory_is_bounded_by_its_budget() -> None:
    made = session(memory_bytes=2000)
    parent: str | None = None
    for _ in range(30):
        fields: Any = {"previous_response_id": parent} if parent else {}
        turn = started(create(made, input="x" * 200, **fields))
        if not turn.is_resolved:
            made.update_turn(turn.response_id, TurnRefused(api_error("previous_response_not_found", "no")), 0.0)
            parent = None
            continue
        end(made, turn)
        parent = turn.response_id
        assert made.memory_bytes <= 2000


def test_least_output_tokens_are_a_setting_of_the_connection() -> None:
    made = session(min_output_tokens=2)
    (error,) = frames(create(made, max_output_tokens=1))
    assert (error["status"], error["error"]["param"]) == (400, "max_output_tokens")
    assert started(create(made, max_output_tokens=2)).request.max_output_tokens == 2
