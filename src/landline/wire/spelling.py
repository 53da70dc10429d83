"""How clients spell JSON: with or without spaces, characters beyond ASCII as they are or escaped."""

import re

import msgspec

_ESCAPED = re.compile(rb"\\u")
_ESCAPED_ASCII = re.compile(rb"\\u00[0-7]")
_ESCAPED_SHORT = re.compile(rb"\\u0[0-7]")
"""Two bytes in UTF-8, or one."""
_ESCAPED_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""Half of a character of four bytes in UTF-8."""


def is_spaced(json: bytes | str) -> bool:
    """Whether a space is put behind colons and commas: told from the first member."""
    if isinstance(json, str):
        colon = json.find(":")
        return json[colon + 1 : colon + 2] == " "
    colon = json.find(b":")
    return json[colon + 1 : colon + 2] == b" "


def excess_bytes(json: bytes) -> int:
    """By how many bytes it is longer than without spaces and escapes. It must be JSON."""
    return len(json) - len(msgspec.json.format(json, indent=-1)) + escape_bytes(json)


def escape_bytes(json: bytes) -> int:
    """By how many bytes it is longer than in UTF-8, because characters beyond ASCII are escaped."""
    if _ESCAPED.search(json) is None or not json.isascii():
        return 0  # whoever writes one character as it is escapes none
    json = json.replace(rb"\\", b"")
    ascii_count = len(_ESCAPED_ASCII.findall(json))
    short_count = len(_ESCAPED_SHORT.findall(json)) - ascii_count + len(_ESCAPED_HALF.findall(json))
    return 4 * short_count + 3 * (json.count(rb"\u") - ascii_count - short_count)
