"""Validates responses, events and error frames against the published Open Responses schema (2026-04-24).

Two quirks of the schema are handled here and nowhere else, so that everything else is checked as it stands:
- `JsonSchemaResponseFormat.schema` is typed null-only, though the request takes a real schema. An echoed schema (which
  OpenAI sends, too) is taken out before validation, after a check that it is an object.
- `Tool` and `ItemField` know functions only. Tools and items of other kinds are checked for their `type` (and the item's
  `id` and `status`) and taken out before validation.
"""

import copy
import functools
import json
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from support import TESTS_FOLDER

_FILE = TESTS_FOLDER / "openresponses" / "openapi.json"
_ROOT = "urn:openresponses"
_KNOWN_ITEMS = frozenset(("message", "function_call", "function_call_output", "reasoning", "compaction"))
TERMINAL_EVENTS = frozenset(("response.completed", "response.incomplete", "response.failed"))


def validate_response(response: dict[str, Any]) -> None:
    """Fails unless the object is a whole `ResponseResource`."""
    _validate("ResponseResource", _without_quirks(response))


def validate_compacted_window(window: dict[str, Any]) -> None:
    """Fails unless the object is a whole `CompactResource`."""
    _validate("CompactResource", window)


def validate_event(event: dict[str, Any]) -> None:
    """Fails unless the event is one of the 24 streaming events of the schema and holds to its own."""
    name = _event_schemas().get(event["type"])
    assert name is not None, f"{event['type']!r} is not an event of the schema"
    checked = copy.deepcopy(event)
    if "response" in checked:
        checked["response"] = _without_quirks(checked["response"])
    if "item" in checked and checked["item"]["type"] not in _KNOWN_ITEMS:
        _check_foreign_item(checked["item"])
        return
    _validate(name, checked)


def validate_error_frame(frame: dict[str, Any]) -> None:
    """Fails unless the frame is a `WebSocketErrorEvent`."""
    _validate("WebSocketErrorEvent", frame)


def validate_stream(events: list[dict[str, Any]], *, stream_id: str | None = None) -> dict[str, Any]:
    """Checks a whole response's events: each one by the schema, and what the schema cannot say; returns the response.

    That is: `response.created` first, one terminal event last, numbers from 0 without a gap, one response id, every item
    added once and done once, deltas that make up the done text, and the terminal output equal to the done items.
    """
    for event in events:
        validate_event(event)
    assert events[0]["type"] == "response.created"
    assert [event["type"] for event in events if event["type"] in TERMINAL_EVENTS] == [events[-1]["type"]]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert {event["response"]["id"] for event in events if "response" in event} == {events[0]["response"]["id"]}
    assert {event.get("stream_id") for event in events} == {stream_id}
    added = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    done = [event for event in events if event["type"] == "response.output_item.done"]
    assert sorted(added) == sorted(event["output_index"] for event in done) == list(range(len(added)))
    response = events[-1]["response"]
    assert response["output"] == [event["item"] for event in sorted(done, key=lambda event: event["output_index"])]
    _check_deltas(events)
    return response


def _check_deltas(events: list[dict[str, Any]]) -> None:
    """The deltas of each part, joined, are what its `.done` event says."""
    joined: dict[tuple[Any, ...], str] = {}
    for event in events:
        kind, _, stage = event["type"].rpartition(".")
        place = (kind, *(event.get(key) for key in ("output_index", "content_index", "summary_index")))
        if stage == "delta":
            joined[place] = joined.get(place, "") + event["delta"]
        elif stage == "done" and place in joined:
            whole = next(event[key] for key in ("text", "arguments", "refusal", "input") if key in event)
            assert whole == joined.pop(place), f"deltas of {place} do not make up its done event"
    assert not joined, f"no done event for the deltas of {sorted(joined, key=str)}"


def _validate(name: str, value: Any) -> None:
    errors = sorted(_validator(name).iter_errors(value), key=lambda error: error.json_path)
    assert not errors, "\n".join(f"{name} {error.json_path}: {error.message[:300]}" for error in errors)


def _without_quirks(response: dict[str, Any]) -> dict[str, Any]:
    checked = copy.deepcopy(response)
    text_format = checked["text"]["format"]
    if text_format["type"] == "json_schema":
        assert isinstance(text_format["schema"], dict)
        text_format["schema"] = None
    for item in checked["output"]:
        if item["type"] not in _KNOWN_ITEMS:
            _check_foreign_item(item)
    checked["output"] = [item for item in checked["output"] if item["type"] in _KNOWN_ITEMS]
    assert all(isinstance(tool["type"], str) for tool in checked["tools"])
    checked["tools"] = [tool for tool in checked["tools"] if tool["type"] == "function"]
    return checked


def _check_foreign_item(item: dict[str, Any]) -> None:
    assert all(isinstance(item[key], str) for key in ("type", "id", "status"))


@functools.cache
def _document() -> dict[str, Any]:
    return json.loads(_FILE.read_text())


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    resource = Resource(contents=_document(), specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource(_ROOT, resource)
    return Draft202012Validator({"$ref": f"{_ROOT}#/components/schemas/{name}"}, registry=registry)


@functools.cache
def _event_schemas() -> dict[str, str]:
    """The wire name of each streaming event → its schema's name, read from the path's `text/event-stream` union."""
    post = _document()["paths"]["/responses"]["post"]
    union = post["responses"]["200"]["content"]["text/event-stream"]["schema"]["oneOf"]
    names = [each["$ref"].rsplit("/", 1)[1] for each in union]
    schemas = _document()["components"]["schemas"]
    return {schemas[name]["properties"]["type"]["enum"][0]: name for name in names}
