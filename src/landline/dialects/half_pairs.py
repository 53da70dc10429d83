"""Characters that a server cut in two: halves of UTF-16 surrogate pairs at the edges of the texts that it streams."""

import re
from collections.abc import Iterator
from typing import Any, cast

Path = tuple[str | int | None, ...]

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""A pair, a half, or any other escape of a JSON string."""
_LONE = re.compile("[\ud800-\udfff]")
_GROWING = frozenset(
    (
        "arguments",
        "content",
        "delta",
        "input",
        "partial_json",
        "reasoning",
        "reasoning_content",
        "refusal",
        "summary",
        "text",
        "thinking",
    )
)
"""Members whose text goes on in the next record."""
_WHOLE = frozenset(("args", "arguments", "input"))
"""Objects that come whole: nothing in them goes on."""
_KINDS = ("type", "index", "thought")
"""Members that say what a text is, beside it."""


class HalfPairs:
    """Joins halves across the records of one answer; a half that stays alone becomes U+FFFD."""

    def __init__(self) -> None:
        self._waiting: dict[Path, tuple[str, dict[str, Any]]] = {}
        """First halves by their place, each with the record that it ended."""

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def mend(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record without halves. The last one of a text that may go on waits for the next record."""
        return cast("dict[str, Any]", self._mend(record, (_index_of(record),), record))

    def end(self) -> Iterator[dict[str, Any]]:
        """For every half that still waits a record that says U+FFFD in its place."""
        for path, (_, record) in self._waiting.items():
            yield _only(record, path[1:])
        self._waiting.clear()

    def _mend(self, value: Any, path: Path, record: dict[str, Any]) -> Any:
        match value:
            case str():
                return self._join(value, path, record)
            case dict():
                members = cast("dict[str, Any]", value)
                return {
                    _LONE.sub("\ufffd", name): self._mend(each, (*path, name), record) for name, each in members.items()
                }
            case list():
                elements = cast("list[Any]", value)
                return [self._mend(each, (*path, _place_of(each, at)), record) for at, each in enumerate(elements)]
            case _:
                return value

    def _join(self, text: str, path: Path, record: dict[str, Any]) -> str:
        if not text:
            return text
        half, _ = self._waiting.pop(path, ("", record))
        text = (half + text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        if "\ud800" <= text[-1] <= "\udbff" and path[-1] in _GROWING and not _WHOLE.intersection(path[:-1]):
            self._waiting[path] = text[-1], record
            text = text[:-1]
        return _LONE.sub("\ufffd", text)


def _index_of(value: Any) -> int | None:
    index = cast("dict[str, Any]", value).get("index") if isinstance(value, dict) else None
    return index if isinstance(index, int) else None


def _place_of(value: Any, at: int) -> int:
    index = _index_of(value)
    return at if index is None else index


def _only(value: Any, path: Path) -> Any:
    """Of a record what leads to one text, which is U+FFFD."""
    if not path:
        return "\ufffd"
    step, *rest = path
    if isinstance(value, list):
        elements = enumerate(cast("list[Any]", value))
        return [_only(each, tuple(rest)) for at, each in elements if _place_of(each, at) == step]
    members = cast("dict[str | int | None, Any]", value)
    kinds = {name: members[name] for name in _KINDS if name in members}
    return {**kinds, step: _only(members[step], tuple(rest))}


def mend_escapes(payload: bytes) -> bytes:
    """JSON with U+FFFD in place of halves that stand alone; all other bytes stay."""
    return _ESCAPE.sub(lambda found: b"\\ufffd" if found[1] is not None else found[0], payload)
