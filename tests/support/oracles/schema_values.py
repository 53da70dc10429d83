"""Hypothesis strategies for JSON Schemas: values that fit one, and values that a small change keeps from fitting, mostly."""

import copy
import math
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "x", "message", "text"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=3,
)
_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
_DEPTH = 6


class Schemas:
    """The components of one document, for which values are made."""

    def __init__(self, components: dict[str, Any]) -> None:
        self._components = components

    def values(self, schema: dict[str, Any], depth: int = _DEPTH) -> st.SearchStrategy[Any]:
        """Values that fit the schema; below `depth` only optional and empty things are left out."""
        if "$ref" in schema:
            component = self._components[schema["$ref"].rsplit("/", 1)[1]]
            return st.deferred(lambda: self.values(component, depth - 1))
        if "anyOf" in schema:
            return st.one_of([self.values(each, depth) for each in schema["anyOf"]])
        if "const" in schema:
            return st.just(schema["const"])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        return self._typed(schema, depth)

    def _typed(self, schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
        match schema.get("type"):
            case "null":
                return st.none()
            case "boolean":
                return st.booleans()
            case "integer":
                return st.integers(schema.get("minimum", -1000), schema.get("maximum", 100_000))
            case "number":
                least, most = schema.get("minimum", -1e6), schema.get("maximum", 1e6)
                return st.floats(least, most) | st.integers(math.ceil(least), math.floor(most))
            case "string":
                return _strings(schema)
            case "array":
                most = 0 if depth <= 0 else min(2, schema.get("maxItems", 2))
                return st.lists(self.values(schema["items"], depth - 1), max_size=most)
            case "object":
                return self._objects(schema, depth)
            case _:
                return JSON_VALUES

    def _objects(self, schema: dict[str, Any], depth: int) -> st.SearchStrategy[dict[str, Any]]:
        properties = {name: self.values(each, depth - 1) for name, each in schema.get("properties", {}).items()}
        if not properties:
            inner = schema.get("additionalProperties")
            return st.dictionaries(_TEXT, self.values(inner, depth - 1) if inner else JSON_VALUES, max_size=2)
        required = {name: properties.pop(name) for name in schema.get("required", ())}
        if depth <= 0:
            return st.fixed_dictionaries(required)
        few = st.lists(st.sampled_from(sorted(properties)), max_size=4, unique=True) if properties else st.just([])
        return few.flatmap(lambda chosen: st.fixed_dictionaries(required | {name: properties[name] for name in chosen}))


def _strings(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    strings = _TEXT.filter(lambda text: len(text) >= schema.get("minLength", 0))
    if "not" in schema:
        forbidden = schema["not"]["enum"]
        return strings.filter(lambda text: text not in forbidden)
    return strings


@st.composite
def mutated(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Any:
    """A value with one place, at any depth, replaced, removed or added."""
    value = copy.deepcopy(draw(values))
    places = list(_places(value))
    if not places:
        return draw(JSON_VALUES)
    draw(st.sampled_from(places))(draw(st.just(_REMOVED) | JSON_VALUES))
    return value


_REMOVED = object()
_ADDED = ("id", "type", "role", "call_id", "status", "tools")
"""Members that mean something in one object or another."""


def _places(value: Any) -> list[Callable[[Any], None]]:
    """Setters for every member and entry within a value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    added = [key for key in _ADDED if key not in value] if isinstance(value, dict) else []
    found: list[Callable[[Any], None]] = [lambda new, key=key: _put(value, key, new) for key in added]
    for key in keys:
        found.append(lambda new, key=key: _put(value, key, new))
        found += _places(value[key])
    return found


def _put(holder: Any, key: Any, new: Any) -> None:
    if new is _REMOVED:
        holder.pop(key, None) if isinstance(holder, dict) else holder.pop(key)
    else:
        holder[key] = new
