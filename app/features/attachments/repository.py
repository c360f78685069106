"""Attachments in PostgreSQL.

Whoever adds takes the owner's turn, then the content's; whoever lets go takes the content's alone. So none of them
waits for one that waits for it, and no content goes while somebody is given it.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.features.attachments.domain.attachment import Attachment, NewAttachment, Room
from app.features.attachments.tables import ATTACHMENTS, BLOBS
from app.infra.db.engine import session_of
from app.infra.db.listing import conditions, page_of
from app.kernel.ids import AttachmentId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:word, 4400))")
# one that is deleted, and was the last: asked for again in the turn of its content
_DROP = delete(BLOBS).where(~select(ATTACHMENTS.c.id).where(ATTACHMENTS.c.digest == BLOBS.c.digest).exists())
# nothing changes a file behind its making
_LISTED = {**dict(ATTACHMENTS.c), "updated_at": ATTACHMENTS.c.created_at}


class PostgresAttachmentStore:
    async def add(self, tx: Tx, draft: NewAttachment, *, room: Room) -> Attachment | None:
        session = session_of(tx)
        await _take_turn(session, f"owner {draft.owner}")
        if (known := await self._same(session, draft)) is not None:
            return known
        if not await self._has_room(session, draft, room):
            return None
        await _take_turn(session, f"content {draft.digest.hex()}")
        size = len(draft.content)
        if await session.scalar(select(BLOBS.c.size_bytes).where(BLOBS.c.digest == draft.digest)) is None:
            content = {"digest": draft.digest, "size_bytes": size, "content": draft.content}
            await session.execute(insert(BLOBS).values(content))
        values = {
            "id": draft.id,
            "owner": draft.owner,
            "digest": draft.digest,
            "name": draft.name,
            "media_type": draft.media_type,
            "size_bytes": size,
        }
        return _attachment((await session.execute(insert(ATTACHMENTS).values(values).returning(ATTACHMENTS))).one())

    async def find(self, tx: Tx, attachment_id: AttachmentId) -> Attachment | None:
        row = (await session_of(tx).execute(select(ATTACHMENTS).where(ATTACHMENTS.c.id == attachment_id))).first()
        return None if row is None else _attachment(row)

    async def find_all(
        self, tx: Tx, ids: Sequence[AttachmentId], *, owner: UserId
    ) -> Mapping[AttachmentId, Attachment]:
        meant = (ATTACHMENTS.c.id.in_(ids), ATTACHMENTS.c.owner == owner)
        rows = await session_of(tx).execute(select(ATTACHMENTS).where(*meant))
        return {AttachmentId(row.id): _attachment(row) for row in rows}

    async def list(
        self, tx: Tx, query: ListQuery, *, owner: UserId | None, ids: Sequence[UUID] | None = None
    ) -> Page[Attachment]:
        wanted = [*conditions(_LISTED, query)]
        if owner is not None:
            wanted.append(ATTACHMENTS.c.owner == owner)
        if ids is not None:
            wanted.append(ATTACHMENTS.c.id.in_(ids))
        rows, total = await page_of(tx, select(ATTACHMENTS), _LISTED, wanted, query)
        return Page([_attachment(row) for row in rows], total, query.limit, query.offset)

    async def read(self, tx: Tx, ids: Sequence[AttachmentId], *, owner: UserId) -> Mapping[AttachmentId, bytes]:
        wanted = (
            select(ATTACHMENTS.c.id, BLOBS.c.content)
            .join_from(ATTACHMENTS, BLOBS, BLOBS.c.digest == ATTACHMENTS.c.digest)
            .where(ATTACHMENTS.c.id.in_(ids), ATTACHMENTS.c.owner == owner)
        )
        return {AttachmentId(row.id): row.content for row in await session_of(tx).execute(wanted)}

    async def remove(self, tx: Tx, attachment_id: AttachmentId) -> bool:
        session = session_of(tx)
        digest = await session.scalar(select(ATTACHMENTS.c.digest).where(ATTACHMENTS.c.id == attachment_id))
        if digest is None:
            return False
        await _take_turn(session, f"content {digest.hex()}")
        meant = ATTACHMENTS.c.id == attachment_id
        gone = await session.execute(delete(ATTACHMENTS).where(meant).returning(ATTACHMENTS.c.id))
        is_gone = gone.first() is not None
        await session.execute(_DROP.where(BLOBS.c.digest == digest))
        return is_gone

    async def _same(self, session: AsyncSession, draft: NewAttachment) -> Attachment | None:
        same = select(ATTACHMENTS).where(
            ATTACHMENTS.c.owner == draft.owner,
            ATTACHMENTS.c.digest == draft.digest,
            ATTACHMENTS.c.name == draft.name,
            ATTACHMENTS.c.media_type == draft.media_type,
        )
        row = (await session.execute(same.order_by(ATTACHMENTS.c.id).limit(1))).first()
        return None if row is None else _attachment(row)

    async def _has_room(self, session: AsyncSession, draft: NewAttachment, room: Room) -> bool:
        counted = select(func.count(), func.coalesce(func.sum(ATTACHMENTS.c.size_bytes), 0))
        files, size_bytes = (await session.execute(counted.where(ATTACHMENTS.c.owner == draft.owner))).one()
        return bool(files < room.files and size_bytes + len(draft.content) <= room.size_bytes)


async def _take_turn(session: AsyncSession, word: str) -> None:
    await session.execute(_LOCK, {"word": f"attachments: {word}"})


def _attachment(row: Row[Any]) -> Attachment:  # Any: the columns, which have no type of their own
    return Attachment(
        id=AttachmentId(row.id),
        owner=UserId(row.owner),
        name=row.name,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        digest=row.digest,
        created_at=row.created_at,
    )
