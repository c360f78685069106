"""Backups of the tables of `KEPT`, in archives.

A transaction here lasts as long as the work: what it reads is of one moment, what it writes is there as a whole or not
at all. It waits for the disk, and for nobody else.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.features.backups.domain.backup import FORMAT, BackupBusy, BackupUnusable, Brought, KeptTable, Manifest
from app.features.backups.repository.archive import ArchiveReader, ArchiveWriter
from app.features.backups.repository.rows import TableRows
from app.features.backups.tables import KEPT, Kept
from app.infra.db.engine import session_of
from app.kernel.clock import Clock
from app.kernel.transaction import Begin

LOCK = 0x706F_7274_6963_6F62
"""of one backup at a time in a database ("porticob")"""
STATEMENT_TIMEOUT_S = 60
# how values are written as text, whatever the server is set to
_AS_TEXT = (
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO, YMD'",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL extra_float_digits = 1",
    f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S}s'",
)


class PostgresBackups:
    def __init__(self, begin: Begin, clock: Clock, kept: Sequence[Kept] = KEPT) -> None:
        self._begin = begin
        self._clock = clock
        self._tables = [TableRows(one) for one in kept]

    async def save(self, file: Path, *, agents: Sequence[str]) -> Manifest:
        writer = await asyncio.to_thread(ArchiveWriter, file)
        try:
            async with self._begin() as tx:
                session = session_of(tx)
                await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
                await _prepare(session)
                revision = str(await session.scalar(text("SELECT version_num FROM alembic_version")))
                tables = {one.name: await _save(session, one, writer) for one in self._tables}
            manifest = Manifest(FORMAT, self._clock.now(), revision, tables, tuple(sorted(agents)))
            await asyncio.to_thread(writer.finish, manifest)
        except BaseException:
            writer.give_up()
            raise
        return manifest

    async def look(self, file: Path) -> Manifest:
        def read() -> Manifest:
            with ArchiveReader(file) as archive:
                archive.check()
                return archive.manifest

        manifest = await asyncio.to_thread(read)
        known = {one.name: one for one in self._tables}
        for name, kept in manifest.tables.items():
            if name not in known:
                raise BackupUnusable(f"{name} is no table of this version: upgrade this one first.")
            known[name].check_columns(kept.columns)
        return manifest

    async def bring_back(self, file: Path) -> Mapping[str, Brought]:
        await self.look(file)
        with await asyncio.to_thread(ArchiveReader, file) as archive:
            try:
                async with self._begin() as tx:
                    session = session_of(tx)
                    await _prepare(session)
                    brought = {
                        one.name: await _bring_back(session, one, archive)
                        for one in self._tables
                        if one.name in archive.manifest.tables
                    }
                    for one in self._tables:
                        for statement in one.counters().values():
                            await session.execute(text(statement))
            except (DataError, IntegrityError) as error:
                raise BackupUnusable(
                    "A row of the archive does not fit. Nothing was changed.", evidence={"cause": repr(error)}
                ) from error
        return brought


async def _prepare(session: AsyncSession) -> None:
    """Errors: BackupBusy."""
    for statement in _AS_TEXT:
        await session.execute(text(statement))
    if not await session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": LOCK}):
        raise BackupBusy("Wait until it is done, and try again.")


async def _save(session: AsyncSession, rows: TableRows, writer: ArchiveWriter) -> KeptTable:
    await asyncio.to_thread(writer.begin, rows.name)
    async for lines in rows.read(session):
        await asyncio.to_thread(writer.add, lines)
    return await asyncio.to_thread(writer.end, rows.columns)


async def _bring_back(session: AsyncSession, rows: TableRows, archive: ArchiveReader) -> Brought:
    total = Brought()
    batches = archive.batches(rows.name, at_once=rows.kept.at_once)
    while (lines := await asyncio.to_thread(next, batches, None)) is not None:
        part = await rows.bring_back(session, lines)
        total = Brought(total.restored + part.restored, total.same + part.same, total.newer + part.newer)
    return total
