"""Safe printing of text that models, tools, clients and upstreams wrote: it cannot steer a terminal, nor look like
something other than what it is.

It is judged character by character, so it does not matter where a stream was cut into pieces: without its ESC, an escape
sequence is plain text.
"""

import re

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line break, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # turn the direction of text around
    "\u00ad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # nobody sees them
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"  # nor these
    "\u2028\u2029\ud800-\udfff]"  # separators of lines and paragraphs, and what UTF-8 cannot write
)
"""The joiners U+200C and U+200D are not among them: Persian, Indic scripts and emoji need them."""
_UNSAFE_IN_LINE = re.compile(f"{_UNSAFE.pattern[:-1]}\n\t]")


def printable(text: str) -> str:
    """The text without what could steer a terminal or hide in it; line breaks and tabs stay."""
    return text if text.isprintable() else _UNSAFE.sub("", text)


def one_line(text: str) -> str:
    """The same on one line, with single spaces between words: nothing in it can be taken for a line of ours."""
    return " ".join(printable(text).split())


def escaped(text: str) -> str:
    """One line of a log, with such characters written as escapes that Python and JSON know: `\\u202e`."""
    return text if text.isprintable() else _UNSAFE_IN_LINE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)  # JSON knows a larger one as a surrogate pair only
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
