"""What outlives a connection: stored responses, conversations and the events of background responses."""

from landline.stores.memory import MemoryStore
from landline.stores.store import DEFAULT_RETENTION_S, Store

__all__ = ["make_store"]


def make_store(url: str, *, retention_s: float = DEFAULT_RETENTION_S) -> Store:
    """The store that a URL names, not yet open: `memory`, `sqlite:///PATH` or `postgresql://…`."""
    if url == "memory":
        return MemoryStore(retention_s)
    raise ValueError(f"expected `memory`, `sqlite:///PATH` or `postgresql://…`, got {url!r}")
