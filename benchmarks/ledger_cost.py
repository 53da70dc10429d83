"""What does the ledger cost? CPU of one process for what a turn and an event add, without any network.

*Before the answer has left* is what a client waits for: the turn's account and its counters. *An event* is what one more
frame to the client adds: its size on the wire, added to the turn's account.
*Behind the answer* is done when the turn's last write has left, and nobody waits for it: the lengths of its create, the body
that a client without a session would have sent, its entry, and the sums. Its line in the log is timed apart: it is written
whether or not anybody reads the ledger. As a measure of the machine's speed at the time, the same line is also written by
structlog.

Each number is the median and the best of several rounds of many repetitions; a round's repetitions run back to back, so
that caches are warm, as they are on a busy server. The rounds of all rows take turns, so that a slow spell is in all of them.

    python benchmarks/ledger_cost.py
"""

import asyncio
import io
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog

from landline.cli.logs import configure_logging
from landline.ledger import Entry, Ledger
from landline.ledger.entry import Count, make_entry
from landline.ledger.prices import Prices, published_prices
from landline.ledger.report import Milestones, Service, TurnReport
from landline.ledger.turn_line import turn_line
from landline.routing.router import Router
from landline.server.account import Account
from landline.server.connection import WireCount
from landline.server.upload_meter import UploadMeter
from landline.session.create_bytes import TurnBytes, measure_turn
from landline.session.lineage import Link
from landline.session.turn import Arrival, CreateBytes, Turn
from landline.stores.memory import MemoryStore
from landline.turns.parts import RunnerSettings
from landline.turns.runner import TurnRunner
from landline.turns.running import RunningTurn
from landline.upstream.target import Traffic
from landline.wire.items import Item
from landline.wire.requests import CreateRequest, decode_create
from landline.wire.responses import InputTokensDetails, OutputTokensDetails, Response, Usage, new_response
from setting import describe_setting, write_result

ROUNDS = 15
REPETITIONS = 2000
REACH_US = 5.0
TOOLS = 10
TOOL = '{"type":"function","name":"tool_%d","description":"%s","parameters":{"type":"object","properties":{}}}'
USAGE = Usage(1000, InputTokensDetails(900), 50, OutputTokensDetails(10), 1050)


def main() -> None:
    body = _body()
    request = decode_create(body)
    assert isinstance(request, CreateRequest)
    works = [
        ("**before the answer has left**", _answered_turn(request, body)),
        ("**of an event**", _event_adder(request)),
        (
            "behind the answer: lengths of a create of 17 kB, and the body of a client without a session, 1 MB behind",
            _measurer(request, body),
        ),
        ("behind the answer: the entry, in all sums", _entry_adder(request)),
        ("behind the answer: the time that it saved", _time_claimer()),
        ("behind the answer: what its tokens cost", _pricer()),
        ("behind the answer: the turn's line in the log", _line_writer()),
        ("the same line by structlog, for comparison", _structlog_writer()),
    ]
    write_result("ledger_cost", _report(_time(works)))


def _body() -> str:
    tools = ",".join(TOOL % (number, "does something useful " * 60) for number in range(TOOLS))
    item = '{"type":"function_call_output","call_id":"call_1","output":"%s"}' % ("x" * 3600)
    return (
        '{"type":"response.create","model":"m","previous_response_id":"resp_1","store":false,'
        f'"instructions":"Be brief.","tools":[{tools}],"input":[{item}]}}'
    )


def _lineage() -> tuple[Link, tuple[Item, ...]]:
    """1 MB of history with one new item, and that item."""
    history: Link | None = None
    for _ in range(250):
        history = Link(history, [Item(raw=b"x" * 4000, type="message", role="user")])
    own = (Item(raw=b"x" * 3600, type="function_call_output", call_id="call_1"),)
    return Link(history, own), own


def _answered_turn(request: CreateRequest, body: str) -> Callable[[], object]:
    """Everything that is counted of a turn until it ends."""
    ledger, wire = Ledger(), WireCount()
    session = ledger.open_session("line_1", "socket", "", 0.0)
    running = _running(request, body=body)

    def answer() -> None:
        account = Account(ledger, running, wire, session=session)
        account.add_message(900)
        traffic = Traffic()
        traffic.requests += 1
        traffic.sent_bytes += 1_000_000
        traffic.received_bytes += 20_000
        Traffic().add(traffic)
        Milestones(time.monotonic(), time.monotonic(), time.monotonic())

    return answer


def _measurer(request: CreateRequest, body: str) -> Callable[[], object]:
    history, own = _lineage()
    assert history.parent is not None
    before = history.parent
    before.replay  # noqa: B018  # known since the turn before

    def measure() -> None:
        turn = Turn("resp_1", request, Link(before, own), 0.0, own, body=body)
        measure_turn(turn, turn)

    return measure


def _entry_adder(request: CreateRequest) -> Callable[[], object]:
    """The same account is closed again and again."""
    ledger, wire = Ledger(), WireCount()
    session = ledger.open_session("line_1", "socket", "", 0.0)
    return Account(ledger, _running(request), wire, session=session).close


class _Connected(asyncio.Transport):
    """One end of a TCP connection on loopback."""

    def __init__(self) -> None:
        super().__init__()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._peer = socket.create_connection(listener.getsockname())
            self._socket, _ = listener.accept()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket


def _time_claimer() -> Callable[[], object]:
    """The kernel is asked for the round trip every ten seconds only."""
    meter = UploadMeter(_Connected())
    for place in range(20):
        meter.note_read(100_000, is_partial=place < 19)
    turn = TurnBytes(CreateBytes(payload=17_000), stateless=1_000_000)
    assert meter.claim_s(turn, 17_000, 17_000) is not None
    return lambda: meter.claim_s(turn, 17_000, 17_000)


def _pricer() -> Callable[[], object]:
    """By the price list, with a snapshot's name."""
    prices = Prices({"m": None}, published_prices(), {"one": "api.anthropic.com"})

    def price() -> object:
        rates = prices.find("m", "one", "claude-haiku-4-5-20251001")
        assert rates is not None
        return rates.for_prompt(1000).cost_of(1000, 900, 0, 50)

    return price


def _event_adder(request: CreateRequest) -> Callable[[], object]:
    wire = WireCount()
    account = Account(Ledger(), _running(request), wire)
    return lambda: account.add_frame(220)


def _running(request: CreateRequest, body: str = "") -> RunningTurn:
    runner = TurnRunner(Router({}), MemoryStore(), new_id=str, settings=RunnerSettings())
    arrival = Arrival(transport="socket", session_id="line_1", wire_bytes=900, started_at=1.0)
    return runner.start(Turn("resp_1", request, None, 0.0, body=body, arrival=arrival))


def _line_writer() -> Callable[[], object]:
    sink, entry = io.StringIO(), _entry()
    return lambda: sink.write(f"{turn_line(entry)}\n")


def _structlog_writer() -> Callable[[], object]:
    configure_logging("info")
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=io.StringIO()))
    log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger()
    _, *pairs = turn_line(_entry()).split(" ")
    fields = dict(pair.split("=", 1) for pair in pairs if not pair.startswith("event="))
    return lambda: log.info("turn_ended", **fields)


def _entry() -> Entry:
    turn = Turn("resp_" + "0" * 48, CreateRequest(model="m"), None, created_at=0.0)
    report = TurnReport(
        turn=turn,
        session_id="line_" + "0" * 48,
        service=Service("one", "m", "only", "none", 0),
        milestones=Milestones(1.0, 2.0, 3.0),
        outcome="completed",
        response=_response(turn),
    )
    count = Count(wire_in_bytes=900, wire_out_bytes=0, payload_out_bytes=0, began_at=0.0, closed_at=3.0, started_at=0.0)
    return make_entry(report, measure_turn(turn, turn), count)


def _response(turn: Turn) -> Response:
    made = new_response(turn.request, id=turn.response_id, created_at=0, model="m", conversation_id=None)
    return msgspec.structs.replace(made, status="completed", usage=USAGE)


def _time(works: Sequence[tuple[str, Callable[[], object]]]) -> list[tuple[str, list[float]]]:
    """Seconds of one repetition, for each round of each work."""
    times: dict[str, list[float]] = {name: [] for name, _ in works}
    for _ in range(ROUNDS):
        for name, work in works:
            started = time.process_time()
            for _ in range(REPETITIONS):
                work()
            times[name].append((time.process_time() - started) / REPETITIONS)
    return list(times.items())


def _report(rows: list[tuple[str, list[float]]]) -> list[str]:
    return [
        "# What the ledger costs",
        "",
        f"`python benchmarks/ledger_cost.py`: microseconds of CPU, n = {ROUNDS} rounds of {REPETITIONS}.",
        f"Reach: {REACH_US:g} µs a turn on the way of its answer; the rest is done when the answer has left.",
        "",
        *describe_setting("landline", "msgspec", "structlog"),
        "",
        "| what | median | best |",
        "| --- | --- | --- |",
        *(_row(name, times) for name, times in rows),
        "",
        "The first row makes the turn itself too, the third the turn and its link. Not shown: what counting adds to each",
        "network read and write (an addition), telemetry and metrics where they watch.",
    ]


def _row(name: str, times: Sequence[float]) -> str:
    return f"| {name} | {statistics.median(times) * 1e6:.2f} | {min(times) * 1e6:.2f} |"


if __name__ == "__main__":
    main()
