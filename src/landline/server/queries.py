"""Query strings: the parameters of the read endpoints. Unknown ones are ignored, wrong ones name themselves."""

from collections.abc import Mapping
from typing import Literal, TypeVar
from urllib.parse import parse_qs

import msgspec
from starlette.types import Scope

from landline.stores.store import Page
from landline.wire.errors import ApiError, api_error

ChoiceT = TypeVar("ChoiceT", bound=str)

MAX_PAGE = 100
"""Responses reference, `limit`."""
_ORDERS: dict[str, Literal["asc", "desc"]] = {"asc": "asc", "desc": "desc"}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Query:
    """One request's query parameters; of a repeated one the last counts."""

    def __init__(self, scope: Scope) -> None:
        text: str = scope["query_string"].decode("latin-1")
        self._values = {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}

    def text(self, name: str) -> str | None:
        return self._values.get(name)

    def number(self, name: str, *, least: int, most: int | None = None) -> int | ApiError | None:
        value = self._values.get(name)
        if value is None:
            return None
        number = int(value) if value.isascii() and value.removeprefix("-").isdigit() and len(value) < 20 else None
        if number is None or number < least or (most is not None and number > most):
            bounds = f"from {least} to {most}" if most is not None else f"of {least} or more"
            return _wrong(name, f"a whole number {bounds}", value)
        return number

    def flag(self, name: str) -> bool | ApiError:
        """Absent is false."""
        value = self._values.get(name, "false")
        flag = _BOOLEANS.get(value.lower())
        return flag if flag is not None else _wrong(name, "true or false", value)

    def choice(self, name: str, choices: Mapping[str, ChoiceT]) -> ChoiceT | ApiError | None:
        """One of a few words."""
        value = self._values.get(name)
        if value is None or value in choices:
            return None if value is None else choices[value]
        return _wrong(name, "one of " + ", ".join(f"`{word}`" for word in choices), value)


class RetrieveQuery(msgspec.Struct, frozen=True):
    """What `GET /v1/responses/{id}` asks for."""

    stream: bool
    starting_after: int
    """Events numbered higher are wanted; -1 for all."""


def read_retrieve_query(scope: Scope) -> RetrieveQuery | ApiError:
    """`include`, `include_obfuscation` and unknown parameters are accepted and change nothing."""
    query = Query(scope)
    stream = query.flag("stream")
    starting_after = query.number("starting_after", least=0)
    obfuscation = query.flag("include_obfuscation")
    for value in (stream, starting_after, obfuscation):
        if isinstance(value, ApiError):
            return value
    if starting_after is not None and not stream:
        message = "Expected `stream=true` with `starting_after`: it counts events."
        return api_error("invalid_value", message, param="starting_after")
    return RetrieveQuery(bool(stream), starting_after if isinstance(starting_after, int) else -1)


def read_page(scope: Scope) -> Page | ApiError:
    """`limit`, `order` and `after` of a list; `include` is accepted and changes nothing."""
    query = Query(scope)
    limit = query.number("limit", least=1, most=MAX_PAGE)
    if isinstance(limit, ApiError):
        return limit
    order = query.choice("order", _ORDERS)
    if isinstance(order, ApiError):
        return order
    return Page(
        limit=limit if limit is not None else Page().limit, order=order or Page().order, after=query.text("after")
    )


def _wrong(name: str, expected: str, value: str) -> ApiError:
    shown = value if len(value) <= 80 else f"{value[:80]}…"
    return api_error("invalid_value", f"Expected `{name}` to be {expected}; got {shown!r}.", param=name)
