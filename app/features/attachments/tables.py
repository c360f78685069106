"""The tables of attachments: who has which file, and each content once.

Facts
- What is kept is compressed already, or small: `EXTERNAL` lets the database keep it as it is, outside of the row.
- No constraint holds a file of an owner once: whoever adds one takes the owner's turn, and a backup may bring back one
  that was deleted and sent again since.
"""

from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Table, Uuid, func
from sqlalchemy.orm import Mapped, mapped_column

from app.features.attachments.domain.names import NAME_LIMIT_CHARS
from app.infra.db.base import Base


class AttachmentBlobRow(Base):
    """`digest` is the content's SHA-256."""

    __tablename__ = "attachment_blobs"

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class AttachmentRow(Base):
    __tablename__ = "attachments"
    __table_args__ = (Index(None, "owner", "id"), Index(None, "digest"))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    owner: Mapped[str] = mapped_column(String(255))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), ForeignKey("attachment_blobs.digest"))
    name: Mapped[str] = mapped_column(String(NAME_LIMIT_CHARS))
    media_type: Mapped[str] = mapped_column(String(100))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


BLOBS = cast("Table", AttachmentBlobRow.__table__)
ATTACHMENTS = cast("Table", AttachmentRow.__table__)
