"""The tables of approvals. Neither the run nor the chat is a foreign key: what was decided stays when they are gone."""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import JSON, BigInteger, CheckConstraint, Index, String, Table, Text, UniqueConstraint, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db.base import Base, Dated

# Any: JSON of whatever a tool takes
type Document = dict[str, Any]


class ApprovalRow(Dated, Base):
    """`key` names the request within its run."""

    __tablename__ = "approvals"
    __table_args__ = (
        UniqueConstraint("run_id", "key"),
        CheckConstraint("status IN ('pending', 'approved', 'denied', 'expired')", name="status"),
        CheckConstraint("(status IN ('approved', 'denied')) = (decided_by IS NOT NULL)", name="decided"),
        Index(None, "owner", "id"),
        Index("ix_approvals_chat", "chat_id", "id", postgresql_where=text("chat_id IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    run_id: Mapped[UUID] = mapped_column(Uuid)
    key: Mapped[str] = mapped_column(String(512))
    chat_id: Mapped[int | None] = mapped_column(BigInteger)
    owner: Mapped[str] = mapped_column(String(255))
    agent: Mapped[str] = mapped_column(String(255))
    tool_call_id: Mapped[str] = mapped_column(Text)
    tool: Mapped[str] = mapped_column(String(255))
    risk: Mapped[str] = mapped_column(String(32))
    arguments: Mapped[Document] = mapped_column(JSON)
    digest: Mapped[str] = mapped_column(String(64))
    question: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    scope: Mapped[str | None] = mapped_column(String(8))
    edited: Mapped[Document | None] = mapped_column(JSON(none_as_null=True), nullable=True)
    decided_by: Mapped[str | None] = mapped_column(String(255))
    decided_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]


class StandingApprovalRow(Dated, Base):
    """A tool that is always approved for an agent in a chat; `approval_id` is the request that was answered so."""

    __tablename__ = "standing_approvals"

    chat_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    agent: Mapped[str] = mapped_column(String(255), primary_key=True)
    tool: Mapped[str] = mapped_column(String(255), primary_key=True)
    approval_id: Mapped[UUID] = mapped_column(Uuid)
    given_by: Mapped[str] = mapped_column(String(255))


APPROVALS = cast("Table", ApprovalRow.__table__)
STANDING = cast("Table", StandingApprovalRow.__table__)
