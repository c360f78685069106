"""Keep a file."""

import asyncio
from dataclasses import dataclass

from app.features.attachments.domain.attachment import (
    MIB,
    ROOM,
    Attachment,
    AttachmentsFull,
    NewAttachment,
    Room,
    Upload,
    examine,
)
from app.features.attachments.ports import AttachmentStore
from app.kernel.identity import Principal
from app.kernel.ids import AttachmentId, new_run_id
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class KeepAttachment:
    """Keep what was sent, once: the same file, by its name, its type and its content, is the attachment there is.

    Errors: ValidationFailed, AttachmentTooLarge, AttachmentTypeRefused, AttachmentDigestMismatch, AttachmentsFull.
    """

    begin: Begin
    store: AttachmentStore

    async def __call__(self, who: Principal, upload: Upload, *, room: Room = ROOM) -> Attachment:
        found = await asyncio.to_thread(examine, upload)
        draft = NewAttachment(
            id=AttachmentId(new_run_id()),
            owner=who.user_id,
            name=found.name,
            media_type=found.media_type,
            digest=found.digest,
            content=upload.content,
        )
        async with self.begin() as tx:
            kept = await self.store.add(tx, draft, room=room)
        if kept is None:
            size_mb = room.size_bytes // MIB
            raise AttachmentsFull(f"One person keeps at most {room.files} files and {size_mb} MB; delete some first.")
        return kept
