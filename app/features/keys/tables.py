"""The table of API keys. `digest` is the SHA-256 of the secret; why nothing slower, `kernel/api_keys.py` says."""

from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import ARRAY, Index, LargeBinary, String, Table, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db.base import Base, Dated


class ApiKeyRow(Dated, Base):
    __tablename__ = "api_keys"
    __table_args__ = (Index(None, "owner", "id"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    owner: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(100))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    roles: Mapped[list[str]] = mapped_column(ARRAY(String(255)))
    scopes: Mapped[list[str]] = mapped_column(ARRAY(String(255)))
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


KEYS = cast("Table", ApiKeyRow.__table__)
