"""A whole Landline inside the test's event loop, over one store, that can be restarted between two requests."""

import asyncio
import contextlib
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from landline.app import build_app
from landline.config import Config, load_config
from landline.server.lifecycle import LineServer, ServeSettings


class WalkingServer:
    """The server and one client of it: HTTP, and one socket that is opened when first used."""

    def __init__(self, config: str, folder: Path) -> None:
        path = folder / "landline.toml"
        path.write_text(config)
        loaded = load_config(path, {})
        assert isinstance(loaded, Config), loaded
        self._config = loaded
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession()
        await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._stop()
        await self._client.close()

    async def restart(self) -> None:
        """Ends the server as SIGTERM would and starts another over the same store."""
        await self._stop()
        await self._start()

    async def reconnect(self) -> None:
        """Closes the socket; the next request opens a new one."""
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    async def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """One HTTP request; status and JSON."""
        async with self._client.request(method, f"{self._url}/v1{path}", json=body) as response:
            return response.status, await response.json()

    async def create(self, body: dict[str, Any], *, over_socket: bool) -> dict[str, Any]:
        """One response, whatever the transport; or the body of its error."""
        if not over_socket:
            status, answer = await self.request("POST", "/responses", body)
            return answer if status == 200 else answer["error"]
        if self._socket is None or self._socket.closed:
            self._socket = await self._client.ws_connect(f"{self._url}/v1/responses", max_msg_size=0)
        await self._socket.send_str(json.dumps({"type": "response.create", **body}))
        while True:
            event = json.loads((await self._socket.receive()).data)
            if event["type"] == "error":
                return event["error"]
            if event["type"] in ("response.completed", "response.incomplete", "response.failed"):
                return event["response"]

    async def _start(self) -> None:
        app = build_app(self._config)
        self._parts = contextlib.AsyncExitStack()
        await self._parts.enter_async_context(app.opened())
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        settings = ServeSettings(port=0, drain_grace_s=5.0)
        self._server = LineServer(app.asgi, app.drain, settings, on_started=lambda _, port: started.set_result(port))
        self._serving = asyncio.create_task(self._server.run())
        await asyncio.wait({self._serving, started}, return_when=asyncio.FIRST_COMPLETED)
        assert started.done(), "the server did not start"
        self._url = f"http://127.0.0.1:{started.result()}"

    async def _stop(self) -> None:
        await self.reconnect()
        self._server.stop()
        assert await self._serving == 0
        await self._parts.aclose()
