from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from landline.server.foreign_paths import advise
from support.servers.edge import running_edge, saying

LIBRARIES = (
    'set_default_openai_api("responses")',
    "use_responses_api=True",
    "litellm.responses(",
    "OpenAIResponsesModel",
    "openai.responses(",
)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/completions",
        "/v1/messages",
        "/messages",
        "/api/generate",
        "/api/chat",
        "/v1beta/models/gemini-2.5-pro:generateContent",
        "/v1/models/gemini-2.5-pro:streamGenerateContent",
        "/openai/deployments/gpt/chat/completions",
    ],
)
def test_a_path_that_asks_a_model_names_the_one_to_use_and_how_libraries_are_told(path: str):
    said = advise(path) or ""
    assert "`POST /v1/responses`" in said
    assert all(name in said for name in LIBRARIES)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/embeddings", "no embeddings"),
        ("/api/tags", "`GET /v1/models`"),
        ("/v1/audio/speech", "no audio"),
        ("/v1/images/generations", "`input_image`"),
        ("/v1/files", "`file_data`"),
        ("/v1/files/file-1/content", "`file_data`"),
        ("/v1/batches", "`background: true`"),
        ("/v1/realtime", "WebSocket mode"),
        ("/v1/threads/thread_1/runs", "`previous_response_id`"),
        ("/v1/assistants", "`POST /v1/conversations`"),
        ("/v1/moderations", "moderates nothing"),
        ("/v1/vector_stores", "`GET /v1/openapi.json`"),
        ("/v1/messages/count_tokens", "Claude Code"),
        ("/healthz", "`GET /health`"),
        ("/v1", "base URL"),
        ("/v1/v1/responses", "one `/v1`"),
        ("/v1//responses", "one `/v1`"),
        ("/openai/responses", "one `/v1`"),
    ],
)
def test_other_paths_name_what_serves_the_same_end(path: str, said: str):
    assert said in (advise(path) or "")


@pytest.mark.parametrize("path", ["/", "/favicon.ico", "/v1/nothing", "/v1/responses/resp_1/nothing", "/v1/chat"])
def test_a_path_of_no_api_gets_no_advice(path: str):
    assert advise(path) is None


async def test_an_openai_client_for_chat_completions_is_told():
    async with (
        running_edge(saying("hi")) as edge,
        openai.AsyncOpenAI(base_url=f"{edge.http_url}/v1", api_key="x") as client,
    ):
        with pytest.raises(openai.NotFoundError, match="use `POST /v1/responses`") as raised:
            await client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "x"}])
        with pytest.raises(openai.NotFoundError, match="no embeddings"):
            await client.embeddings.create(model="demo", input="x")
    assert raised.value.code == "not_found"


async def test_an_anthropic_client_is_told():
    async with (
        running_edge(saying("hi")) as edge,
        anthropic.AsyncAnthropic(base_url=edge.http_url, api_key="x") as client,
    ):
        with pytest.raises(anthropic.NotFoundError, match="use `POST /v1/responses`") as raised:
            await client.messages.create(model="demo", max_tokens=1, messages=[{"role": "user", "content": "x"}])
    body: Any = raised.value.body
    assert body["type"] == "error"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/chat/completions/", "/api/chat/"])
async def test_every_method_and_a_slash_at_the_end_get_the_same_advice(method: str, path: str):
    async with (
        running_edge(saying("hi")) as edge,
        aiohttp.ClientSession() as http,
        http.request(method, edge.http_url + path) as answer,
    ):
        assert answer.status == 404
        assert "use `POST /v1/responses`" in (await answer.json())["error"]["message"]


async def test_a_model_whose_name_has_a_colon_is_still_read():
    async with (
        running_edge(saying("hi"), models=("qwen:8b",)) as edge,
        openai.AsyncOpenAI(base_url=f"{edge.http_url}/v1", api_key="x") as client,
    ):
        assert (await client.models.retrieve("qwen:8b")).id == "qwen:8b"
        with pytest.raises(openai.APIStatusError) as raised:
            await client.post("/models/qwen:8b", cast_to=object)
    assert raised.value.status_code == 405
