"""What clients get of attachments; interface contracts, field by field."""

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from msgspec import Struct

from app.features.attachments.domain.attachment import Attachment
from app.kernel.paging import Page


class AttachmentOut(Struct, frozen=True, kw_only=True):
    """`digest` is `sha256:` and the content's digest in hexadecimal."""

    id: str
    user_id: str
    name: str
    media_type: str
    size_bytes: int
    digest: str
    created_at: datetime

    @classmethod
    def of(cls, attachment: Attachment) -> Self:
        return cls(
            id=str(attachment.id),
            user_id=attachment.owner,
            name=attachment.name,
            media_type=attachment.media_type,
            size_bytes=attachment.size_bytes,
            digest=attachment.digest_text,
            created_at=attachment.created_at,
        )


class AttachmentPageOut(Struct, frozen=True):
    items: Sequence[AttachmentOut]
    total: int
    limit: int
    offset: int

    @classmethod
    def of(cls, page: Page[Attachment]) -> Self:
        return cls([AttachmentOut.of(one) for one in page.items], page.total, page.limit, page.offset)
