"""Delete an attachment."""

from dataclasses import dataclass

from app.features.attachments.domain.attachment import AttachmentNotFound
from app.features.attachments.ports import AttachmentStore
from app.features.attachments.use_cases.access import open_attachment
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.identity import Principal
from app.kernel.ids import AttachmentId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class DeleteAttachment:
    """Let go of a file for good; messages it was given with keep its name. Errors: AttachmentNotFound."""

    begin: Begin
    store: AttachmentStore
    audit: AuditTrail

    async def __call__(self, who: Principal, attachment_id: AttachmentId) -> None:
        async with self.begin() as tx:
            found = await open_attachment(self.store, tx, who, attachment_id)
            await record_on_others(self.audit, tx, who, "attachment.deleted", attachment_id, owner=found.owner)
            if not await self.store.remove(tx, attachment_id):
                raise AttachmentNotFound
