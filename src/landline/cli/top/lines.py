"""Lines of a terminal: one row each, cut at the edge, with nothing in them that could steer it."""

import unicodedata

from rich.text import Text

from landline.agent.console import printable


def line(*parts: str | tuple[str, str], style: str = "") -> Text:
    """One line of plain and styled parts."""
    text = Text.assemble(*parts, style=style)
    text.no_wrap = True
    text.overflow = "ellipsis"
    return text


def plain(text: str) -> str:
    """A name that a client or an upstream chose, on one line; what nobody sees, or turns the text around, is shown."""
    shown = "".join("\ufffd" if unicodedata.category(each) == "Cf" else each for each in printable(text))
    return " ".join(shown.split())


def bar(sent: int, would: int, most: int, width: int) -> Text:
    """What was sent in front of what would have been. `most` fills the width; 0 for the larger of the two."""
    most = max(most, sent, would, 1)
    solid = max(round(width * sent / most), 1) if sent > 0 else 0
    light = max(round(width * would / most) - solid, 0)
    return line(("█" * solid, "green"), ("░" * light, "dim"))
