"""Statements on the driver's own connection: each statement a transaction of its own, and one round trip.

What is asked many times a turn goes this way. SQLAlchemy keeps the connections and writes the SQL, once a statement; it
takes no part in what goes over them: a small statement costs half as much, each one more on the same connection a
third.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import asyncpg
from sqlalchemy import PoolProxiedConnection, Select, TextClause
from sqlalchemy.engine import Engine
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.util.concurrency import greenlet_spawn

NOTHING: Final[Mapping[str, object]] = {}

type Statement = TextClause | Select[Any]  # Any: the columns of a row have no type of their own


class Row(asyncpg.Record):  # type: ignore[misc] # asyncpg has no types
    """A row whose columns are attributes, too."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:  # Any: as the column is
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Rows:
    """What a statement gave, all of it. Errors of what asks for one: RuntimeError, where there is another number."""

    __slots__ = ("_rows",)

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def all(self) -> list[Row]:
        return self._rows

    def first(self) -> Row | None:
        return self._rows[0] if self._rows else None

    def one(self) -> Row:
        if len(self._rows) != 1:
            raise RuntimeError(f"{len(self._rows)} rows where there should be one")
        return self._rows[0]

    def scalar_one(self) -> Any:  # Any: as the first column is
        return self.one()[0]

    def scalar_one_or_none(self) -> Any:  # Any: as above
        return self.one()[0] if self._rows else None


class Statements:
    """One connection of the pool, from the first statement until `aclose`. Concurrency: of one task."""

    __slots__ = ("_connection", "_engine")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: PoolProxiedConnection | None = None

    async def execute(self, statement: Statement, values: Mapping[str, object] = NOTHING) -> Rows:
        """Errors: what `translated` knows."""
        written = _written(statement, self._engine)
        arguments = written.arguments(values)
        if self._connection is None:
            self._connection = await greenlet_spawn(self._engine.raw_connection)
        driver: Any = self._connection.driver_connection  # Any: as above
        try:
            rows = await driver.fetch(written.sql, *arguments, record_class=Row)
        except asyncpg.PostgresError:  # it was answered
            raise
        except BaseException:  # cancelled, or cut off: whatever comes over this connection now is no answer of ours
            self._connection.invalidate()
            self._connection = None
            raise
        return Rows(rows)

    async def aclose(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await greenlet_spawn(connection.close)


@dataclass(frozen=True, slots=True)
class _Written:
    """A statement as the driver takes it: its SQL, the names of its values in their order, and those it brings."""

    sql: str
    names: Sequence[str]
    known: Mapping[str, object]

    def arguments(self, values: Mapping[str, object]) -> list[object]:
        return [values[name] if name in values else self.known[name] for name in self.names]


_WRITTEN: WeakKeyDictionary[Statement, _Written] = WeakKeyDictionary()


def _written(statement: Statement, engine: Engine) -> _Written:
    """Errors: TypeError, where SQLAlchemy would have something to do with the values."""
    found = _WRITTEN.get(statement)
    if found is None:
        compiled = statement.compile(dialect=engine.dialect)
        if compiled.post_compile_params or any(_is_worked_on(compiled)):
            raise TypeError(f"its values are not the driver's: {statement}")
        known = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        found = _WRITTEN[statement] = _Written(str(compiled), tuple(compiled.positiontup or ()), known)
    return found


def _is_worked_on(compiled: SQLCompiler) -> Iterator[bool]:
    for bind in compiled.binds.values():
        yield bind.type.dialect_impl(compiled.dialect).bind_processor(compiled.dialect) is not None
