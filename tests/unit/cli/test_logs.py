"""The log is one line an event, `key=value`, with the response's id in front of what happened."""

import asyncio
import logging

import pytest
import structlog

from landline.cli import logs
from landline.cli.logs import configure_logging, turn_writer
from support.ledger.entries import changed


def test_a_line_begins_with_time_level_response_and_event(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    structlog.get_logger().info("turn_ended", tokens=3, response_id="resp_1")
    line = capsys.readouterr().err.splitlines()[0]
    assert [pair.split("=")[0] for pair in line.split()] == ["at", "level", "response_id", "event", "tokens"]
    assert "response_id=resp_1 event=turn_ended tokens=3" in line


def test_less_than_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning")
    structlog.get_logger().info("turn_ended")
    structlog.get_logger().warning("drain_begun")
    assert [line.split("event=")[1] for line in capsys.readouterr().err.splitlines()] == ["drain_begun"]


async def test_a_turns_line_looks_like_every_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "HELD_S", 0.0)
    configure_logging("info")
    turn_writer()(changed(model='a "name"\nat=1'))
    assert capsys.readouterr().err == "", "lines are written together"
    loop = asyncio.get_running_loop()
    written = asyncio.Event()
    loop.call_later(0.0, loop.call_soon, written.set)
    await written.wait()
    [line] = capsys.readouterr().err.splitlines()
    assert [pair.split("=")[0] for pair in line.split()[:4]] == ["at", "level", "response_id", "event"]
    assert " level=info response_id=resp_1 event=turn_ended " in line
    assert r' model="a \"name\"\nat=1" ' in line
    assert " wire_in=300 " in line


def test_a_turns_line_is_not_written_below_its_level(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning")
    turn_writer()(changed())
    assert capsys.readouterr().err == ""


HOSTILE = "a\x1b[2Jb\x9bc\u202ed\u2066e\u200ff\x7fg"


def test_a_line_holds_nothing_that_steers_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    structlog.get_logger().info("asked_again", reason=HOSTILE + "\nat=forged")
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        structlog.get_logger().exception("turn_failed")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    assert r"a\u001b[2Jb\u009bc\u202ed" in lines[0]


def test_what_libraries_warn_of_does_not_steer_a_terminal() -> None:
    configure_logging("info")
    record = logging.LogRecord("some.library", logging.WARNING, __file__, 1, "odd:\n%s", (HOSTILE,), None)
    assert logging.lastResort is not None
    assert logging.lastResort.format(record) == "odd:\na[2Jbcdefg"


async def test_a_turns_line_holds_nothing_that_steers_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "HELD_S", 0.0)
    configure_logging("info")
    turn_writer()(changed(model=HOSTILE, session_id=HOSTILE, error_code=HOSTILE))
    loop = asyncio.get_running_loop()
    written = asyncio.Event()
    loop.call_later(0.0, loop.call_soon, written.set)
    await written.wait()
    [line] = capsys.readouterr().err.splitlines()
    assert line.isprintable()
