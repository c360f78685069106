"""Read what is known of an attachment, and what is in it."""

from dataclasses import dataclass

from app.features.attachments.domain.attachment import Attachment, AttachmentNotFound
from app.features.attachments.ports import AttachmentStore
from app.features.attachments.use_cases.access import open_attachment
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.identity import Principal
from app.kernel.ids import AttachmentId
from app.kernel.transaction import Begin

READ = "attachment.read"


@dataclass(frozen=True, slots=True)
class ReadAttachment:
    """Errors: AttachmentNotFound."""

    begin: Begin
    store: AttachmentStore
    audit: AuditTrail

    async def __call__(self, who: Principal, attachment_id: AttachmentId) -> Attachment:
        async with self.begin() as tx:
            found = await open_attachment(self.store, tx, who, attachment_id)
            await record_on_others(self.audit, tx, who, READ, attachment_id, owner=found.owner)
            return found


@dataclass(frozen=True, slots=True)
class ReadContent:
    """Give a file with its content; without it where the caller has it already, by its digest or by any ("*").

    Errors: AttachmentNotFound.
    """

    begin: Begin
    store: AttachmentStore
    audit: AuditTrail

    async def __call__(
        self, who: Principal, attachment_id: AttachmentId, *, known: frozenset[str] = frozenset()
    ) -> tuple[Attachment, bytes | None]:
        async with self.begin() as tx:
            found = await open_attachment(self.store, tx, who, attachment_id)
            await record_on_others(self.audit, tx, who, READ, attachment_id, owner=found.owner)
            if known & {found.digest_text, "*"}:
                return found, None
            contents = await self.store.read(tx, [attachment_id], owner=found.owner)
        if attachment_id not in contents:  # deleted between the two
            raise AttachmentNotFound
        return found, contents[attachment_id]
