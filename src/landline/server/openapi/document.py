"""The OpenAPI 3.1 document: the table of operations over the schemas of the wire types."""

from functools import cache
from itertools import groupby
from typing import Any

import msgspec

from landline import __version__
from landline.server.openapi.operation import DescribedAnswer, Operation, OperationLink, Parameter
from landline.server.openapi.operations import OPERATIONS
from landline.server.openapi.schemas import Schema, make_components, reference
from landline.wire.errors import ERROR_RULES, ErrorRule

_REQUEST_ID: dict[str, Any] = {
    "x-request-id": {
        "description": "The id of this request in the log.",
        "required": True,
        "schema": {"type": "string"},
    }
}
_RETRY_AFTER: dict[str, Any] = {
    "retry-after": {"description": "Seconds to wait before the next try.", "schema": {"type": "string"}}
}


@cache
def encoded_document() -> bytes:
    """The document as JSON, made once."""
    return msgspec.json.encode(make_document())


def make_document() -> dict[str, Any]:
    """The document as it is served at `/v1/openapi.json`."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Landline", "version": __version__, "description": _INTRODUCTION},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": make_components()},
    }


_INTRODUCTION = (
    "An Open Responses server. Every path under `/v1` is also there without it. `HEAD` is answered like `GET`, another "
    "method with 405, and an unknown path with 404, as `ErrorBody`. So is a request for a host that this server is not "
    "(421), and one by a web page of another origin that the settings do not allow (403)."
)


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "description": operation.text,
        "parameters": [_parameter(each) for each in operation.parameters],
        "responses": {str(answer.status): _answer(answer) for answer in operation.answers} | _errors(operation),
    }
    if operation.body is not None:
        schema = reference(operation.body)
        required = not operation.is_body_optional
        described["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}
    if operation.id == "openSocket":
        described["x-websocket"] = _SOCKET
    if operation.aliases:
        described["x-aliases"] = list(operation.aliases)
    return described


_SOCKET: dict[str, Any] = {
    "description": "One JSON object a text frame.",
    "client": {
        "oneOf": [
            reference("ResponseCreateFrame"),
            reference("ResponseSteerFrame"),
            reference("ResponseCancelFrame"),
            reference("ResponseProcessedFrame"),
        ]
    },
    "server": reference("ServerEvent"),
}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.text,
        "schema": parameter.schema,
    }


def _answer(answer: DescribedAnswer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.text, "headers": _REQUEST_ID}
    if answer.links:
        described["links"] = {link.operation: _link(link) for link in answer.links}
    content: dict[str, Any] = {}
    if answer.json is not None:
        content["application/json"] = {"schema": reference(answer.json)}
    if answer.is_stream:
        content["text/event-stream"] = {"schema": reference("ServerSentEvent")}
    return {**described, "content": content} if content else described


def _link(link: OperationLink) -> dict[str, Any]:
    body = {"requestBody": link.body} if link.body is not None else {}
    return {"operationId": link.operation, "parameters": link.parameters, **body}


def _errors(operation: Operation) -> dict[str, Any]:
    """One answer a status, which names the codes that come with it."""
    rules = sorted((ERROR_RULES[code] for code in {*operation.errors, "server_error"}), key=_by_status)
    return {str(status): _error(list(group)) for status, group in groupby(rules, key=lambda rule: rule.status)}


def _by_status(rule: ErrorRule) -> tuple[int, str]:
    return rule.status, rule.code


def _error(rules: list[ErrorRule]) -> dict[str, Any]:
    codes: Schema = {"properties": {"error": {"properties": {"code": {"enum": [rule.code for rule in rules]}}}}}
    waits = any(rule.retry == "after" for rule in rules)
    return {
        "description": "\n".join(f"- `{rule.code}`: {rule.meaning}" for rule in rules),
        "headers": {**_REQUEST_ID, **(_RETRY_AFTER if waits else {})},
        "content": {"application/json": {"schema": {"allOf": [reference("ErrorBody"), codes]}}},
    }
