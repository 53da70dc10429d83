"""Well-known paths of other APIs and wrong base URLs: what a client that asks for one can use here instead."""

import re

import msgspec
from starlette.types import Receive, Scope, Send

from landline.server.endpoint import reply_json
from landline.wire.errors import api_error, error_body

_LIBRARIES = (
    'the openai libraries `client.responses.create(...)`, the OpenAI Agents SDK `set_default_openai_api("responses")`, '
    "LangChain `ChatOpenAI(use_responses_api=True)`, LiteLLM `litellm.responses(...)`, pydantic-ai `OpenAIResponsesModel`, "
    "the Vercel AI SDK `openai.responses(...)`"
)
"""How the clients that were tried with this server are told to use the Responses API."""
_INSTEAD = f"`POST /v1/responses`. In {_LIBRARIES}"
_ELSEWHERE = "give its client the base URL of a server or vendor that has such models"

_ANTHROPIC = re.compile(r"(/v1)?/(messages|complete)(/.*)?")
"""Answered in the shape that Anthropic's clients read, which has one member more than ours."""
GEMINI_VERBS = (
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
    "predict",
)
"""What Google's clients ask of a model with POST, behind its name and a colon; below `/models` it would be part of the name."""

_FOREIGN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), advice)
    for pattern, advice in (
        (
            r"(/v1)?/(messages|complete)(/.*)?",
            "This server speaks the Responses API and not Anthropic's Messages, so the Anthropic SDKs and Claude Code cannot be "
            "pointed at it. A Claude model behind it is asked by a client of the Responses API: use " + _INSTEAD + ".",
        ),
        (
            r"(/v1)?/chat/completions(/.*)?|(/v1)?/(engines|deployments|openai/deployments)/.+/completions",
            f"This server speaks the Responses API and not chat completions: use {_INSTEAD}.",
        ),
        (
            r"(/v1)?/completions",
            f"This server speaks the Responses API and not text completions: use {_INSTEAD}.",
        ),
        (
            rf"/v1(alpha|beta)\d*/.*|(/v1)?/models/.+:({'|'.join(GEMINI_VERBS)})",
            (
                "This server speaks the Responses API and not Gemini's, so the Google SDKs and gemini-cli cannot be pointed at it. "
                f"A Gemini model behind it is asked by a client of the Responses API: use {_INSTEAD}."
            ),
        ),
        (
            r"/api/tags|/api/ps|/api/show",
            (
                "This server speaks the Responses API and not Ollama's: use `GET /v1/models` for its models, and "
                "`POST /v1/responses` to ask one."
            ),
        ),
        (
            r"/api/(generate|chat)",
            f"This server speaks the Responses API and not Ollama's: use {_INSTEAD}.",
        ),
        (
            r"(/v1)?/embeddings|/api/embed(dings)?|(/v1)?/(engines|openai/deployments)/.+/embeddings|(/v1)?/rerank",
            f"This server makes no embeddings; use `POST /v1/responses` for text, and for embeddings {_ELSEWHERE}.",
        ),
        (
            r"(/v1)?/(audio|images|videos)(/.*)?",
            (
                "This server makes and transcribes no audio, images or videos. Use `POST /v1/responses` for text, with images in its "
                f"`input` as `input_image`; for the rest {_ELSEWHERE}."
            ),
        ),
        (
            r"(/v1)?/(files|uploads)(/.*)?",
            (
                "This server keeps no files. Use `POST /v1/responses` with the content in its `input`: `input_image` with a data "
                "URL, or `input_file` with `file_data`."
            ),
        ),
        (
            r"(/v1)?/batches(/.*)?",
            (
                "This server takes no batch files. Use `POST /v1/responses` with `background: true` for each request, and "
                "`GET /v1/responses/{response_id}` for its result."
            ),
        ),
        (
            r"(/v1)?/realtime(/.*)?",
            (
                "This server speaks no Realtime API, which is for speech. Use WebSocket mode of the Responses API: a socket to "
                "`/v1/responses`, and `response.create` messages on it."
            ),
        ),
        (
            r"(/v1)?/(threads|assistants)(/.*)?",
            (
                "This server has no assistants or threads. Use `POST /v1/responses` with `previous_response_id`, or with a "
                "`conversation` of `POST /v1/conversations`; instructions and tools go into each request."
            ),
        ),
        (
            r"(/v1)?/moderations",
            f"This server moderates nothing. Use `POST /v1/responses` for text; for moderation {_ELSEWHERE}.",
        ),
        (
            r"(/v1)?/(fine_tuning|vector_stores|evals|containers|chatkit)(/.*)?",
            (
                "This server has the Responses API, conversations and models only: use `POST /v1/responses`, and "
                "`GET /v1/openapi.json` for all that there is."
            ),
        ),
        (
            r"(/v1)?/(healthz|livez|readyz|health/.+|ping)",
            "Use `GET /health` for whether the process lives, and `GET /ready` for whether turns can start.",
        ),
        (
            r"/v1|/api|/api/v1|/openai(/v1)?",
            "Use `/v1` as the base URL of a client, and `POST /v1/responses` below it; `GET /v1/openapi.json` describes it.",
        ),
        (
            r"/(?!v1/(responses|conversations|models)/).*/(responses|conversations|models)(/.*)?",
            "The API's base URL ends in one `/v1`: use `/v1/responses`, `/v1/conversations` and `/v1/models`.",
        ),
    )
)
"""Patterns of whole paths, the first that matches counts."""


def advise(path: str) -> str | None:
    """What to use instead of another API's path; None for a path that none is known to have."""
    return next((advice for pattern, advice in _FOREIGN if pattern.fullmatch(path)), None)


async def reply_not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """404, with what to use instead where that is known."""
    root: str = scope.get("root_path", "")
    path: str = scope["path"].removeprefix(root)
    said = advise(path) or "The API is at `/v1/responses`; `GET /v1/openapi.json` describes it."
    body = error_body(api_error("not_found", f"Nothing is at {scope['path']!r}. {said}"))
    if _ANTHROPIC.fullmatch(path):
        body = {"type": "error", **body}
    await reply_json(scope, send, 404, msgspec.json.encode(body))
