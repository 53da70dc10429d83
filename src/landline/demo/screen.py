"""What the demo shows: two rows that count up, and in the end a sentence about them. Plain lines where there is no terminal."""

import msgspec
from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.table import Table
from rich.text import Text

_BAR_CELLS = 20
_PLAIN_TURNS = 5
"""Without a terminal, a line is printed every so many turns."""


class RunFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two runs, as it stands."""

    name: str
    colour: str
    turn: int
    """Turns that are over."""
    turns: int
    sent_bytes: int
    received_bytes: int
    elapsed_s: float
    """So far; in the end, of the whole run."""
    is_over: bool


def board(runs: list[RunFigures], full_bytes: int) -> Table:
    """A row for each run; bars are bytes sent, as long as they can be at `full_bytes` or the most that was sent."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("", no_wrap=True, min_width=_BAR_CELLS)
    for name, width in (("sent", 8), ("received", 8), ("turn", 6), ("time", 6)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    most = max(full_bytes, *(run.sent_bytes for run in runs)) if not all(run.is_over for run in runs) else 0
    for run in runs:
        whole = most or max(each.sent_bytes for each in runs)
        table.add_row(
            run.name,
            bar(run.sent_bytes, whole, run.colour),
            size(run.sent_bytes),
            size(run.received_bytes),
            f"{run.turn}/{run.turns}",
            f"{run.elapsed_s:.1f} s",
        )
    return table


def bar(part: int, whole: int, colour: str) -> Text:
    """A bar of which some is filled: at least one cell of anything."""
    filled = min(_BAR_CELLS, max(part > 0, round(_BAR_CELLS * part / max(1, whole))))
    return Text("━" * filled, style=colour) + Text("─" * (_BAR_CELLS - filled), style="bright_black")


def size(value_bytes: int) -> str:
    """`519 B`, `50.8 kB`, `1.7 MB`."""
    return f"{value_bytes} B" if value_bytes < 1000 else decimal(value_bytes, precision=1)


def verdict(full: RunFigures, line: RunFigures, model_s: float | None = None) -> str:
    """What the line saved, in a sentence; `model_s` is the time that the model took of each, where that is known."""
    sent = difference(line.sent_bytes, full.sent_bytes)
    total = difference(line.elapsed_s, full.elapsed_s)
    sentence = f"The line sent {sent} and took {total} time"
    if not model_s or line.elapsed_s <= model_s:
        return f"{sentence}."
    rest = difference(line.elapsed_s - model_s, full.elapsed_s - model_s)
    return f"{sentence}, without the model {rest}."


def difference(part: float, whole: float) -> str:
    """`96.4 % less`, `12 % less`, `3 % more`: a tenth where whole percents would hide what is left."""
    less = 100 * (1 - part / whole)
    digits = 1 if abs(less) > 90 else 0
    return f"{abs(less):.{digits}f} % {'less' if less >= 0 else 'more'}"


class Screen:
    """Shows the runs while they last. Call `open`, `show` often, `close` with the last figures."""

    def __init__(self, console: Console, full_bytes: int) -> None:
        self._console = console
        self._full_bytes = full_bytes
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._printed: dict[str, int] = {}

    def open(self, *lines: RenderableType) -> None:
        self.say(*lines)
        if self._live is not None:
            self._live.start()

    def show(self, runs: list[RunFigures]) -> None:
        """Draws the figures; where there is no terminal, prints those of every fifth turn."""
        if self._live is not None:
            self._live.update(board(runs, self._full_bytes), refresh=True)
            return
        for run in runs:
            if run.turn // _PLAIN_TURNS > self._printed.get(run.name, 0) and not run.is_over:
                self._printed[run.name] = run.turn // _PLAIN_TURNS
                sent = size(run.sent_bytes)
                self.say(f"{run.elapsed_s:5.1f} s  {run.name}: turn {run.turn} of {run.turns}, {sent} sent")

    def close(self, runs: list[RunFigures]) -> None:
        """Leaves the last figures where they are."""
        self.stop()
        self.say("", board(runs, self._full_bytes), "")

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, *lines: RenderableType) -> None:
        """Prints lines that stay; text is taken as it is, without markup."""
        self._console.print(Group(*(Text(line) if isinstance(line, str) else line for line in lines)), soft_wrap=False)
