"""Finds where a JSON object ends in text that comes in pieces. Pure."""

import re

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
