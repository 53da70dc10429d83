"""Answers of upstreams as files: each folder of transcripts/<dialect> holds one server's quirk, to be fed in any split."""

import itertools
from collections.abc import Sequence

import msgspec
from hypothesis import strategies as st
from msgspec import Raw

from landline.dialects.dialect import Dialect, Prompt
from landline.wire.model_events import Failed, Finished, ModelEvent
from landline.wire.requests import CreateRequest
from support import TESTS_FOLDER

TRANSCRIPTS = TESTS_FOLDER / "transcripts"


class ExpectedFailure(msgspec.Struct, forbid_unknown_fields=True):
    failed: str
    contains: str


class Case(msgspec.Struct, forbid_unknown_fields=True):
    """`case.json`: what the answer shows and the events that it becomes."""

    about: str
    events: list[Raw]
    tools: list[Raw] = []
    flags: Raw = Raw(b"{}")
    model: str = "m"


def case_names(dialect: str) -> list[str]:
    return sorted(path.name for path in (TRANSCRIPTS / dialect).iterdir())


def read_case(dialect: str, name: str) -> tuple[Case, bytes]:
    """The case and the body of its answer."""
    folder = TRANSCRIPTS / dialect / name
    return msgspec.json.decode((folder / "case.json").read_bytes(), type=Case), (folder / "answer.txt").read_bytes()


def play(dialect: Dialect, case: Case, chunks: Sequence[bytes], *, is_warm_up: bool = False) -> list[ModelEvent]:
    """The events of the answer, read as an HTTP target reads it: the end comes only where none came before."""
    request = CreateRequest(tools=case.tools, generate=False if is_warm_up else None)
    prompt = Prompt(history=None, request=request, model=case.model, response_id="resp_test")
    decoder = dialect.open_decoder(prompt)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    if not any(isinstance(event, Finished | Failed) for event in events):
        events += decoder.end()
    return events


def assert_events(events: Sequence[ModelEvent], expected: Sequence[Raw]) -> None:
    assert len(events) == len(expected), events
    for event, wanted in zip(events, expected, strict=True):
        if isinstance(event, Failed):
            failure = msgspec.json.decode(wanted, type=ExpectedFailure)
            assert event.error.code == failure.failed
            assert failure.contains in event.error.message
        else:
            assert event == msgspec.json.decode(wanted, type=ModelEvent)


@st.composite
def splits(draw: st.DrawFn, body: bytes) -> list[bytes]:
    """The body in pieces, some of them empty."""
    edges = [0, *sorted(draw(st.lists(st.integers(0, len(body)), max_size=8))), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]
