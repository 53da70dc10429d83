from hypothesis import given
from hypothesis import strategies as st

from landline.ledger import LiveSession
from landline.monitor.order import Order

NAMES = st.sampled_from([f"s{number}" for number in range(8)])
STEPS = st.lists(st.tuples(NAMES, st.integers(0, 5), st.booleans()), max_size=60)


def last_at(session: LiveSession) -> float:
    return session.last_at


@given(STEPS, st.integers(0, 9), st.integers(0, 9))
def test_order_is_what_sorting_anew_would_make(steps: list[tuple[str, int, bool]], offset: int, count: int) -> None:
    order, sessions = Order(last_at), dict[str, LiveSession]()
    for name, number, is_open in steps:
        session = sessions.setdefault(name, LiveSession(name, "socket", "", 0.0))
        session.last_at, session.is_open = float(number), is_open
        order.place(session)
    expected = sorted(sessions.values(), key=lambda each: (each.is_ended, -each.last_at, each.session_id))
    assert list(order) == [each.session_id for each in expected]
    assert order.ids(offset, count) == list(order)[offset : offset + count]
    assert order.live_count == sum(not each.is_ended for each in expected)


def test_what_is_not_known_any_more_is_dropped_and_can_come_again() -> None:
    order = Order(last_at)
    kept, gone = LiveSession("kept", "socket", "", 1.0), LiveSession("gone", "socket", "", 2.0)
    for session in (kept, gone):
        order.place(session)
    order.keep(lambda session_id: session_id == "kept")
    assert list(order) == ["kept"]
    order.place(gone)
    assert list(order) == ["gone", "kept"]


def test_a_conversation_over_http_never_counts_as_ended() -> None:
    order = Order(last_at)
    order.place(LiveSession("conversation", "http", "", 1.0))
    assert order.live_count == 1
