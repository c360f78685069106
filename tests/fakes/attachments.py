"""Attachments in memory, held by the contract tests of the real ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from app.features.attachments.domain.attachment import Attachment, NewAttachment, Room
from app.kernel.ids import AttachmentId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx


@dataclass
class FakeAttachmentStore:
    kept: dict[AttachmentId, Attachment] = field(default_factory=dict)
    contents: dict[bytes, bytes] = field(default_factory=dict)

    async def add(self, tx: Tx, draft: NewAttachment, *, room: Room) -> Attachment | None:
        mine = [one for one in self.kept.values() if one.owner == draft.owner]
        same = [
            one
            for one in mine
            if (one.digest, one.name, one.media_type) == (draft.digest, draft.name, draft.media_type)
        ]
        if same:
            return same[0]
        size = len(draft.content)
        if len(mine) >= room.files or sum(one.size_bytes for one in mine) + size > room.size_bytes:
            return None
        self.contents.setdefault(draft.digest, draft.content)
        made = Attachment(draft.id, draft.owner, draft.name, draft.media_type, size, draft.digest, datetime.now(UTC))
        self.kept[made.id] = made
        return made

    async def find(self, tx: Tx, attachment_id: AttachmentId) -> Attachment | None:
        return self.kept.get(attachment_id)

    async def find_all(
        self, tx: Tx, ids: Sequence[AttachmentId], *, owner: UserId
    ) -> Mapping[AttachmentId, Attachment]:
        return {one: self.kept[one] for one in ids if one in self.kept and self.kept[one].owner == owner}

    async def list(
        self, tx: Tx, query: ListQuery, *, owner: UserId | None, ids: Sequence[UUID] | None = None
    ) -> Page[Attachment]:
        found = [one for one in self.kept.values() if owner in (None, one.owner) and (ids is None or one.id in ids)]
        if query.search is not None:
            found = [one for one in found if query.search.text.lower() in getattr(one, query.search.field).lower()]
        found.sort(key=lambda one: getattr(one, query.order_by or "id"), reverse=query.sort_order == "desc")
        return Page(found[query.offset : query.offset + query.limit], len(found), query.limit, query.offset)

    async def read(self, tx: Tx, ids: Sequence[AttachmentId], *, owner: UserId) -> Mapping[AttachmentId, bytes]:
        return {one: self.contents[file.digest] for one, file in (await self.find_all(tx, ids, owner=owner)).items()}

    async def remove(self, tx: Tx, attachment_id: AttachmentId) -> bool:
        gone = self.kept.pop(attachment_id, None)
        if gone is None:
            return False
        if all(one.digest != gone.digest for one in self.kept.values()):
            del self.contents[gone.digest]
        return True
