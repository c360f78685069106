"""Who may touch which attachment. Another person's is not found, exactly like one that does not exist."""

from app.features.attachments.domain.attachment import Attachment, AttachmentNotFound, may_touch
from app.features.attachments.ports import AttachmentStore
from app.kernel.identity import Principal
from app.kernel.ids import AttachmentId
from app.kernel.transaction import Tx


async def open_attachment(store: AttachmentStore, tx: Tx, who: Principal, attachment_id: AttachmentId) -> Attachment:
    """Errors: AttachmentNotFound."""
    found = await store.find(tx, attachment_id)
    if found is None or not may_touch(who, found):
        raise AttachmentNotFound
    return found
