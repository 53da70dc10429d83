"""The store of a server whose configuration names none. `app.build_app` makes it, `App.opened` opens it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import structlog

from landline.stores import is_claimed
from landline.stores.private_files import make_data_folder
from landline.stores.store import Store

_log = structlog.stdlib.get_logger(__name__)


def default_store(folder: Path, make: Callable[[str], Store]) -> Store:
    """The SQLite file of the data folder, or memory where another server has that file or nothing can be written there.

    Which of them is decided by its `open`: until then nothing is touched. `make` makes a store of a URL.
    """
    return cast("Store", _DefaultStore(folder / "landline.db", make))


def chosen_store(store: Store) -> Store:
    """The store itself; of a default one that is open, the one that it chose."""
    return store.chosen if isinstance(store, _DefaultStore) else store


class _DefaultStore:
    """Forwards everything but the choice: the users of a store hold it from before it is open."""

    def __init__(self, path: Path, make: Callable[[str], Store]) -> None:
        self._path = path
        self._make = make
        self._watch: tuple[Callable[[str], bool], Callable[[], Awaitable[None]]] | None = None
        self.chosen = make(f"sqlite:///{path}")

    async def open(self) -> None:
        if not self._is_free():
            _log.warning(
                "store_in_memory",
                path=str(self._path),
                reason="another server uses the file, or it cannot be written",
            )
            self.chosen = self._make("memory")  # the other one was never opened
            if self._watch is not None:
                self.chosen.watch_turns(*self._watch)
        await self.chosen.open()

    def watch_turns(self, is_running: Callable[[str], bool], catch_up: Callable[[], Awaitable[None]]) -> None:
        self._watch = (is_running, catch_up)
        self.chosen.watch_turns(is_running, catch_up)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.chosen, name)

    def _is_free(self) -> bool:
        try:
            make_data_folder(self._path.parent)
            return not is_claimed(str(self._path))
        except OSError:
            return False
