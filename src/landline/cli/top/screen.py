"""What the screen shows: a snapshot and a place in it become lines. Nothing here reads or waits."""

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from landline.cli.top.navigation import Navigation
from landline.cli.top.text import (
    NOTHING,
    SHORT_ID,
    bar,
    count,
    dollars,
    first_that_fits,
    line,
    percent,
    plain,
    saved,
    saving,
    seconds,
    shorten,
    size,
    span,
)
from landline.monitor.state import SessionDetail, SessionRow, Snapshot, Sort, TargetRow, Totals, TurnRow

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
"""Of the turn's number before its bar; bytes and times follow the bar."""
_TIGHT = 60
"""Below this width a turn shows only what was sent and how long it took."""


def detail_head(detail: SessionDetail | None, session_id: str, *, is_loading: bool, width: int) -> list[Text]:
    """The lines above the turns."""
    title = line((f"session {plain(session_id)}", "bold"))
    if detail is None:
        missing = "Loading …" if is_loading else "This session is not known any more."
        return [Text(""), title, line(missing, style="dim")]
    row = detail.row
    cached = f"cached {percent(row.tokens.cached, row.tokens.input)}" if row.tokens.input else ""
    target = f"at {row.target}" if row.target else ""
    compression = f"compression: {row.compression}" if row.compression else ""
    time = f"{seconds(row.saved_s)} saved in uploads" if row.timed_turns else ""
    paid = f"paid {dollars(row.cost.paid_usd)}" if row.cost.priced_turns else ""
    facts = (row.transport, compression, row.state, f"{row.model} {target}".strip(), cached, time, paid)
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


SORT_WORDS: dict[Sort, str] = {
    "opened": "newest first",
    "changed": "last change first",
    "uploaded": "most uploaded first",
    "stateless": "largest without Landline first",
    "saved": "most saved first",
    "turns": "most turns first",
    "failed": "most failed turns first",
}
KEYS_OF_LIST = "↑↓ select  enter details  s sort  a all/live  q quit"
KEYS_OF_DETAIL = "↑↓ scroll  esc back  q quit"
_FEWER_KEYS = ("↑↓ enter  s sort  a all  q quit", "q quit")
_FEWER_KEYS_OF_DETAIL = ("esc back  q quit", "q quit")
"""For narrow terminals; the key to quit is always shown."""
WIDE = 110
"""From this width on, the list has more columns."""
NARROW = 72
"""Below this width, it has fewer."""
TIGHT = 60
"""Below so many, hardly more than what was saved."""
_MAX_TARGETS = 4
_STATE_STYLES = {"running": "green", "open": "", "idle": "dim", "ended": "dim"}
_TARGET_WORDS = {
    "closed": ("healthy", "green"),
    "waiting": ("rate limited", "yellow"),
    "open": ("circuit open", "red"),
    "half_open": ("half-open", "yellow"),
    "probing": ("half-open, probing", "yellow"),
}


class FeedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the server's state comes at the moment."""

    url: str
    trouble: str = ""
    """Why nothing comes; "" while something does."""
    is_loading: bool = False
    """The server was asked for what the user navigated to, and has not answered yet."""
    age_s: float = 0.0
    """Since the snapshot came."""


def draw(snapshot: Snapshot, place: Navigation, status: FeedStatus, *, width: int, height: int) -> RenderableType:
    """The whole screen of `height` lines."""
    head = [_title(snapshot, status), *totals_lines(snapshot, width)]
    if place.opened:
        place.rows = max(1, height - len(head) - OVERHEAD_LINES - 1)
        detail = snapshot.session if not status.is_loading else None
        head += detail_head(detail, place.opened, is_loading=status.is_loading, width=width)
        body: list[Text] | Table = turn_lines(detail, top=place.top, rows=place.rows, width=width)
        used, keys = len(body), (KEYS_OF_DETAIL, *_FEWER_KEYS_OF_DETAIL)
    else:
        head += [Text(""), *target_lines(snapshot.targets), Text(""), _sessions_title(snapshot, place)]
        place.rows = max(1, height - len(head) - 2)
        rows = _rows_in_sight(snapshot, place)
        body = sessions_table(snapshot, rows, selected=place.cursor(snapshot), width=width)
        used, keys = len(rows) + 1, (KEYS_OF_LIST, *_FEWER_KEYS)
        if not rows:
            body, used = [line("None yet. Point a client here and its turns appear.", style="dim")], 1
    head = head[: max(0, height - 1 - used)]
    blank = [Text("")] * max(0, height - 1 - len(head) - used)
    parts = [body] if isinstance(body, Table) else body
    return Group(*head, *parts, *blank, first_that_fits(width, *(line(each, style="dim") for each in keys)))


def totals_lines(snapshot: Snapshot, width: int) -> list[Text]:
    """The sums of the process, in fewer words where they do not fit, and a bar of them."""
    totals = snapshot.totals
    return [
        first_that_fits(width, *_uploads(totals)),
        first_that_fits(width, *_turns(totals)),
        *_time_and_money(totals, width),
        bar(totals.uploaded_bytes, totals.stateless_bytes, 0, width),
    ]


def _uploads(totals: Totals) -> tuple[Text, ...]:
    uploaded, would = size(totals.uploaded_bytes), size(totals.stateless_bytes)
    share = saved(totals.saved_bytes, totals.stateless_bytes)
    words: list[str | tuple[str, str]] = [
        ("uploaded ", "dim"),
        (uploaded, "bold"),
        ("  without Landline ", "dim"),
        would,
    ]
    words += [("  saved ", "dim"), (share, "bold green")]
    return (
        line(*words, ("  downloaded ", "dim"), size(totals.downloaded_bytes)),
        line(*words),
        *saving(uploaded, would, share),
    )


def _time_and_money(totals: Totals, width: int) -> list[Text]:
    """A line if a connection was measured, or a model has a price."""
    cost = totals.cost
    time: list[str | tuple[str, str]] = []
    money: list[str | tuple[str, str]] = []
    cached: list[str | tuple[str, str]] = []
    if totals.timed_turns:
        time = [("time saved ", "dim"), (seconds(totals.saved_s), "bold green"), "  "]
    if cost.priced_turns:
        money = [("paid ", "dim"), (dollars(cost.paid_usd), "bold")]
        cached = [("  saved by caching ", "dim"), dollars(cost.cache_saved_usd)]
    if not time and not money:
        return []
    return [first_that_fits(width, line(*time, *money, *cached), line(*time, *money), line(*(time or money)))]


def _turns(totals: Totals) -> tuple[Text, ...]:
    failed = (f", {count(totals.failed_turns)} failed" if totals.failed_turns else "", "red")
    running = f", {count(totals.running_turns)} running"
    turns = (("turns ", "dim"), count(totals.turns))
    lines = count(totals.open_lines)
    tokens = count(totals.tokens.input)
    cached = (("  cached ", "dim"), percent(totals.tokens.cached, totals.tokens.input))
    return (
        line(*turns, running, failed, ("  lines open ", "dim"), lines, ("  tokens read ", "dim"), tokens, *cached),
        line(*turns, running, failed, ("  lines ", "dim"), lines, ("  tokens ", "dim"), tokens, *cached),
        line(*turns, failed, ("  lines ", "dim"), lines, ("  tokens ", "dim"), tokens, *cached),
        line(*turns, failed, *cached),
        line(*turns, failed),
    )


def target_lines(targets: list[TargetRow]) -> list[Text]:
    """A line a target, those with trouble first; the first few."""
    ordered = sorted(targets, key=lambda row: (_health(row) == "closed", -row.turns, row.name))
    lines = [_target_line(row) for row in ordered[:_MAX_TARGETS]]
    if len(ordered) > _MAX_TARGETS:
        lines.append(line(f"and {len(ordered) - _MAX_TARGETS} more targets", style="dim"))
    return lines


def sessions_table(snapshot: Snapshot, rows: list[SessionRow], *, width: int, selected: str = "") -> Table:
    """The list of sessions; a wider screen has more columns."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, width=width, header_style="dim")
    table.add_column("", width=1)
    names = ("session", "model", "target", "compression") if width >= WIDE else ("session", "model")
    names = names if width >= NARROW else ("session",)
    sizes = {"turns": 5, "uploaded": 8, "without": 8, "saved": 8, "cached": 7}
    sizes = sizes if width >= TIGHT else {"uploaded": 8, "saved": 8}
    id_columns = SHORT_ID if width >= TIGHT else SHORT_ID - 5
    for name in names:
        fixed = id_columns if name == "session" and len(names) > 1 else None
        table.add_column(name, no_wrap=True, ratio=None if fixed else 1, width=fixed, overflow="ellipsis", min_width=8)
    table.add_column("state", no_wrap=True, width=7)
    for name, columns in sizes.items():
        table.add_column(name, no_wrap=True, justify="right", width=columns)
    for row in rows:
        is_selected = row.id == selected
        words = {
            "session": shorten(row.id, id_columns),
            "model": row.model,
            "target": row.target,
            "compression": row.compression,
        }
        numbers = {
            "turns": Text(count(row.turns), style="red" if row.failed_turns else ""),
            "uploaded": size(row.uploaded_bytes),
            "without": size(row.stateless_bytes),
            "saved": saved(row.saved_bytes, row.stateless_bytes),
            "cached": percent(row.tokens.cached, row.tokens.input),
        }
        table.add_row(
            "▸" if is_selected else "",
            *(Text(plain(words[name]) or NOTHING) for name in names),
            Text(row.state, style=_STATE_STYLES[row.state]),
            *(numbers[name] for name in sizes),
            style="reverse" if is_selected else "",
        )
    return table


def _title(snapshot: Snapshot, status: FeedStatus) -> Text:
    trouble = status.trouble
    state = (trouble, "bold red") if trouble else ("live", "green")
    up = span(snapshot.at - snapshot.started_at + status.age_s)
    return line(("landline top", "bold"), "  ", state, f"  {status.url}", (f"  up {up}", "dim"))


def _sessions_title(snapshot: Snapshot, place: Navigation) -> Text:
    page = snapshot.sessions
    what = "session" if page.matching == 1 else "sessions"
    what = what if place.show == "all" else f"live {what}"
    first = f", the first {len(page.rows)}" if page.matching > len(page.rows) else ""
    return line((f"{count(page.matching)} {what}", "bold"), (f"{first}, {SORT_WORDS[place.sort]}", "dim"))


def _rows_in_sight(snapshot: Snapshot, place: Navigation) -> list[SessionRow]:
    """The rows around the cursor; the screen moves no more than it must."""
    rows = snapshot.sessions.rows
    cursor = place.cursor(snapshot)
    at = next((number for number, row in enumerate(rows) if row.id == cursor), 0)
    place.top = max(0, at - place.rows + 1, min(place.top, at, len(rows) - place.rows))
    return rows[place.top : place.top + place.rows]


def _target_line(row: TargetRow) -> Text:
    word, style = _TARGET_WORDS[_health(row)]
    wait = f", {span(row.wait_s)} more" if row.wait_s else ""
    return line(
        ("target ", "dim"),
        plain(row.name),
        "  ",
        (word + wait, style),
        ("  in flight ", "dim"),
        str(row.in_flight),
        ("  turns ", "dim"),
        count(row.turns),
        (f", {count(row.failed_turns)} failed" if row.failed_turns else "", "red"),
        ("  warm ", "dim"),
        percent(row.warm_turns, row.turns),
        ("  errors " if row.failures else "", "dim"),
        (", ".join(f"{count(tries)} {plain(code)}" for code, tries in row.failures.items()), "red"),
    )


def _health(row: TargetRow) -> str:
    """As the page shows it. A closed breaker may have a wait (a rate limit); an open one whose wait is over is half-open."""
    if row.state == "closed" and row.wait_s:
        return "waiting"
    return "half_open" if row.state == "open" and not row.wait_s else row.state
