"""Which errors of a database mean that it cannot be used now, and which mean a fault of this code."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from landline.stores.store import StoreError, StoreUnavailableError

_OUR_SQLSTATES = ("0A", "21", "22", "23", "42")
"""SQLSTATE classes of statements that are wrong or cannot be met. All others are the server's, the network's or another
session's doing: PostgreSQL, appendix A."""
_NO_PRIVILEGE = "42501"
_OUR_SQLITE_CODES = frozenset(
    (
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_RANGE,
    )
)
_TIMED_OUT = "it gave no answer in time"


@contextmanager
def store_errors(doing: str, *driver_errors: type[Exception]) -> Generator[None]:
    """Whatever SQLAlchemy, the system and the driver raise becomes a `StoreError`, and `StoreUnavailableError` where
    nothing is wrong but the database."""
    try:
        yield
    except (SQLAlchemyError, OSError, *driver_errors) as error:
        message = f"{doing} failed: {type(error).__name__}: {error}"
        if _is_our_fault(error):
            raise StoreError(message) from error
        raise StoreUnavailableError(message, _reason(error)) from error


def _is_our_fault(error: Exception) -> bool:
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(cause, "sqlstate", None)
    if isinstance(state, str):
        return state.startswith(_OUR_SQLSTATES) and state != _NO_PRIVILEGE
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)  # what the Python module itself refuses has none
        return code is None or code & 0xFF in _OUR_SQLITE_CODES
    # Of SQLAlchemy's own errors only this one is about the database; a driver's error without a code is of its connection.
    return isinstance(error, SQLAlchemyError) and not isinstance(error, DBAPIError | PoolTimeoutError)


def _reason(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return str(cause)
    if isinstance(cause, TimeoutError | PoolTimeoutError):
        return _TIMED_OUT
    return "it cannot be reached" if isinstance(cause, OSError) else type(cause).__name__
