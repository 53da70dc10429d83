"""A store of each kind."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from landline.stores import make_store
from landline.stores.store import Store
from support.stores.postgres import PostgresServer, postgres

__all__ = ["postgres"]

RETENTION_S = 100.0

_ALL_KINDS = ["memory", "sqlite", "postgresql"]
DURABLE_KINDS = ["sqlite", "postgresql"]

UrlMaker = Callable[[str], str]


@pytest.fixture
def new_url(tmp_path: Path, request: pytest.FixtureRequest) -> UrlMaker:
    """Makes the URL of a new, empty store of a kind."""

    def make(kind: str) -> str:
        if kind == "memory":
            return "memory"
        if kind == "sqlite":
            return f"sqlite:///{tmp_path}/store.db"
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.create_database()

    return make


@pytest.fixture(params=_ALL_KINDS)
async def store(request: pytest.FixtureRequest, new_url: UrlMaker) -> AsyncIterator[Store]:
    """An open, empty store."""
    opened = make_store(new_url(request.param), retention_s=RETENTION_S)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture(params=DURABLE_KINDS)
def durable_url(request: pytest.FixtureRequest, new_url: UrlMaker) -> str:
    """The URL of an empty store that outlives its process."""
    return new_url(request.param)
