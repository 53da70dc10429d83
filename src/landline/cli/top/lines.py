"""Lines of a terminal: one row each, cut at the edge, with nothing in them that could steer it."""

import unicodedata

from rich.text import Text

from landline.terminal import one_line, printable

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
