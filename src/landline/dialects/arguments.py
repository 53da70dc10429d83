"""The arguments of one function call, as servers stream them, as one JSON text."""

import re
from typing import Any, Literal, cast

import msgspec

NO_ARGUMENTS = "{}"
_BLANKS = re.compile(r"\s*")
_INTERESTING = re.compile(r'["{}\[\]\\]')
_OPEN_NUMBER = re.compile(r"[-+.0-9eE]+\Z")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class ArgumentsReader:
    """Fed the pieces of one call's arguments, gives what is sure of them; what it gives adds up to one JSON text.

    Servers leave arguments out, say them as `null` or `[]`, say them again as a whole when they are through, or send what there is so
    far in place of what is new. What was given cannot be withdrawn, so the piece that completes the value is held until
    the call is over: only then is it known that nothing better follows. Until then it costs nobody time, because clients
    run a call when it is complete. Text that is no JSON is given as it came: clients tell the model so.
    """

    def __init__(self, *, only_objects: bool = False) -> None:
        """`only_objects`: text that is no object has a meaning of its own (the input of a custom tool)."""
        self.others: list[str] = []
        """Objects that followed and are no repetition: calls of their own that the server joined to this one."""
        self._only_objects = only_objects
        self._state: Literal["head", "quoted", "open", "whole", "free"] = "head"
        self._parts: list[str] = []
        """What counts so far, given or held."""
        self._length = 0
        self._given = 0
        """How many characters were given."""
        self._behind: list[str] = []
        """What came behind the complete value."""
        self._scanner = JsonScanner()
        self._is_cumulative = False
        self._snapshot: str | None = None
        """A piece that says everything so far, or is new by chance: not known yet."""

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
        """Whether there is more than blanks."""
        return self._state != "head"

    @property
    def is_in_pieces(self) -> bool:
        return len(self._parts) > 1

    @property
    def text(self) -> str:
        """What counts so far."""
        return "".join(self._parts)

    def feed(self, text: str) -> str:
        """What the piece makes sure."""
        if not text:
            return ""
        if self._state == "open" and len(text) < self._length and not self._is_cumulative and self._snapshot is None:
            return self._go_on(text)
        if self._snapshot is not None or (self._length and len(text) >= self._length):
            if self._repeats(text):
                return self._replace(text)
        elif self._is_cumulative and self.text.startswith(text):
            return ""
        return self._append(text)

    def settle(self, text: str) -> str:
        """Takes the whole arguments, which the server says once more at the end."""
        if self._state == "whole":
            self._behind.append(text)
            return ""
        return self._replace(text) if text.startswith(self.text[: self._given]) else ""

    def release(self) -> str:
        """Gives a complete value before the call is over; an empty one may still be followed by the arguments."""
        is_empty = (self._given <= 1 and "".join(self.text.split()) == NO_ARGUMENTS) or self._is_empty_list
        return self._give() if self.is_whole and not self._behind[1:] and not is_empty else ""

    def end(self, *, is_cut: bool) -> str:
        """What is left to give when the call is over; of one that was cut only what had come."""
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
        """Whether all there is is `[]`, which PHP makes of an object without members, and nothing of it was given."""
        return self._state == "whole" and not self._given and "".join(self.text.split()) == "[]"

    def _go_on(self, text: str) -> str:
        """More of a value of which all was given: most pieces."""
        self._parts.append(text)
        self._length += len(text)
        end = self._scanner.feed(text)
        if end is not None:
            self._end_value(text, end)
            return self._give() if self._state == "free" else ""
        self._given = self._length
        return text

    def _repeats(self, text: str) -> bool:
        """Whether the piece says everything so far and more, and not by chance: JSON that goes on with it would be none.

        Where both make sense (`{"a":[` behind `{"a":[`), the pieces are held until one does not.
        """
        so_far = self._snapshot if self._snapshot is not None else self.text
        text = text.lstrip() if self._state != "free" else text
        if not text.startswith(so_far) or so_far.isspace():
            self._snapshot = None
            return False
        if self._is_cumulative:
            return True
        if json_state(text) == "none":
            return False
        if json_state(self.text + text) == "none":
            self._is_cumulative = True
            return True
        self._snapshot = text
        return False

    def _replace(self, text: str) -> str:
        """Begins again with this text, whose beginning was given already."""
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
        """Finds out what the arguments are; blanks and `null` say that there are none, unless something follows."""
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
        """Repetitions are dropped, as is what no JSON reader would take behind the value."""
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
        """Whether what was given is the beginning of this text, blanks in an empty object aside."""
        given = self.text[: self._given]
        if given.strip() == "{":
            self._given = 1
            return True
        return text.startswith(given)

    def _set(self, text: str) -> None:
        self._parts, self._length = [text], len(text)

    def _give(self) -> str:
        """What was not given yet. Most often it is the newest piece."""
        newest, rest = self._parts[-1] if self._parts else "", self._length - self._given
        self._given = self._length
        if rest <= 0:
            return ""
        return newest if rest == len(newest) else self.text[-rest:]


def _values_in(text: str) -> list[str]:
    """The objects that follow each other in the text, up to the first thing that is none."""
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
    """Whether the second is the first with more to it: the arguments so far as a whole object each time."""
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
    """Arguments out of a JSON string that holds them once more, or none; other text as it is."""
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
