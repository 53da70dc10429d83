"""What the server does is what its API document says: schemathesis over every endpoint of a running server."""

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from schemathesis import Case, GenerationMode, Response
from schemathesis.specs.openapi.checks import ensure_resource_availability, positive_data_acceptance

from landline.server.openapi import OPERATIONS, make_document
from support.servers.running import RunningServer

SEED = 20261122
EXAMPLES = 12
WALKS = 20
TURNS = """\
{"after_last": "loop"}
[{"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "Hello there.", "deltas": 3}]
[{"type": "function_call", "name": "look", "arguments": {}}, {"type": "usage", "input_tokens": 5, "output_tokens": 3}]
[{"type": "refusal", "text": "No."}]
[{"type": "text", "text": "Half"}, {"type": "finish", "incomplete_reason": "max_output_tokens"}]
"""
CONFIG = """
[store]
url = "memory"
[targets.script]
dialect = "scripted"
transcript = "turns.jsonl"
[models."*"]
targets = ["script"]
"""
RULES_BEYOND_SCHEMAS = frozenset(
    each.id
    for each in OPERATIONS
    if each.body is not None or each.id in ("openSocket", "retrieveResponse", "cancelResponse")
)
"""Operations that refuse what no schema can forbid: the output of a call that nobody made, a plain GET of the socket …"""

DOCUMENT = make_document()
EVENT = Draft202012Validator({"components": DOCUMENT["components"], "$ref": "#/components/schemas/ServerEvent"})

CREATES = ("createResponse", "compactResponse", "countInputTokens")
LIKE_ANOTHER = ["compactResponse", "countInputTokens", "createConversation", "addItems"]
"""Their bodies are covered value by value by another operation of the same schema."""

api = schemathesis.openapi.from_dict(make_document())
api.config.seed = SEED
light = schemathesis.openapi.from_dict(make_document())
light.config.seed = SEED
light.config.phases.coverage.enabled = False
once = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=cast("list[HealthCheck]", list(HealthCheck)),
)


def reach_the_model(case: Case[Any]) -> None:
    """A right body goes on from nothing, or from what a link says, and has an input: else hardly any would be answered."""
    body = case.body
    if operation_id(case) in CREATES and isinstance(body, dict) and is_positive(case):
        for name, prefix in (("previous_response_id", "resp_"), ("conversation", "conv_")):
            if not str(body.get(name)).startswith(prefix):
                body.pop(name, None)
        body["input"] = body.get("input") or "Hello."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("schemathesis")
    (folder / "turns.jsonl").write_text(TURNS)
    with RunningServer(CONFIG, folder) as running:
        Walk.base_url = origin(running)
        yield running


def origin(server: RunningServer) -> str:
    return server.base_url.removesuffix("/v1")


def streams_as_documented(context: Any, response: Response, case: Case[Any]) -> None:
    """An event stream holds documented events, one a record, and ends in `[DONE]`."""
    if response.headers.get("content-type", [""])[0].startswith("text/event-stream"):
        *records, end, rest = response.content.decode().split("\n\n")
        assert (end, rest) == ("data: [DONE]", "")
        for record in records:
            if not record.startswith(":"):
                name, _, data = record.partition("\ndata: ")
                event = json.loads(data)
                EVENT.validate(event)
                assert name == f"event: {event['type']}"


def operation_id(case: Case[Any]) -> str:
    return case.operation.definition.raw["operationId"]


def is_positive(case: Case[Any]) -> bool:
    return case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE


def excluded_checks(case: Case[Any]) -> list[Any]:
    excluded = [positive_data_acceptance] if operation_id(case) in RULES_BEYOND_SCHEMAS else []
    # A 404 may speak of an item or a response that the body refers to.
    return [*excluded, ensure_resource_availability] if case.operation.body else excluded


def test_the_document_is_served(server: RunningServer) -> None:
    assert requests.get(f"{server.base_url}/openapi.json", timeout=10).json() == make_document()


@api.exclude(operation_id=LIKE_ANOTHER).parametrize()  # pyright: ignore[reportUntypedFunctionDecorator]
@once
def test_every_answer_is_as_documented(case: Case[Any], server: RunningServer) -> None:
    call(case, server)


@light.include(operation_id=LIKE_ANOTHER).parametrize()  # pyright: ignore[reportUntypedFunctionDecorator]
@once
def test_answers_to_bodies_like_another_are_as_documented(case: Case[Any], server: RunningServer) -> None:
    call(case, server)


def call(case: Case[Any], server: RunningServer) -> None:
    reach_the_model(case)
    case.call_and_validate(
        base_url=origin(server), additional_checks=[streams_as_documented], excluded_checks=excluded_checks(case)
    )


class Walk(api.as_state_machine()):
    """Follows the links from answers to other endpoints: what was made is read, listed, changed, deleted."""

    base_url = ""

    def before_call(self, case: Case[Any]) -> None:
        reach_the_model(case)
        if isinstance(case.body, dict):
            case.body.pop("store", None)  # what is not stored is not found by the next step

    def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:
        return {"base_url": self.base_url}

    def validate_response(self, response: Response, case: Case[Any], *_: Any, **__: Any) -> None:
        case.validate_response(
            response,
            additional_checks=[streams_as_documented],
            excluded_checks=excluded_checks(case),
            recorder=self.recorder,  # pyright: ignore[reportAttributeAccessIssue] - set by schemathesis
        )


def test_every_walk_along_the_links_is_as_documented(server: RunningServer) -> None:
    Walk.run(settings=settings(once, max_examples=WALKS, stateful_step_count=8))
