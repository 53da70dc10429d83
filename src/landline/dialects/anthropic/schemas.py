"""Rewrites JSON schemas to the subset that the API enforces; other limits move into descriptions. Called by `tools`, `settings`.

The API refuses the whole request for one unsupported keyword, such as the constraints of pydantic and zod. Source:
Anthropic's guide "Structured outputs", its limits and what its SDKs rewrite (November 2026).
"""

import re
from functools import lru_cache
from typing import Any, cast

import msgspec

OPTIONAL_MAX = 24
"""Optional properties in all schemas of a request together."""
UNIONS_MAX = 16
"""Properties with alternatives or several types, likewise."""

_DEPTH_MAX = 64
_SCHEMAS_KEPT = 256
"""Schemas cached by their bytes: clients send theirs with every turn."""
_TYPES = frozenset(("object", "array", "string", "integer", "number", "boolean", "null"))
_FORMATS = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"))
_DEFINITIONS = ("$defs", "definitions")
_SILENT = ("$schema", "$id", "$comment", "$anchor")
"""Keywords that mean nothing to a model."""
_ALTERNATIVES = ("anyOf", "oneOf", "allOf")
_STRUCTURE = frozenset(
    ("properties", "items", "prefixItems", "patternProperties", "enum", "const", "additionalProperties")
)
"""Keywords that are not supported beside alternatives."""
_BESIDE_ITEMS = frozenset(("prefixItems", "additionalItems", "unevaluatedItems"))
_BESIDE_PROPERTIES = frozenset(("patternProperties", "unevaluatedProperties", "dependentSchemas"))
_SIMPLE_PATTERN = re.compile(
    r"\^?(?:(?:\[\^?[\w\s.,:;/@#%&=~!-]+\]|\\[dwsDWS./+*?()|$^\[\]{}-]|[\w\s.,:;/@#%&=~!-])"
    r"(?:[*+?]|\{\d{1,2}(?:,\d{0,2})?\})?)*\$?"
)
"""Patterns without groups, look-around and back references, some of which the API refuses."""

_encode = msgspec.json.Encoder().encode
_Schema = dict[str, Any]


class EnforceableSchema(msgspec.Struct, frozen=True):
    """A schema that the API accepts, and its share of the limits of a request."""

    schema: bytes
    is_told: bool
    """Whether limits that cannot be enforced were moved into descriptions."""
    optional: int
    unions: int


@lru_cache(maxsize=_SCHEMAS_KEPT)
def enforceable_schema(schema: bytes) -> EnforceableSchema | None:
    """The schema as the API enforces it; None for open objects and maps, any value, recursion and tuples.

    An object with `properties` and without `additionalProperties` is closed: what the model then writes matches the
    client's schema too.
    """
    reader = _SchemaRewriter()
    try:
        made = reader.read(msgspec.json.decode(schema), 0)
    except (_CannotEnforceError, msgspec.DecodeError, RecursionError):
        return None
    if reader.is_recursive() or reader.optional > OPTIONAL_MAX or reader.unions > UNIONS_MAX:
        return None
    return EnforceableSchema(_encode(made), reader.is_told, reader.optional, reader.unions)


class _CannotEnforceError(Exception):
    """The schema has an unsupported constraint that no description can replace."""


class _SchemaRewriter:
    """Rewrites one schema and counts what it uses."""

    def __init__(self) -> None:
        self.is_told = False
        self.optional = 0
        self.unions = 0
        self._references: dict[str, set[str]] = {}
        """Definition ('' for the root) → the definitions that it refers to."""
        self._place = ""

    def read(self, schema: object, depth: int) -> _Schema:
        """One schema and those inside it."""
        if depth > _DEPTH_MAX:
            raise _CannotEnforceError
        rest = {name: value for name, value in _table(schema).items() if name not in _SILENT}
        made = self._definitions(rest, depth)
        if "$ref" in rest:
            return made | {"$ref": self._refer(rest["$ref"])}
        made |= self._kind(rest, depth)
        made |= {name: rest.pop(name) for name in ("title", "description") if name in rest}
        if rest:
            self.is_told = True
            told = "Limits: " + ", ".join(f"{name} {_encode(value).decode()}" for name, value in rest.items()) + "."
            made["description"] = f"{made['description']}\n\n{told}" if made.get("description") else told
        return made

    def is_recursive(self) -> bool:
        """Whether a definition leads back to itself."""
        return any(self._leads_to(place, place, set()) for place in self._references)

    def _leads_to(self, start: str, wanted: str, seen: set[str]) -> bool:
        for place in self._references.get(start, ()):
            if place == wanted:
                return True
            if place not in seen:
                seen.add(place)
                if self._leads_to(place, wanted, seen):
                    return True
        return False

    def _definitions(self, rest: _Schema, depth: int) -> _Schema:
        made: _Schema = {}
        for kind in _DEFINITIONS:
            if kind in rest:
                made[kind] = {}
                for name, schema in _table(rest.pop(kind)).items():
                    outside, self._place = self._place, f"#/{kind}/{name}"
                    made[kind][name] = self.read(schema, depth + 1)
                    self._place = outside
        return made

    def _refer(self, reference: object) -> str:
        if not isinstance(reference, str) or not reference.startswith(tuple(f"#/{kind}/" for kind in _DEFINITIONS)):
            raise _CannotEnforceError
        self._references.setdefault(self._place, set()).add(reference)
        return reference

    def _kind(self, rest: _Schema, depth: int) -> _Schema:
        """The keywords that define the values: alternatives, fixed values, or a type. Removes those handled from `rest`."""
        if any(name in rest for name in _ALTERNATIVES):
            return self._alternatives(rest, depth)
        for name in ("enum", "const"):
            if name in rest:
                values = _filled(rest[name] if name == "enum" else [rest[name]])
                if any(isinstance(each, dict | list) for each in values):
                    raise _CannotEnforceError
                rest.pop("type", None)
                return {name: rest.pop(name)}
        return self._typed(rest, depth)

    def _alternatives(self, rest: _Schema, depth: int) -> _Schema:
        given = {name: _filled(rest.pop(name)) for name in _ALTERNATIVES if name in rest}
        rest.pop("type", None)
        if len(given) > 1 or rest.keys() & _STRUCTURE:
            raise _CannotEnforceError
        ((name, schemas),) = given.items()
        if name == "allOf":
            if len(schemas) > 1:
                raise _CannotEnforceError
            return self.read(schemas[0], depth + 1)
        self.unions += 1
        return {"anyOf": [self.read(each, depth + 1) for each in schemas]}

    def _typed(self, rest: _Schema, depth: int) -> _Schema:
        kind = rest.pop("type", None)
        kinds = [kind] if isinstance(kind, str) else _filled(kind)
        if not all(isinstance(each, str) and each in _TYPES for each in kinds):
            raise _CannotEnforceError
        self.unions += len(kinds) > 1
        made: _Schema = {"type": kind}
        if "object" in kinds:
            made |= self._object(rest, depth)
        if "array" in kinds:
            made |= self._array(rest, depth)
        if "string" in kinds:
            if rest.get("format") in _FORMATS:
                made["format"] = rest.pop("format")
            if isinstance(rest.get("pattern"), str) and _SIMPLE_PATTERN.fullmatch(rest["pattern"]):
                made["pattern"] = rest.pop("pattern")
        return made

    def _object(self, rest: _Schema, depth: int) -> _Schema:
        properties, others = rest.pop("properties", None), rest.pop("additionalProperties", None)
        required = _list(rest.pop("required", []))
        is_closed = others is False or (others is None and properties is not None)
        if not is_closed or rest.keys() & _BESIDE_PROPERTIES:
            raise _CannotEnforceError
        named = {name: self.read(each, depth + 1) for name, each in _table(properties or {}).items()}
        needed = [name for name in required if name in named]
        self.optional += len(named) - len(needed)
        return {"properties": named, "required": needed, "additionalProperties": False}

    def _array(self, rest: _Schema, depth: int) -> _Schema:
        if "items" not in rest or rest.keys() & _BESIDE_ITEMS:
            raise _CannotEnforceError
        made: _Schema = {"items": self.read(rest.pop("items"), depth + 1)}
        least = rest.get("minItems")
        if least in (0, 1):
            made["minItems"] = rest.pop("minItems")
        elif isinstance(least, int) and least > 1:
            made["minItems"] = 1  # the API knows 0 and 1; the larger number goes into the description
        return made


def _table(value: object) -> _Schema:
    if not isinstance(value, dict):
        raise _CannotEnforceError
    return cast("_Schema", value)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise _CannotEnforceError
    return cast("list[Any]", value)


def _filled(value: object) -> list[Any]:
    values = _list(value)
    if not values:
        raise _CannotEnforceError
    return values
