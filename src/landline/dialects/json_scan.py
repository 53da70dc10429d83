"""Finds where a JSON value ends in text that comes in pieces, and whether text is JSON so far. Pure."""

import re
from typing import Literal

import msgspec

_INTERESTING = re.compile(r'["{}\[\]\\]')


class JsonScanner:
    """Fed the text from the object's opening brace on (`depth` 0) or from inside it (1); each piece once."""

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        self._in_string = False
        self._is_escaped = False

    def feed(self, piece: str) -> int | None:
        """Where the object ends in this piece (behind its last brace); None if it goes on."""
        at = 0
        while at < len(piece):
            if self._is_escaped:
                self._is_escaped = False
                at += 1
                continue
            found = _INTERESTING.search(piece, at)
            if found is None:
                return None
            at = found.end()
            if self._takes_last(found.group()):
                return at
        return None

    def _takes_last(self, mark: str) -> bool:
        """Takes one mark; whether it closed the object."""
        if mark == '"':
            self._in_string = not self._in_string
        elif mark == "\\":
            self._is_escaped = self._in_string
        elif not self._in_string:
            self._depth += 1 if mark in "{[" else -1
            return self._depth == 0
        return False


_OPEN_NUMBER = re.compile(r"[-+.0-9eE]+\Z")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def json_state(text: str) -> Literal["whole", "begun", "none"]:
    """Whether the text is one JSON value, may become one, or is none whatever follows."""
    try:
        msgspec.json.decode(text)
    except RecursionError:
        return "none"
    except msgspec.ValidationError:
        return "whole"  # a number that is out of range
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        told = str(error)
    else:
        return "whole"
    if _SURROGATE.search(text):
        return json_state(_SURROGATE.sub(r"\\u00", text))  # halves of pairs are JSON, which msgspec does not take
    if "truncated" in told:
        return "begun"
    number = _OPEN_NUMBER.search(text)
    return json_state(text[: number.start()]) if "invalid number" in told and number is not None else "none"
