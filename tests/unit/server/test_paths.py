import pytest

from landline.server.paths import SamePath


async def path_behind(path: str, root: str = "", kind: str = "http") -> str:
    """The path that the router sees."""
    seen: list[str] = []

    async def app(scope, receive, send):
        seen.append(scope["path"])

    await SamePath(app)({"type": kind, "path": path, "root_path": root}, None, None)
    return seen[0]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("path", "root", "seen"),
    [
        ("/v1/responses", "", "/v1/responses"),
        ("/v1/responses/", "", "/v1/responses"),
        ("/v1/responses//", "", "/v1/responses"),
        ("/", "", "/"),
        ("/llm/", "/llm", "/llm/"),
        ("/llm/health/", "/llm", "/llm/health"),
        ("/monitor/", "", "/monitor/"),
        ("/llm/monitor/", "/llm", "/llm/monitor/"),
        ("/monitor/state/", "", "/monitor/state"),
    ],
)
async def test_the_router_sees_a_path_without_its_last_slash(kind, path, root, seen):
    assert await path_behind(path, root, kind) == seen
