"""What outlives a connection: stored responses, conversations and the events of background responses."""

from landline.stores.memory import DEFAULT_MEMORY_BYTES, MemoryStore
from landline.stores.store import DEFAULT_RETENTION_S, DEFAULT_SYNCHRONOUS, DEFAULT_TIMEOUT_S, Store, Synchronous

__all__ = ["DEFAULT_MEMORY_BYTES", "is_claimed", "make_store"]


def make_store(
    url: str,
    *,
    retention_s: float = DEFAULT_RETENTION_S,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    synchronous: Synchronous = DEFAULT_SYNCHRONOUS,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> Store:
    """The store that a URL names, not yet open: `memory`, `sqlite:///PATH` or `postgresql://…`.

    `memory_bytes` bounds a store in memory. Raises ValueError for any other URL.
    """
    if url == "memory":
        return MemoryStore(retention_s, memory_bytes=memory_bytes)
    from landline.stores.sql import SqlStore  # noqa: PLC0415 - a server without a database need not load SQLAlchemy

    return SqlStore(url, retention_s, timeout_s=timeout_s, synchronous=synchronous)


def is_claimed(path: str) -> bool:
    """Whether a SQLite file cannot be used now: another server has it, or nothing can be written beside it."""
    from landline.stores.sql.sqlite import is_claimed  # noqa: PLC0415 - as above

    return is_claimed(path)
