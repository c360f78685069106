"""The table of visitors' conversations: `key` is the digest of an id that only the visitor has."""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import JSON, Index, LargeBinary, String, Table, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db.base import Base, Dated


class WidgetSessionRow(Dated, Base):
    """`history` is a list of `[role, content]`; `run_id` is that of the message that is being answered."""

    __tablename__ = "widget_sessions"
    __table_args__ = (Index(None, "widget", "expires_at"),)

    key: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    widget: Mapped[str] = mapped_column(String(64))
    history: Mapped[list[Any]] = mapped_column(JSON)  # Any: as said above
    turns: Mapped[int]
    run_id: Mapped[UUID | None] = mapped_column(Uuid)
    expires_at: Mapped[datetime]


SESSIONS = cast("Table", WidgetSessionRow.__table__)
