"""A table's rows as text, out of the database and back into it. SQL is written of our own tables' names alone."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ARRAY, Column, String, Text, bindparam, cast, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from app.features.backups.domain.backup import BackupOfOthers, BackupUnusable, Brought
from app.features.backups.repository.archive import Line
from app.features.backups.tables import Kept

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call] # as SQLAlchemy has it

type Key = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class TableRows:
    kept: Kept

    @property
    def name(self) -> str:
        return str(self.kept.table.name)

    @property
    def columns(self) -> Sequence[str]:
        """Those that are written; what the database computes it computes again."""
        return [str(column.name) for column in self.kept.table.columns if column.computed is None]

    @property
    def key(self) -> Sequence[str]:
        return [str(column.name) for column in self.kept.table.primary_key.columns]

    async def read(self, session: AsyncSession) -> AsyncIterator[list[Line]]:
        table = self.kept.table
        wanted = [cast(table.c[name], Text).label(name) for name in self.columns]
        statement = select(*wanted).order_by(*table.primary_key.columns)
        if self.kept.only is not None:
            statement = statement.where(self.kept.only)
        result = await session.stream(statement, execution_options={"yield_per": self.kept.at_once})
        async for rows in result.mappings().partitions():
            yield [{str(name): value for name, value in row.items()} for row in rows]

    async def bring_back(self, session: AsyncSession, lines: Sequence[Line]) -> Brought:
        """Errors: BackupOfOthers."""
        columns = list(lines[0])
        added = {tuple(row) for row in await self._run(session, self._insert(columns), columns, lines)}
        left = {key: line for line in lines if (key := self._key_of(line)) not in added}
        if not left:
            return Brought(restored=len(added))
        here = await self._run(session, self._find(columns, by=self.key), self.key, list(left.values()))
        same = 0
        for row in here:
            found = dict(zip(columns, row, strict=True))
            line = left.pop(self._key_of(found))
            if any(found[name] != line[name] for name in self.kept.identity if name in line):
                raise BackupOfOthers(
                    f"{self.name} {'/'.join(map(str, self._key_of(line)))} is something else here. Nothing was "
                    "changed; bring the archive back into the database it is of, or into an empty one."
                )
            same += found == line
        anew = await self._anew(session, left)
        if left:  # there is no such row, and yet it could not be added: something unique in it is taken
            key = next(iter(left))
            raise BackupOfOthers(
                f"{self.name} {'/'.join(map(str, key))} collides with another row. Nothing was changed."
            )
        return Brought(restored=len(added), same=same, newer=len(here) - same + anew)

    async def _anew(self, session: AsyncSession, left: dict[Key, Line]) -> int:
        """Take out, and count, what is here under another key."""
        unique = self.kept.unique
        if not (left and unique):
            return 0
        found = set(await self._run(session, self._find(unique, by=unique), unique, list(left.values())))
        anew = [key for key, line in left.items() if tuple(line[name] for name in unique) in found]
        for key in anew:
            del left[key]
        return len(anew)

    def check_columns(self, columns: Sequence[str]) -> None:
        """Errors: BackupUnusable."""
        unknown = sorted(set(columns) - set(self.columns))
        if unknown or not set(self.key) <= set(columns):
            words = f"has {', '.join(unknown)}" if unknown else "lacks its key"
            raise BackupUnusable(f"{self.name} {words}: the archive is of another version; upgrade this one first.")

    def _key_of(self, line: Line) -> Key:
        return tuple(line[name] for name in self.key)

    async def _run(
        self, session: AsyncSession, statement: str, columns: Sequence[str], lines: Sequence[Line]
    ) -> Sequence[Sequence[str | None]]:
        values = {f"c{at}": [line[name] for line in lines] for at, name in enumerate(columns)}
        typed = [bindparam(name, type_=ARRAY(Text)) for name in values]
        found = await session.execute(text(statement).bindparams(*typed), values)
        return [tuple(row) for row in found]

    def _insert(self, columns: Sequence[str]) -> str:
        names = ", ".join(f'"{name}"' for name in columns)
        return (
            f'INSERT INTO "{self.name}" ({names}) OVERRIDING SYSTEM VALUE '  # noqa: S608 - our own names
            f"SELECT {', '.join(self._typed(name) for name in columns)} FROM {_given(columns)} "
            f"ON CONFLICT DO NOTHING RETURNING {', '.join(_text(name) for name in self.key)}"
        )

    def _find(self, columns: Sequence[str], *, by: Sequence[str]) -> str:
        key = ", ".join(f'"{name}"' for name in by)
        wanted = ", ".join(self._typed(name) for name in by)
        shown = ", ".join(_text(name) for name in columns)
        return f'SELECT {shown} FROM "{self.name}" WHERE ({key}) IN (SELECT {wanted} FROM {_given(by)})'  # noqa: S608 - our own names

    def _typed(self, name: str) -> str:
        column: Column[object] = self.kept.table.c[name]
        if isinstance(column.type, String):  # whose cast would cut off what is too long
            return f'given."{name}"'
        return f'CAST(given."{name}" AS {column.type.compile(dialect=_DIALECT)})'

    def counters(self) -> Mapping[str, str]:
        """Give, for each column that is counted up, the statement that lets it count on behind what is there."""
        return {
            column.name: (
                f"SELECT setval(counter, greatest(coalesce(pg_sequence_last_value(counter), 1), "  # noqa: S608 - as above
                f'coalesce((SELECT max("{column.name}") FROM "{self.name}"), 1))) '
                f"FROM (SELECT pg_get_serial_sequence('\"{self.name}\"', '{column.name}')::regclass AS counter) AS it"
            )
            for column in self.kept.table.columns
            if column.identity is not None
        }


def _given(columns: Sequence[str]) -> str:
    arrays = ", ".join(f"CAST(:c{at} AS text[])" for at, _ in enumerate(columns))
    names = ", ".join(f'"{name}"' for name in columns)
    return f"unnest({arrays}) AS given({names})"


def _text(name: str) -> str:
    return f'CAST("{name}" AS text)'
