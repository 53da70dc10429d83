"""One session: what it is, where its bytes go, and its turns as bars."""

from rich.text import Text

from landline.cli.top.lines import bar, first_that_fits, line, plain, saving
from landline.cli.top.numbers import count, percent, saved, seconds, size
from landline.monitor.state import SessionDetail, TurnRow

OVERHEAD_LINES = 7
"""Lines above the turns."""
_PARTS = (
    ("tools", "magenta"),
    ("instructions", "blue"),
    ("history", "yellow"),
    ("new_items", "green"),
    ("other", "cyan"),
)
_BAD = ("failed", "refused", "aborted")
_NUMBER_WIDTH = 6
"""A turn's number stands before its bar, what it sent and took behind it."""
_TIGHT = 60
"""Below so many columns a turn says only what was sent and how long it took."""


def detail_head(detail: SessionDetail | None, session_id: str, *, is_asked: bool, width: int) -> list[Text]:
    """The lines above the turns."""
    title = line((f"session {plain(session_id)}", "bold"))
    if detail is None:
        missing = "Loading …" if is_asked else "This session is not known any more."
        return [Text(""), title, line(missing, style="dim")]
    row = detail.row
    cached = f"cached {percent(row.tokens.cached, row.tokens.input)}" if row.tokens.input else ""
    target = f"at {row.target}" if row.target else ""
    compression = f"compression: {row.compression}" if row.compression else ""
    facts = (row.transport, compression, row.state, f"{row.model} {target}".strip(), cached)
    uploaded, would = size(row.uploaded_bytes), size(row.stateless_bytes)
    share = saved(row.saved_bytes, row.stateless_bytes)
    sums = line(
        ("uploaded ", "dim"),
        (uploaded, "bold"),
        (f" ({size(detail.payload_bytes)} JSON)  without Landline ", "dim"),
        would,
        ("  saved ", "dim"),
        (share, "bold green"),
    )
    sums = first_that_fits(width, sums, *saving(uploaded, would, share))
    words = _columns("uploaded", "without", "first", "total", width)
    titles = line("turn", " " * max(1, width - 4 - len(words)), words, style="dim")
    return [
        Text(""),
        title,
        line(", ".join(plain(each) for each in facts if each), style="dim"),
        sums,
        *_where(detail, width),
        titles,
    ]


def turn_lines(detail: SessionDetail | None, *, top: int, rows: int, width: int) -> list[Text]:
    """The newest turns at the bottom, `top` of them below the screen; bars are to one scale."""
    turns = detail.turns if detail is not None else []
    end = max(0, len(turns) - top)
    most = max((max(turn.stateless_bytes, turn.uploaded_bytes) for turn in turns), default=0)
    return [_turn_line(turn, most, width) for turn in turns[max(0, end - rows) : end]]


def _where(detail: SessionDetail, width: int) -> list[Text]:
    """Where the bytes of its creates went, before compression, as one bar and in words."""
    parts = [(name, style, int(getattr(detail.sent, name))) for name, style in _PARTS]
    whole = max(sum(value for _, _, value in parts), 1)
    stacked = [("█" * round(width * value / whole), style) for _, style, value in parts]
    words: list[str | tuple[str, str]] = []
    for name, style, value in parts:
        if value:
            words += [("■ ", style), (f"{name.replace('_', ' ')} ", "dim"), f"{100 * value / whole:.0f} %  "]
    return [line(*stacked), line(*words)]


def _turn_line(turn: TurnRow, most: int, width: int) -> Text:
    is_bad = turn.outcome in _BAD
    words = _columns(
        size(turn.uploaded_bytes),
        size(turn.stateless_bytes),
        seconds(turn.first_event_s),
        seconds(turn.total_s),
        width,
    )
    room = max(4, width - _NUMBER_WIDTH - len(words) - 1)
    text = line((f"{count(turn.number):>5} ", "red" if is_bad else "dim"))
    said = _notes(turn)[: room // 2]
    drawn = bar(turn.uploaded_bytes, turn.stateless_bytes, most, max(2, room - len(said) - (1 if said else 0)))
    text.append_text(drawn)
    gap = room - len(drawn.plain) - len(said)
    text.append(" " * max(1, gap) if said else " " * max(0, gap))
    text.append(said, style="red" if is_bad else "dim")
    text.append(" " + words)
    return text


def _columns(sent: str, without: str, first: str, whole: str, width: int) -> str:
    if width < _TIGHT:
        return f"{sent:>8} {whole:>8}"
    return f"{sent:>9} {without:>9} {first:>9} {whole:>10}"


def _notes(turn: TurnRow) -> str:
    """What was special about a turn, in few words."""
    notes = (
        turn.lane and f"lane {plain(turn.lane)}",
        "warm-up" if turn.is_warm_up else "",
        "compacted" if turn.compactions else "",
        "resent" if turn.resends else "",
        f"{turn.tries} tries" if turn.tries > 1 else "",
        plain(turn.error_code or turn.outcome) if turn.outcome != "completed" else "",
    )
    return ", ".join(note for note in notes if note)
