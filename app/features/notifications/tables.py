"""The tables of notifications. Neither a run nor a task is a foreign key: what was told stays when they are gone.

Facts
- Of a lane the one with the lowest id that is pending is its head, and only heads are taken; it is made head, or put
  behind one, under the lock of what it is in order with. So a long lane costs a claim no more than a short one.
- While it is being sent `due_at` is the end of the lease: whoever dies leaves nothing to be mended.
"""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db.base import Base, Numbered

# Any: JSON of whatever the news are about
type Document = dict[str, Any]


class NotificationRow(Base):
    """`key` names what happened; `repeats` is the one that was sent in its place."""

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("key"),
        Index(None, "owner", "id"),
        Index(None, "created_at"),
        Index("ix_notifications_unread", "owner", "id", postgresql_where=text("read_at IS NULL")),
        Index("ix_notifications_same", "order_key", "same_as", "created_at", postgresql_where=text("same_as <> ''")),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    key: Mapped[str] = mapped_column(String(255))
    owner: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(16))
    title: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    order_key: Mapped[str] = mapped_column(String(255))
    same_as: Mapped[str] = mapped_column(String(255))
    run_id: Mapped[UUID | None] = mapped_column(Uuid)
    task_id: Mapped[UUID | None] = mapped_column(Uuid)
    chat_id: Mapped[int | None] = mapped_column(BigInteger)
    agent: Mapped[str] = mapped_column(String(255))
    details: Mapped[Document] = mapped_column(JSON)
    repeats: Mapped[UUID | None] = mapped_column(Uuid)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    read_at: Mapped[datetime | None]


class DeliveryRow(Numbered, Base):
    """`address` is what the owner gave, "" where the operator's is meant; `quiet` are his hours, as he wrote them."""

    __tablename__ = "notification_deliveries"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="state"),
        Index("ix_notification_deliveries_due", "due_at", "id", postgresql_where=text("is_head AND state = 'pending'")),
        Index("ix_notification_deliveries_lane", "lane", "id", postgresql_where=text("state = 'pending'")),
        Index("ix_notification_deliveries_dead", "done_at", postgresql_where=text("state = 'dead'")),
        Index(None, "notification_id"),
        {"postgresql_with": {"fillfactor": 80}},
    )

    notification_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("notifications.id", ondelete="CASCADE"))
    lane: Mapped[str] = mapped_column(String(64))
    destination: Mapped[str] = mapped_column(String(255))
    channel: Mapped[str] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(Text)
    quiet: Mapped[Document | None] = mapped_column(JSON(none_as_null=True), nullable=True)
    state: Mapped[str] = mapped_column(String(16), server_default="pending")
    is_head: Mapped[bool] = mapped_column(Boolean)
    due_at: Mapped[datetime]
    give_up_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    epoch: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    error: Mapped[str | None] = mapped_column(String(255))
    done_at: Mapped[datetime | None]


NOTIFICATIONS = cast("Table", NotificationRow.__table__)
DELIVERIES = cast("Table", DeliveryRow.__table__)
