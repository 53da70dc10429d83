"""A client that sends its whole history with every request, over HTTP, to the embedded model: it is warm like a chained one."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio

from support.servers.running import RunningServer

pytestmark = pytest.mark.model

STORY = "The clockmaker wound the town's clocks each morning and listened for the one that was late. " * 12
NEXT = ("Which clock was late?", "And who wound it?")


@pytest_asyncio.fixture
async def client(embedded_landline: RunningServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=embedded_landline.base_url, api_key="test-key", max_retries=0) as made:
        yield made


async def test_whole_history_is_read_from_the_cache_like_a_chain(client: openai.AsyncOpenAI) -> None:
    chained, _ = await _run(client, "First told: ", is_chained=True)
    whole, answers = await _run(client, "Now told again: ", is_chained=False)
    for cold, *warm in (chained, whole):
        assert cold.input_tokens_details.cached_tokens < 0.5 * cold.input_tokens
        before = cold
        for usage in warm:
            assert usage.input_tokens_details.cached_tokens >= 0.9 * before.total_tokens
            before = usage
    # Played back as a role and a string, as some clients do, it is warm too.
    spelled = [{"role": role, "content": text} for role, text in answers]
    response = await _ask(client, input=[*spelled, {"role": "user", "content": "Thanks."}], store=False)
    assert response.usage is not None
    assert response.usage.input_tokens_details.cached_tokens >= 0.9 * whole[-1].total_tokens


async def _run(client: openai.AsyncOpenAI, start: str, *, is_chained: bool) -> tuple[list[Any], list[tuple[str, str]]]:
    """A conversation of three questions: the usage of each answer, and what was said."""
    usages: list[Any] = []
    said: list[tuple[str, str]] = []
    history: list[Any] = []
    previous: str | None = None
    for question in (start + STORY, *NEXT):
        said.append(("user", question))
        history.append({"role": "user", "content": question})
        if is_chained:
            response = await _ask(client, input=question, previous_response_id=previous)
        else:
            response = await _ask(client, input=history, store=False)
        history += [item.to_dict() for item in response.output]
        said.append(("assistant", response.output_text))
        previous = response.id
        usages.append(response.usage)
    return usages, said


async def _ask(client: openai.AsyncOpenAI, **fields: Any) -> Any:
    # Greedy: sampling may write a word in other tokens than the tokenizer would, and the cache ends there.
    response: Any = await client.responses.create(
        model=(await client.models.list()).data[0].id, temperature=0, max_output_tokens=24, **fields
    )
    return response
