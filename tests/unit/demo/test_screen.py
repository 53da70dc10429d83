"""The two rows fit a terminal of 80 columns, and say no more than was measured."""

import io

import pytest
from msgspec.structs import replace
from rich.console import Console

from landline.demo.screen import RunFigures, Screen, bar, board, difference, verdict

FULL = RunFigures(
    name="HTTP, full history",
    colour="yellow",
    turn=21,
    turns=21,
    sent_bytes=1_659_064,
    received_bytes=161_123,
    elapsed_s=14.66,
    is_over=True,
)
LINE = replace(FULL, name="line (WebSocket)", sent_bytes=50_834, received_bytes=29_400, elapsed_s=12.49)


def drawn(runs: list[RunFigures], full_bytes: int = 1_600_000) -> list[str]:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    with console.capture() as capture:
        console.print(board(runs, full_bytes))
    return capture.get().splitlines()


def test_rows_of_a_long_run_fit_into_80_columns() -> None:
    long = replace(FULL, turn=501, turns=501, sent_bytes=999_949_999, received_bytes=999_949_999, elapsed_s=9999.9)
    lines = drawn([long, LINE])
    assert len(lines) == 3
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert lines[1].split() == [
        *["HTTP,", "full", "history"],
        "━" * 20,
        "999.9",
        "MB",
        "999.9",
        "MB",
        "501/501",
        "9999.9",
        "s",
    ]


def test_final_bars_are_as_long_as_what_was_sent() -> None:
    _, full, line = drawn([FULL, LINE])
    assert full.count("━") == 20
    assert (line.count("━"), line.count("─")) == (1, 19)


def test_bars_grow_towards_what_a_full_history_takes() -> None:
    half = replace(FULL, sent_bytes=800_000, is_over=False)
    _, full, line = drawn([half, replace(LINE, sent_bytes=0, is_over=False)])
    assert (full.count("━"), line.count("━")) == (10, 0)


def test_bar_never_leaves_its_place() -> None:
    assert [bar(part, 10, "cyan").plain.count("━") for part in (0, 1, 5, 10, 99)] == [0, 2, 10, 20, 20]
    assert len(bar(0, 0, "cyan").plain) == 20


def test_verdict_names_bytes_time_and_time_beside_the_models() -> None:
    assert verdict(FULL, LINE) == "The line sent 96.9 % less and took 15 % less time."
    sentence = verdict(FULL, LINE, 11.2)
    assert sentence == "The line sent 96.9 % less and took 15 % less time, without the model 63 % less."
    assert len(sentence) <= 80


def test_verdict_says_more_where_it_was_more() -> None:
    worse = replace(LINE, sent_bytes=FULL.sent_bytes * 2, elapsed_s=FULL.elapsed_s * 1.5)
    assert verdict(FULL, worse) == "The line sent 100.0 % more and took 50 % more time."


@pytest.mark.parametrize("model_s", [0.0, 12.49, 20.0])
def test_models_time_is_left_out_where_nothing_is_left_beside_it(model_s: float) -> None:
    assert "without" not in verdict(FULL, LINE, model_s)


def test_difference_has_a_tenth_where_little_is_left() -> None:
    assert [difference(part, 1000) for part in (31, 430, 1000, 1030)] == [
        "96.9 % less",
        "57 % less",
        "0 % less",
        "3 % more",
    ]


def test_without_a_terminal_every_fifth_turn_is_a_line_and_nothing_is_drawn_twice() -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    screen = Screen(console, 1_600_000)
    screen.open("Task  a task")
    for turn in range(21):
        screen.show([replace(FULL, turn=turn, is_over=False, elapsed_s=turn), replace(LINE, turn=0, is_over=False)])
    screen.close([FULL, LINE])
    lines = printed(console)
    assert [line.split(",")[1] for line in lines if ": turn" in line] == [
        f" full history: turn {turn} of 21" for turn in (5, 10, 15, 20)
    ]
    assert sum("21/21" in line for line in lines) == 2


def test_at_a_terminal_the_rows_are_drawn_in_place_and_the_last_ones_stay() -> None:
    console = Console(width=80, height=24, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    screen = Screen(console, 1_600_000)
    screen.open("Task  a task")
    screen.show([replace(FULL, turn=3, is_over=False), replace(LINE, turn=4, is_over=False)])
    screen.close([FULL, LINE])
    output = "\n".join(printed(console))
    assert ": turn" not in output
    assert output.index("3/21") < output.index("\x1b[2K") < output.index("21/21")  # the picture is erased, then the end


def printed(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()
