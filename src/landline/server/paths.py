"""A path with a slash at its end is the same path, for every route, and without a redirect, which few clients follow with a
POST and none with a WebSocket."""

from starlette.types import ASGIApp, Receive, Scope, Send

_PAGE = "/monitor/"
"""The one exception is redirected: the links of the page are relative to `/monitor`."""


class SamePath:
    """ASGI middleware around the router."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and scope["path"].endswith("/"):
            scope = _without_slash(scope)
        await self._app(scope, receive, send)


def _without_slash(scope: Scope) -> Scope:
    root: str = scope.get("root_path", "")
    below = scope["path"].removeprefix(root)
    path = below.rstrip("/")
    if not path or below == _PAGE:
        return scope
    return {**scope, "path": scope["path"][: len(scope["path"]) - len(below)] + path}
