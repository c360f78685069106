"""Memories and notes in PostgreSQL. Whoever writes for a person takes his turn, so that bounds are kept exactly."""

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.agents.house import NOTE_LIMIT_BYTES, Note, NoteStale
from app.features.memory.domain import Kept
from app.features.memory.tables import MEMORIES, NOTES
from app.infra.db.engine import session_of
from app.infra.db.listing import conditions, page_of
from app.infra.wire.json_text import written
from app.kernel.ids import UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.storable import storable_json, storable_text
from app.kernel.transaction import Tx
from app.kernel.values import Json

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:owner, 4022))")
_COUNT = text("SELECT count(*) FROM memories WHERE owner = :owner")
_COLUMNS = "id, owner, text, tags, created_at, updated_at"
_KNOWN = text(f"SELECT {_COLUMNS} FROM memories WHERE owner = :owner AND digest = :digest")  # noqa: S608 - our own words
_SEARCH = "to_tsvector('simple', :words) || to_tsvector('english', :words)"
_ADD = text(f"""
INSERT INTO memories (owner, digest, text, tags, search)
VALUES (:owner, :digest, :text, CAST(:tags AS varchar[]), {_SEARCH}) RETURNING {_COLUMNS}""")  # noqa: S608 - as above
_TAG = text(f"""
UPDATE memories SET tags = CAST(:tags AS varchar[]), search = {_SEARCH}, updated_at = now()
WHERE owner = :owner AND digest = :digest RETURNING {_COLUMNS}""")  # noqa: S608 - as above
# any of the words, not all of them: the best match is what shares most
_RECALL = text(f"""
SELECT {_COLUMNS} FROM memories, LATERAL (
  SELECT CAST(replace(CAST(plainto_tsquery('simple', :query) AS text), '&', '|') AS tsquery)
    || CAST(replace(CAST(plainto_tsquery('english', :query) AS text), '&', '|') AS tsquery) AS wanted) AS asked
WHERE owner = :owner AND search @@ wanted ORDER BY ts_rank(search, wanted) DESC, id DESC LIMIT :limit""")  # noqa: S608 - as above
_NEWEST = text(f"SELECT {_COLUMNS} FROM memories WHERE owner = :owner ORDER BY id DESC LIMIT :limit")  # noqa: S608 - as above

_READ = text("SELECT revision, document FROM agent_notes WHERE owner = :owner AND thread = :thread AND name = :name")
_WRITE = text("""
INSERT INTO agent_notes (owner, thread, name, revision, document)
VALUES (:owner, :thread, :name, :revision, CAST(:document AS json))
ON CONFLICT (owner, thread, name) DO UPDATE
SET revision = excluded.revision, document = excluded.document, written_at = now()""")
_TRIM = text("""
DELETE FROM agent_notes WHERE owner = :owner AND (thread, name) IN (
  SELECT thread, name FROM agent_notes WHERE owner = :owner ORDER BY written_at DESC, thread, name OFFSET :at_most)""")


class PostgresMemoryStore:
    async def remember(self, tx: Tx, owner: UserId, text: str, tags: Sequence[str], *, at_most: int) -> Kept | None:
        session, text = session_of(tx), storable_text(text)
        clean = [storable_text(tag) for tag in tags]
        ours = {"owner": owner, "digest": hashlib.sha256(text.encode()).digest()}
        await _take_turn(session, owner)
        known = (await session.execute(_KNOWN, ours)).first()
        if known is not None:
            together = list(dict.fromkeys((*known.tags, *clean)))
            if together == list(known.tags):
                return _kept(known)
            values = {**ours, "tags": together, "words": " ".join((text, *together))}
            return _kept((await session.execute(_TAG, values)).one())
        if (await session.execute(_COUNT, {"owner": owner})).scalar_one() >= at_most:
            return None
        values = {**ours, "text": text, "tags": clean, "words": " ".join((text, *clean))}
        return _kept((await session.execute(_ADD, values)).one())

    async def recall(self, tx: Tx, owner: UserId, query: str, *, limit: int) -> Sequence[Kept]:
        wanted = storable_text(query).strip()
        values: dict[str, object] = {"owner": owner, "limit": limit}
        statement = _RECALL if wanted else _NEWEST
        found = await session_of(tx).execute(statement, {**values, "query": wanted} if wanted else values)
        return [_kept(row) for row in found]

    async def list(self, tx: Tx, owner: UserId, query: ListQuery) -> Page[Kept]:
        wanted = [MEMORIES.c.owner == owner, *conditions(MEMORIES.c, query)]
        if query.ids is not None:
            wanted.append(MEMORIES.c.id.in_(query.ids))
        rows, total = await page_of(tx, select(MEMORIES), MEMORIES.c, wanted, query)
        return Page([_kept(row) for row in rows], total, query.limit, query.offset)

    async def forget(self, tx: Tx, owner: UserId, memory_id: int) -> bool:
        wanted = (MEMORIES.c.owner == owner, MEMORIES.c.id == memory_id)
        gone = await session_of(tx).execute(delete(MEMORIES).where(*wanted).returning(MEMORIES.c.id))
        return gone.first() is not None

    async def forget_all(self, tx: Tx, owner: UserId) -> int:
        gone = await session_of(tx).execute(delete(MEMORIES).where(MEMORIES.c.owner == owner).returning(MEMORIES.c.id))
        return len(gone.all())


class PostgresNoteStore:
    async def read(self, tx: Tx, owner: UserId, thread: str, name: str) -> Note:
        row = (await session_of(tx).execute(_READ, {"owner": owner, "thread": thread, "name": name})).first()
        return Note() if row is None else Note(row.revision, row.document)

    async def write(
        self, tx: Tx, owner: UserId, thread: str, name: str, document: Json, *, over: int | None, at_most: int
    ) -> Note:
        session, clean = session_of(tx), storable_json(document)
        content = written(clean, limit_bytes=NOTE_LIMIT_BYTES)
        await _take_turn(session, owner)
        now = await self.read(tx, owner, thread, name)
        if over is not None and now.revision != over:
            if now.revision == over + 1 and now.document == clean:
                return now
            raise NoteStale(now)
        new = Note(now.revision + 1, clean)
        values = {"owner": owner, "thread": thread, "name": name, "revision": new.revision, "document": content}
        await session.execute(_WRITE, values)
        if now.revision == 0:
            await session.execute(_TRIM, {"owner": owner, "at_most": at_most})
        return new

    async def forget_all(self, tx: Tx, owner: UserId) -> None:
        await session_of(tx).execute(delete(NOTES).where(NOTES.c.owner == owner))


async def _take_turn(session: AsyncSession, owner: UserId) -> None:
    await session.execute(_LOCK, {"owner": f"memory {owner}"})


def _kept(row: Row[Any]) -> Kept:  # Any: the columns, which have no type of their own
    return Kept(row.id, UserId(row.owner), row.text, tuple(row.tags), row.created_at, row.updated_at)
