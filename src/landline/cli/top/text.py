"""Text of a terminal screen: lines that are cut at the edge and cannot steer it, and numbers as the monitor page writes them."""

import math
import unicodedata

from rich.text import Text

from landline.terminal import one_line, printable

_BYTE_UNITS = ("kB", "MB", "GB", "TB", "PB")
_COUNT_UNITS = ("k", "M", "G", "T")
NOTHING = "-"
"""In place of a number that there is not."""


def size(value_bytes: int) -> str:
    """`996 B`, `1.25 kB`, `34.5 MB`."""
    return f"{value_bytes} B" if abs(value_bytes) < 1000 else _scaled(value_bytes, _BYTE_UNITS)


def count(value: int) -> str:
    """`9,999`, `12.3 k`."""
    return f"{value:,}" if abs(value) < 10_000 else _scaled(value, _COUNT_UNITS)


def percent(part: int, whole: int) -> str:
    """A part of a whole; `-` of nothing."""
    if not whole:
        return NOTHING
    share = 100 * part / whole
    if share in (0, 100):
        return f"{share:.0f} %"
    text = f"{share:.1f}"
    if text == "100.0" and part < whole:
        text = "99.9"
    elif text in ("0.0", "-0.0") and part > 0:
        text = "0.1"
    return f"{text} %"


def saved(saved_bytes: int, stateless_bytes: int) -> str:
    """The saved share; if more was sent than without Landline, the difference in bytes."""
    return size(saved_bytes) if saved_bytes < 0 else percent(saved_bytes, stateless_bytes)


def seconds(value_s: float | None) -> str:
    """`1.3 ms`, `450 ms`, `2.31 s`, `3 min 20 s`."""
    if value_s is None:
        return NOTHING
    if value_s < 0.0095:
        return f"{value_s * 1000:.1f} ms"
    if value_s < 0.9995:
        return f"{value_s * 1000:.0f} ms"
    if value_s < 59.95:
        return f"{value_s:.2f} s" if value_s < 9.995 else f"{value_s:.1f} s"
    return span(value_s)


def dollars(value_usd: float) -> str:
    """`$12.30`, `$0.0412`: cents from one dollar up, three digits below."""
    size_usd, sign = abs(value_usd), "-" if value_usd < 0 else ""
    if not size_usd:
        return "$0"
    if size_usd >= 9999.5:
        return f"{sign}${_scaled(size_usd, _COUNT_UNITS)}"
    if size_usd >= 0.9995:
        return f"{sign}${size_usd:.2f}"
    if size_usd < 5e-7:
        return f"{sign}<$0.000001"
    return f"{sign}${size_usd:.{min(6, 2 - math.floor(math.log10(size_usd)))}f}"


def span(value_s: float) -> str:
    """A longer time in its two largest units."""
    whole = max(0, int(value_s))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def _scaled(value: float, units: tuple[str, ...]) -> str:
    rest = value / 1000
    unit = 0
    while abs(rest) >= 999.5 and unit < len(units) - 1:
        rest /= 1000
        unit += 1
    digits = 2 if abs(rest) < 9.995 else 1 if abs(rest) < 99.95 else 0
    return f"{rest:.{digits}f} {units[unit]}"


SHORT_ID = 14
"""Columns of a session's id that was shortened."""


def line(*parts: str | tuple[str, str], style: str = "") -> Text:
    """One line of plain and styled parts, whoever wrote them."""
    text = Text.assemble(*map(_safe, parts), style=style)
    text.no_wrap = True
    text.overflow = "ellipsis"
    return text


def _safe(part: str | tuple[str, str]) -> str | tuple[str, str]:
    if isinstance(part, str):
        return printable(part).replace("\n", " ")
    text, style = part
    return printable(text).replace("\n", " "), style


def plain(text: str) -> str:
    """A name that a client or an upstream chose, on one line; what nobody sees, or turns the text around, is shown."""
    return one_line("".join("\ufffd" if unicodedata.category(each) == "Cf" else each for each in text))


def first_that_fits(width: int, *lines: Text) -> Text:
    """The first of the lines that is not cut; else the last."""
    return next((each for each in lines if each.cell_len <= width), lines[-1])


def saving(uploaded: str, would: str, share: str) -> tuple[Text, Text]:
    """What was sent, of how much, in few words and in fewer."""
    what: list[str | tuple[str, str]] = [(uploaded, "bold"), (" of ", "dim"), would]
    how: list[str | tuple[str, str]] = [("saved ", "dim"), (share, "bold green")]
    return line(*how, ("  uploaded ", "dim"), *what), line(*how, "  ", *what)


def shorten(session_id: str, columns: int) -> str:
    """As the page shortens it, so that one is found in the other: the end of a long id is what differs."""
    text = plain(session_id)
    if len(text) <= columns:
        return text
    return f"{text[:5]}…{text[-8:]}" if columns >= SHORT_ID else f"…{text[-8:]}"


def bar(sent: int, would: int, most: int, width: int) -> Text:
    """Bytes that were sent, in front of those without Landline. `most` fills the width; 0 for the larger of the two."""
    most = max(most, sent, would, 1)
    solid = max(round(width * sent / most), 1) if sent > 0 else 0
    light = max(round(width * would / most) - solid, 0)
    return line(("█" * solid, "green"), ("░" * light, "dim"))
