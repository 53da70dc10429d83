"""A target without a key that wants one: the refusal says that there is none, and where it would be named."""

from contextlib import aclosing

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from landline.app import make_target
from landline.config import Config
from landline.config.reading import read_config
from landline.dialects.dialect import Prompt
from landline.wire.errors import ApiError
from landline.wire.model_events import Failed
from support.conversations.chat import create, lineage, message
from support.turns.reply import stream_of

GOOGLE_WITHOUT = {
    "error": {
        "code": 403,
        "status": "PERMISSION_DENIED",
        "message": "Callers without identity are not allowed.",
    }
}
GOOGLE_WRONG = {
    "error": {
        "code": 400,
        "status": "INVALID_ARGUMENT",
        "message": "API key not valid.",
        "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
    }
}
OTHERS = {"error": {"type": "authentication_error", "code": "invalid_api_key", "message": "Who are you?"}}


async def refused(status: int, body: object, **settings: object) -> ApiError:
    """The error of a turn at a server that refuses every request in this way."""

    async def refuse(request: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    async with TestServer(app, host="127.0.0.1") as server:
        table = {"base_url": str(server.make_url("/v1")), **settings}
        config: Config = read_config({"targets": {"up": table}}).config
        target = make_target("up", config.targets["up"])
        await target.open()
        asked = Prompt(history=lineage([[message("user", "hi")]]), request=create(), model="m", response_id="resp_1")
        try:
            async with aclosing(stream_of(target, asked)) as batches:
                events = [event async for batch in batches for event in batch]
        finally:
            await target.close()
    assert isinstance(events[-1], Failed)
    return events[-1].error


@pytest.mark.parametrize(("status", "body"), [(401, OTHERS), (403, GOOGLE_WITHOUT), (400, GOOGLE_WRONG)], ids=str)
@pytest.mark.parametrize("settings", [{"profile": "gemini"}, {"dialect": "gemini"}], ids=str)
async def test_google_is_told_to_lack_a_key(settings: dict[str, object], status: int, body: object) -> None:
    said = await refused(status, body, **settings)
    assert 'api_key_env = "GEMINI_API_KEY"' in said.message
    assert "refused the key" not in said.message


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"profile": "anthropic"}, "ANTHROPIC_API_KEY"),
        ({"profile": "openai"}, "OPENAI_API_KEY"),
        ({"profile": "openai", "transport": "http"}, "OPENAI_API_KEY"),
        ({"profile": "groq"}, "GROQ_API_KEY"),
        ({"dialect": "chat_completions"}, ""),
    ],
    ids=str,
)
@pytest.mark.parametrize("status", [401, 403])
async def test_a_missing_key_is_said_to_be_missing(settings: dict[str, object], variable: str, status: int) -> None:
    error = await refused(status, OTHERS, **settings)
    assert error.code == "upstream_auth_error"
    assert "Target 'up' wants a key, and this server has none for it" in error.message
    assert "`[targets.up]`" in error.message
    assert (f'api_key_env = "{variable}"' in error.message) == bool(variable)
    assert "refused the key" not in error.message


async def test_a_key_that_is_there_is_said_to_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "sk-0123456789")
    error = await refused(401, OTHERS, profile="gemini", api_key_env="A_KEY")
    assert error.message == "The target refused the key that this server is configured with."
    error = await refused(401, OTHERS, dialect="chat_completions", headers={"authorization": "Basic eA=="})
    assert error.message == "The target refused the key that this server is configured with."
