"""What the slice adds to the container. It asks others for `Begin` and the audit."""

from dishka import Provider, Scope, provide, provide_all

from app.features.attachments.ports import AttachmentStore
from app.features.attachments.repository import PostgresAttachmentStore
from app.features.attachments.use_cases.delete_attachment import DeleteAttachment
from app.features.attachments.use_cases.keep_attachment import KeepAttachment
from app.features.attachments.use_cases.list_attachments import ListAttachments
from app.features.attachments.use_cases.read_attachment import ReadAttachment, ReadContent


class AttachmentStores(Provider):
    """The store by its port, so that a provider given after this one replaces it."""

    scope = Scope.APP

    store = provide(PostgresAttachmentStore, provides=AttachmentStore)


class AttachmentsProvider(Provider):
    """What is done for requests."""

    scope = Scope.APP

    use_cases = provide_all(KeepAttachment, ListAttachments, ReadAttachment, ReadContent, DeleteAttachment)
