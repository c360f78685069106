"""What the use cases of attachments, and of what they are given with, ask of the outside."""

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from app.features.attachments.domain.attachment import Attachment, NewAttachment, Room
from app.kernel.ids import AttachmentId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx


class AttachmentStore(Protocol):
    """Files by their owners; the same content is kept once, whosever it is. Errors: StorageUnavailable."""

    async def add(self, tx: Tx, draft: NewAttachment, *, room: Room) -> Attachment | None:
        """Keep a file; its owner's own of the same content, name and type, where there is one; None without room.

        Concurrency: of one owner one is added at a time; the same content is added and let go of one at a time.
        """
        ...

    async def find(self, tx: Tx, attachment_id: AttachmentId) -> Attachment | None: ...

    async def find_all(
        self, tx: Tx, ids: Sequence[AttachmentId], *, owner: UserId
    ) -> Mapping[AttachmentId, Attachment]:
        """Find those of these that are the owner's."""
        ...

    async def list(
        self, tx: Tx, query: ListQuery, *, owner: UserId | None, ids: Sequence[UUID] | None = None
    ) -> Page[Attachment]:
        """List one owner's, everybody's for None; the newest first unless the query orders otherwise."""
        ...

    async def read(self, tx: Tx, ids: Sequence[AttachmentId], *, owner: UserId) -> Mapping[AttachmentId, bytes]:
        """Read the contents of those of these that are the owner's. Cost: all of them in memory."""
        ...

    async def remove(self, tx: Tx, attachment_id: AttachmentId) -> bool:
        """Let go of a file, and of its content with the last that has it; False when it is gone already."""
        ...
