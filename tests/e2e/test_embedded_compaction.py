"""Compaction and counting with the real embedded model: that it works, not that its summaries are good."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from support.servers.running import RunningServer

pytestmark = [pytest.mark.model, pytest.mark.client]

MODEL = "smollm2-135m-instruct"
TRIGGER: Any = [{"type": "compaction_trigger"}]


CONTEXT_TOKENS = 1024
CONFIG = f"""
[targets.small]
dialect = "embedded"
model = "{MODEL}"
context_per_slot = {CONTEXT_TOKENS}
slots = 2
[models."{MODEL}"]
targets = ["small"]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A model with a small window, so that little text fills it."""
    with RunningServer(CONFIG, tmp_path_factory.mktemp("small")) as started:
        yield started


@pytest.fixture
def client(server: RunningServer) -> OpenAI:
    return OpenAI(base_url=server.base_url, api_key="test-key", max_retries=0)


def conversation(turns: int) -> list[Any]:
    items: list[Any] = []
    for number in range(turns):
        items.append({"role": "user", "content": f"What is {number} plus {number}?"})
        items.append({"role": "assistant", "content": f"It is {2 * number}, because {number} and {number} make that."})
    return items


def test_count_is_what_the_model_reads(client: OpenAI) -> None:
    settings: dict[str, Any] = {"model": MODEL, "input": conversation(2)[:3], "instructions": "Be brief."}
    counted = client.responses.input_tokens.count(**settings)
    answered = client.responses.create(**settings, max_output_tokens=16)
    assert answered.usage is not None
    assert counted.input_tokens == answered.usage.input_tokens


def test_compacted_window_is_shorter_and_goes_on(client: OpenAI) -> None:
    history = conversation(16)
    before = client.responses.input_tokens.count(model=MODEL, input=history)
    answered = client.responses.with_raw_response.compact(model=MODEL, input=history)
    window = answered.parse()
    assert window.usage.input_tokens > before.input_tokens
    assert 0 < window.usage.output_tokens <= 512
    output: Any = json.loads(answered.text)["output"]
    after = client.responses.input_tokens.count(model=MODEL, input=output)
    assert after.input_tokens < before.input_tokens
    new: Any = [*output, {"role": "user", "content": "And 3 plus 3?"}]
    gone_on = client.responses.create(model=MODEL, input=new, store=False, max_output_tokens=32)
    assert gone_on.output_text
    assert gone_on.usage is not None
    assert gone_on.usage.input_tokens == client.responses.input_tokens.count(model=MODEL, input=new).input_tokens


def test_triggered_compaction_goes_on_as_a_chain(client: OpenAI) -> None:
    first = client.responses.create(
        model=MODEL, input=[*conversation(6), {"role": "user", "content": "Go on."}], max_output_tokens=16
    )
    compacted = client.responses.create(model=MODEL, previous_response_id=first.id, input=TRIGGER)
    assert [item.type for item in compacted.output] == ["compaction"]
    assert compacted.usage is not None
    assert compacted.usage.input_tokens_details.cached_tokens > 100
    settings: Any = {"model": MODEL, "max_output_tokens": 16}
    second = client.responses.create(previous_response_id=compacted.id, input="What is 4 plus 4?", **settings)
    third = client.responses.create(previous_response_id=second.id, input="And 5 plus 5?", **settings)
    assert second.usage is not None
    assert third.usage is not None
    assert third.usage.input_tokens_details.cached_tokens >= second.usage.input_tokens - 8


def test_threshold_compacts_once_and_the_chain_stays_short(client: OpenAI) -> None:
    management: Any = [{"type": "compaction", "compact_threshold": 500}]
    settings: Any = {"model": MODEL, "max_output_tokens": 16, "context_management": management}
    history: Any = [*conversation(16), {"role": "user", "content": "What is 4 plus 4?"}]
    first = client.responses.create(input=history, **settings)
    assert [item.type for item in first.output] == ["compaction", "message"]
    second = client.responses.create(previous_response_id=first.id, input="And 5 plus 5?", **settings)
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens < first.usage.input_tokens / 2


def test_history_over_the_window_is_refused_with_numbers_or_truncated(client: OpenAI) -> None:
    history: Any = [*conversation(60), {"role": "user", "content": "What is 4 plus 4?"}]
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=MODEL, input=history, max_output_tokens=16)
    assert refused.value.code == "context_length_exceeded"
    assert str(CONTEXT_TOKENS) in refused.value.message
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.compact(model=MODEL, input=history)
    assert refused.value.code == "context_length_exceeded"
    answered = client.responses.create(model=MODEL, input=history, max_output_tokens=16, truncation="auto")
    assert answered.usage is not None
    assert CONTEXT_TOKENS * 3 // 4 < answered.usage.input_tokens <= CONTEXT_TOKENS
