from landline.server.drain import Signal


def test_a_signal_calls_each_subscriber_once():
    calls: list[str] = []
    signal = Signal()
    signal.subscribe(lambda: calls.append("a"))
    signal.set()
    signal.set()
    assert calls == ["a"]


def test_a_late_subscriber_is_called_at_once():
    calls: list[str] = []
    signal = Signal()
    signal.set()
    signal.subscribe(lambda: calls.append("late"))
    assert calls == ["late"]


def test_who_unsubscribed_is_not_called():
    calls: list[str] = []
    signal = Signal()

    def call() -> None:
        calls.append("a")

    signal.subscribe(call)
    signal.unsubscribe(call)
    signal.set()
    assert calls == []
