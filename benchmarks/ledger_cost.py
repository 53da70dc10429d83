"""What does the ledger cost? CPU of one process for what a turn and an event add, without any network.

*Of a turn* is everything that is done once a turn and would not be done without the ledger: its meter, the lengths of its
create, the body that a client without a session would have sent, its account, its entry in the sums of process, key, model,
target, session and lane. The entry is made when the turn's last write has left: nobody waits for it. Its line in the log is timed apart: it is written whether or not anybody reads the ledger, and it
replaces the line of issue-free turns before (`turn_routed`, by structlog), which is timed beside it. *Of an event* is what
one more frame to the client adds: its size on the wire, added to the turn's meter.

Each number is the median and the best of several rounds of many repetitions; a round's repetitions run back to back, so
that caches are warm, as they are on a busy server.

    python benchmarks/ledger_cost.py
"""

import io
import statistics
import time
from collections.abc import Callable, Sequence

import structlog

from landline.cli.logs import configure_logging
from landline.ledger import Entry, Ledger
from landline.ledger.entry import make_entry
from landline.ledger.turn_line import turn_line
from landline.server.account import Account
from landline.server.wire_count import WireCount
from landline.session.create_bytes import measure_create, measure_history
from landline.session.lineage import Link
from landline.session.meter import Meter
from landline.session.turn import Turn
from landline.wire.items import Item
from landline.wire.requests import CreateRequest, decode_create
from landline.wire.responses import InputTokensDetails, OutputTokensDetails, Usage
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
    rows = [
        ("lengths of a create (17 kB, 10 tools)", _time(lambda: measure_create(Meter(), request, body))),
        ("body of a client without a session, 1 MB behind", _time(_history_measurer(request))),
        ("account opened", _time(_account_opener(request))),
        ("account closed: the entry, in all sums", _time(_entry_adder(request))),
        ("of an event", _time(_event_adder(request))),
        ("the turn's line in the log", _time(_line_writer())),
        ("the same by structlog", _time(_structlog_writer())),
    ]
    write_result("ledger_cost", _report(rows))


def _body() -> str:
    tools = ",".join(TOOL % (number, "does something useful " * 60) for number in range(TOOLS))
    item = '{"type":"function_call_output","call_id":"call_1","output":"%s"}' % ("x" * 3600)
    return (
        '{"type":"response.create","model":"m","previous_response_id":"resp_1","store":false,'
        f'"instructions":"Be brief.","tools":[{tools}],"input":[{item}]}}'
    )


def _history_measurer(request: CreateRequest) -> Callable[[], object]:
    history: Link | None = None
    for _ in range(250):
        history = Link(history, [Item(raw=b"x" * 4000, type="message", role="user")])
    own = (Item(raw=b"x" * 3600, type="function_call_output", call_id="call_1"),)
    turn = Turn("resp_1", request, Link(history, own), created_at=0.0, items=own)
    return lambda: measure_history(turn)


def _account_opener(request: CreateRequest) -> Callable[[], object]:
    ledger, wire = Ledger(), WireCount()
    session = ledger.open_session("line_1", "socket", "", 0.0)
    turn = Turn("resp_1", request, None, created_at=0.0, meter=Meter(session_id="line_1", started_at=1.0))
    return lambda: Account(ledger, turn, wire, session=session)


def _entry_adder(request: CreateRequest) -> Callable[[], object]:
    """The same account is closed again and again."""
    ledger, wire = Ledger(), WireCount()
    session = ledger.open_session("line_1", "socket", "", 0.0)
    meter = Meter(transport="socket", session_id="line_1", started_at=1.0, first_event_at=2.0, ended_at=3.0)
    meter.target, meter.reason, meter.outcome, meter.usage = "one", "only", "completed", USAGE
    return Account(ledger, Turn("resp_1", request, None, created_at=0.0, meter=meter), wire, session=session).close


def _event_adder(request: CreateRequest) -> Callable[[], object]:
    wire = WireCount()
    account = Account(Ledger(), Turn("resp_1", request, None, created_at=0.0), wire)
    return lambda: account.add_frame(220)


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
    meter = Meter(session_id="line_" + "0" * 48, target="one", reason="only", asked_at=1.0, first_event_at=2.0)
    return make_entry(turn, meter, "completed", usage=USAGE)


def _time(work: Callable[[], object]) -> list[float]:
    """Seconds of one repetition, for each round."""
    times: list[float] = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(REPETITIONS):
            work()
        times.append((time.process_time() - started) / REPETITIONS)
    return times


def _report(rows: list[tuple[str, list[float]]]) -> list[str]:
    table = [_row(name, times) for name, times in rows]
    answer = [sum(column) for column in zip(*(times for _, times in rows[:3]), strict=True)]
    turn = [sum(column) for column in zip(*(times for _, times in rows[:4]), strict=True)]
    return [
        "# What the ledger costs",
        "",
        f"`python benchmarks/ledger_cost.py`: microseconds of CPU, n = {ROUNDS} rounds of {REPETITIONS}.",
        f"Reach: {REACH_US:g} µs a turn on the way of its answer; the entry is made when the answer has left.",
        "",
        *describe_setting("landline", "msgspec", "structlog"),
        "",
        "| what | median | best |",
        "| --- | --- | --- |",
        *table,
        _row("**of a turn before its answer has left: the first three**", answer),
        _row("**of a turn: the first four**", turn),
        "",
        "Not shown: what counting adds to each network read and write (an addition), telemetry and metrics where they watch.",
    ]


def _row(name: str, times: Sequence[float]) -> str:
    return f"| {name} | {statistics.median(times) * 1e6:.2f} | {min(times) * 1e6:.2f} |"


if __name__ == "__main__":
    main()
