"""The tables of chats and messages. Rows never leave the repository."""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, Integer, String, Table, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from app.features.chats.domain.chat import TITLE_LIMIT_CHARS
from app.infra.db.base import Base, Dated, Numbered


class ChatRow(Numbered, Dated, Base):
    __tablename__ = "chats"
    __table_args__ = (Index(None, "user_id", "id"),)

    user_id: Mapped[str] = mapped_column(String(255))
    title: Mapped[str | None] = mapped_column(String(TITLE_LIMIT_CHARS))
    agent: Mapped[str | None] = mapped_column(String(255))
    # json keeps a document as it was written; jsonb would spell 1e308 out in 309 digits, past the size we checked.
    # Any: JSON of the client's own making. The attribute is not `metadata`, which SQLAlchemy keeps for itself.
    details: Mapped[dict[str, Any]] = mapped_column("metadata", JSON)
    deleted_at: Mapped[datetime | None]
    branch: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    branches: Mapped[int] = mapped_column(Integer, server_default=text("0"))


class MessageRow(Numbered, Dated, Base):
    """`question_id` is the message that an agent's answer answers. Neither it nor the run is a foreign key: messages
    are never removed alone, and a run may be forgotten while what was said in it stays.
    """

    __tablename__ = "messages"
    __table_args__ = (
        CheckConstraint("role IN ('user', 'assistant', 'system')", name="role"),
        CheckConstraint("status IN ('complete', 'pending', 'failed', 'interrupted')", name="status"),
        Index(None, "chat_id", "id"),
        # a history is read by turns: while one is answered, the questions of the next may be waiting already
        Index("ix_messages_place", "chat_id", "branch", text("coalesce(question_id, id)"), "id"),
    )

    chat_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("chats.id", ondelete="CASCADE"))
    role: Mapped[str] = mapped_column(String(16))
    content: Mapped[str] = mapped_column(Text)
    in_prompt: Mapped[bool] = mapped_column(server_default=text("true"))
    status: Mapped[str] = mapped_column(String(16))
    run_id: Mapped[UUID | None] = mapped_column(Uuid)
    question_id: Mapped[int | None] = mapped_column(BigInteger)
    branch: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    deleted_at: Mapped[datetime | None]


class BranchRow(Base):
    """A branch follows its parent up to, and without, the position `until_place`, `until_id`. Branch 0 has no row."""

    __tablename__ = "chat_branches"

    chat_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("chats.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    parent: Mapped[int] = mapped_column(Integer)
    until_place: Mapped[int] = mapped_column(BigInteger)
    until_id: Mapped[int] = mapped_column(BigInteger)


# for statements that need no tracked rows
CHATS = cast("Table", ChatRow.__table__)
MESSAGES = cast("Table", MessageRow.__table__)
BRANCHES = cast("Table", BranchRow.__table__)
