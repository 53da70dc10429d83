"""Statements of every turn, compiled once: SQLAlchemy takes ten times as long to look one up and run it as SQLite does to
do what it says."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec
from sqlalchemy import Connection, Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

Rows = Sequence[tuple[Any, ...]]
"""Of a result: its values as the driver gives them, so that a Boolean of SQLite is 0 or 1."""


class Prepared:
    """A statement and, per dialect, its text and the order of its parameters. What it binds itself is
    part of it, but for the members of an `IN`, whose number SQLAlchemy only knows when it runs it."""

    def __init__(self, statement: ClauseElement, parameters: Sequence[str] | None = None) -> None:
        """`parameters` names the columns that an INSERT is given."""
        self._statement = statement
        self._parameters = list(parameters) if parameters is not None else None
        self._texts: dict[str, _Text] = {}

    def run(self, connection: Connection, values: Mapping[str, object]) -> Rows:
        """Runs it inside the caller's transaction, and returns the rows that it gives. Raises what the driver raises."""
        text = self._text_for(connection)
        if connection.dialect.name == "sqlite":
            return _driver_of(connection).execute(text.sql, text.bind(values)).fetchall()
        result = connection.exec_driver_sql(text.sql, text.bind(values))
        return cast(Rows, result.all()) if result.returns_rows else ()

    def run_each(self, connection: Connection, values: Sequence[Mapping[str, object]]) -> None:
        """Runs it once for each; what it gives is left unread."""
        text = self._text_for(connection)
        bound = [text.bind(each) for each in values]
        if connection.dialect.name == "sqlite":
            _driver_of(connection).executemany(text.sql, bound)
        else:
            connection.exec_driver_sql(text.sql, bound)

    def _text_for(self, connection: Connection) -> "_Text":
        dialect = connection.dialect
        found = self._texts.get(dialect.name)
        if found is None:
            found = self._texts[dialect.name] = _compile(self._statement, dialect, self._parameters)
        return found


class _Parameter(msgspec.Struct, frozen=True):
    """One place in the text."""

    name: str
    own_value: object
    """Where the statement binds it itself."""
    convert: Callable[[Any], object] | None
    """To what the driver takes."""


class _Text(msgspec.Struct, frozen=True):
    """A statement as one dialect writes it."""

    sql: str
    parameters: tuple[_Parameter, ...]

    def bind(self, values: Mapping[str, object]) -> tuple[object, ...]:
        """The values in the text's order."""
        return tuple(
            [
                (value if each.convert is None else each.convert(value))
                for each in self.parameters
                for value in (values.get(each.name, each.own_value),)
            ]
        )


def _compile(statement: ClauseElement, dialect: Dialect, parameters: list[str] | None) -> _Text:
    compiled = statement.compile(dialect=dialect, column_keys=parameters)
    assert isinstance(compiled, SQLCompiler)
    own_values = compiled.params
    return _Text(
        str(compiled),
        tuple(
            _Parameter(name, own_values[name], compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
            for name in compiled.positiontup or ()
        ),
    )


def _driver_of(connection: Connection) -> Any:
    return connection.connection.driver_connection
