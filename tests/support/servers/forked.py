"""Server processes that start in a blink: forked from one that has everything imported."""

import multiprocessing
import socket
from multiprocessing.process import BaseProcess
from pathlib import Path

_PRELOADED = ["landline.app", "landline.config", "landline.stores.sql.tables", "landline.stores.sql.sqlite", "pytest"]
"""What a server imports before it is ready, with its database; and what starts the tests, which each child imports too."""


def serve(config: str, port: int) -> None:
    """Runs in the child: a whole Landline on that port."""
    from landline.app import run_server
    from landline.config import Config, Overrides, load_config

    loaded = load_config(Path(config), {}, Overrides(port=port))
    assert isinstance(loaded, Config), loaded
    run_server(loaded, on_started=lambda *_: None)


class ServerFork:
    """Starts such processes, one after the other."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)

    def start(self) -> tuple[BaseProcess, str]:
        """A new process and its URL; not ready yet."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        process = self._context.Process(target=serve, args=(str(self._config), port), daemon=True)
        process.start()
        return process, f"http://127.0.0.1:{port}"
