"""Reads the streamed arguments of a function call as one JSON text, and finds where JSON values end in streamed text.

Used by `tool_calls`, by the chat-completions dialect for calls without a name yet, and by the embedded engine.
"""

import re
from typing import Any, Literal, cast

import msgspec

NO_ARGUMENTS = "{}"
_BLANKS = re.compile(r"\s*")
_INTERESTING = re.compile(r'["{}\[\]\\]')
_OPEN_NUMBER = re.compile(r"[-+.0-9eE]+\Z")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class ArgumentsReader:
    """Is fed the pieces of one call's arguments and returns what is certain; the returned pieces add up to one JSON text.

    Servers leave arguments out, send `null` or `[]` for none, repeat the whole at the end, or send cumulative pieces.
    What was passed on cannot be withdrawn, so the piece that completes the value is held until the call is over: only then
    is it known that nothing better follows. This delays nobody, because clients run a call when it is complete. Text that
    is not JSON passes unchanged: clients report it to the model.
    """

    def __init__(self, *, only_objects: bool = False) -> None:
        """`only_objects`: text that is not an object is valid by itself (the input of a custom tool)."""
        self.others: list[str] = []
        """Further objects that are no repetition: separate calls that the server merged into this one."""
        self._only_objects = only_objects
        self._state: Literal["head", "quoted", "open", "whole", "free"] = "head"
        self._parts: list[str] = []
        """The arguments so far, passed on or held."""
        self._length = 0
        self._given = 0
        """Characters passed on."""
        self._behind: list[str] = []
        """Text that came after the complete value."""
        self._scanner = JsonScanner()
        self._is_cumulative = False
        self._snapshot: str | None = None
        """A piece that may be cumulative or, by coincidence, new; the next pieces decide."""

    @property
    def is_whole(self) -> bool:
        """Whether a complete JSON value has come."""
        return self._state == "whole"

    @property
    def is_truncated(self) -> bool:
        """Whether a JSON value has begun and did not end."""
        is_open = self._state in ("open", "quoted") and json_state(self.text) == "begun"
        return is_open and (self._snapshot is None or json_state(self._snapshot) != "whole")

    @property
    def has_begun(self) -> bool:
        """Whether anything but white space has come."""
        return self._state != "head"

    @property
    def is_in_pieces(self) -> bool:
        return len(self._parts) > 1

    @property
    def text(self) -> str:
        """The arguments so far."""
        return "".join(self._parts)

    def feed(self, text: str) -> str:
        """The text that this piece makes certain."""
        if not text:
            return ""
        # A piece shorter than everything so far cannot be cumulative: no comparison needed.
        if self._state == "open" and len(text) < self._length and not self._is_cumulative and self._snapshot is None:
            return self._go_on(text)
        if self._snapshot is not None or (self._length and len(text) >= self._length):
            if self._repeats(text):
                return self._replace(text)
        elif self._is_cumulative and self.text.startswith(text):
            return ""
        return self._append(text)

    def settle(self, text: str) -> str:
        """Takes the whole arguments, which the server repeats at the end."""
        if self._state == "whole":
            self._behind.append(text)
            return ""
        return self._replace(text) if text.startswith(self.text[: self._given]) else ""

    def release(self) -> str:
        """Returns a complete value before the call is over; an empty one is kept, as the arguments may still follow."""
        is_empty = (self._given <= 1 and "".join(self.text.split()) == NO_ARGUMENTS) or self._is_empty_list
        return self._give() if self.is_whole and not self._behind[1:] and not is_empty else ""

    def end(self, *, is_cut: bool) -> str:
        """The rest when the call is over; for a truncated call only what had come."""
        if self._snapshot is not None and not self.is_whole and json_state(self._snapshot) == "whole":
            self._replace(self._snapshot)
        self._snapshot = None
        if self._is_empty_list:
            self._set(NO_ARGUMENTS)
        if self._state == "whole":
            self._read_behind()
        elif self._state == "head" and is_cut:
            return ""
        elif self._state in ("head", "quoted"):
            self._set(_unquoted(self.text))
        return self._give()

    @property
    def _is_empty_list(self) -> bool:
        """Whether the arguments are `[]`, PHP's encoding of an empty object, and nothing of it was passed on."""
        return self._state == "whole" and not self._given and "".join(self.text.split()) == "[]"

    def _go_on(self, text: str) -> str:
        """Continues a value that was passed on completely so far: the fast path of most pieces."""
        self._parts.append(text)
        self._length += len(text)
        end = self._scanner.feed(text)
        if end is not None:
            self._end_value(text, end)
            return self._give() if self._state == "free" else ""
        self._given = self._length
        return text

    def _repeats(self, text: str) -> bool:
        """Whether the piece is cumulative: it begins with everything so far, and the text continued with it would be no JSON.

        Where both readings are valid (`{"a":[` after `{"a":[`), pieces are held until one of them is not.
        """
        so_far = self._snapshot if self._snapshot is not None else self.text
        text = text.lstrip() if self._state != "free" else text
        if not text.startswith(so_far) or so_far.isspace():
            self._snapshot = None
            return False
        if self._is_cumulative:
            return True
        # Two readings: `text` replaces everything (cumulative), or follows it. JSON decides which of them is possible.
        if json_state(text) == "none":
            return False
        if json_state(self.text + text) == "none":
            self._is_cumulative = True
            return True
        self._snapshot = text
        return False

    def _replace(self, text: str) -> str:
        """Starts over with this text, whose beginning was passed on already."""
        self._parts, self._length, self._behind, self._snapshot = [], 0, [], None
        self._state, self._scanner = "head", JsonScanner()
        return self._append(text)

    def _append(self, text: str) -> str:
        if self._state == "whole":
            self._behind.append(text)
            return ""
        self._parts.append(text)
        self._length += len(text)
        if self._state == "head":
            self._read_head()
        elif self._state == "open":
            self._scan(text)
        return self._give() if self._state in ("open", "free") and self._snapshot is None else ""

    def _read_head(self) -> None:
        """Determines what kind of text the arguments are; white space and `null` mean none, unless something follows."""
        text = self.text.lstrip()
        if text.startswith("null"):
            text = text[4:].lstrip()
        if not text or "null".startswith(text.rstrip()):
            return
        if text[0] == "{" or (text[0] == "[" and not self._only_objects):
            self._state = "open"
            self._set(text)
            self._scan(text)
        else:
            self._state = "quoted" if text[0] == '"' and not self._only_objects else "free"

    def _scan(self, text: str) -> None:
        """Looks for the end of the value in its newest piece."""
        end = self._scanner.feed(text)
        if end is not None:
            self._end_value(text, end)

    def _end_value(self, text: str, end: int) -> None:
        if json_state(self.text[: self._length - len(text) + end]) != "whole":
            self._state = "free"
            return
        self._state = "whole"
        self._behind = [text[end:]]
        self._parts[-1] = text[:end]
        self._length -= len(text) - end

    def _read_behind(self) -> None:
        """Drops repetitions and trailing text that is no JSON object; keeps a longer version, or further calls."""
        for said in _values_in("".join(self._behind)):
            value, other = _decoded(self.text), _decoded(said)
            if other is None or value == other:
                continue
            if _grows(value, other) and self._can_become(said):
                self._set(said)
            elif all(_decoded(each) != other for each in self.others):
                self.others.append(said)
        self._behind = []

    def _can_become(self, text: str) -> bool:
        """Whether the text begins with what was passed on, ignoring white space in an empty object."""
        given = self.text[: self._given]
        if given.strip() == "{":
            self._given = 1
            return True
        return text.startswith(given)

    def _set(self, text: str) -> None:
        self._parts, self._length = [text], len(text)

    def _give(self) -> str:
        """The part that was not passed on yet; most often it is the newest piece."""
        newest, rest = self._parts[-1] if self._parts else "", self._length - self._given
        self._given = self._length
        if rest <= 0:
            return ""
        return newest if rest == len(newest) else self.text[-rest:]


def _values_in(text: str) -> list[str]:
    """The objects that follow each other in the text, up to the first other thing."""
    found: list[str] = []
    at = _match_end(text, 0)
    while text.startswith("{", at):
        length = JsonScanner().feed(text[at:])
        if length is None:
            break
        found.append(text[at : at + length])
        at = _match_end(text, at + length)
    return found


def _match_end(text: str, start: int) -> int:
    blanks = _BLANKS.match(text, start)
    return blanks.end() if blanks is not None else start


def _decoded(text: str) -> object:
    """The value; None if it is no JSON."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _grows(value: object, other: object) -> bool:
    """Whether the second value extends the first, as where a server sends every state of the arguments as a whole object."""
    if isinstance(value, dict) and isinstance(other, dict):
        before, after = cast("dict[str, Any]", value), cast("dict[str, Any]", other)
        return all(name in after and _grows(before[name], after[name]) for name in before)
    if isinstance(value, str) and isinstance(other, str):
        return other.startswith(value)
    if isinstance(value, list) and isinstance(other, list):
        old, new = cast("list[Any]", value), cast("list[Any]", other)
        return len(old) <= len(new) and all(map(_grows, old, new))
    return value is None or value == other


def _unquoted(text: str) -> str:
    """Arguments that are encoded as a JSON string inside JSON, decoded; other text unchanged."""
    text = text.strip()
    if text in ("", "null"):
        return NO_ARGUMENTS
    inner = _decoded(text)
    if not isinstance(inner, str):
        return text
    if inner.strip() in ("", "null"):
        return NO_ARGUMENTS
    return inner.strip() if isinstance(_decoded(inner), dict) else text


class JsonScanner:
    """Finds the end of an object. Is fed the text from its opening brace (`depth` 0) or from inside it (1), piece by piece."""

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        self._in_string = False
        self._is_escaped = False

    def feed(self, piece: str) -> int | None:
        """The offset in this piece behind the object's closing brace; None if the object continues."""
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
        """Takes one significant character; whether it closed the object."""
        if mark == '"':
            self._in_string = not self._in_string
        elif mark == "\\":
            self._is_escaped = self._in_string
        elif not self._in_string:
            self._depth += 1 if mark in "{[" else -1
            return self._depth == 0
        return False


def json_state(text: str) -> Literal["whole", "begun", "none"]:
    """Whether the text is a complete JSON value, the beginning of one, or cannot become one."""
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
        return json_state(_SURROGATE.sub(r"\\u00", text))  # lone surrogates are valid JSON, which msgspec refuses
    if "truncated" in told:
        return "begun"
    number = _OPEN_NUMBER.search(text)
    return json_state(text[: number.start()]) if "invalid number" in told and number is not None else "none"
