"""The tables of tasks. Rows never leave the repository.

Fact: a task's runs are told of by the task's id in `runs`, which is no foreign key; neither table knows the other.
"""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.features.tasks.domain.task import EXPRESSION_LIMIT_CHARS, TIMEZONE_LIMIT_CHARS
from app.infra.db.base import Base, Dated
from app.kernel.revocation import MAX_NAME_LENGTH

# Any: JSON whose shape its module in `domain` knows
type Document = dict[str, Any]

_TYPES = "task_type IN ('delegation', 'scheduled', 'triggered', 'research', 'heartbeat')"
_ENDS = "IN ('completed', 'failed', 'interrupted')"


def _document() -> Any:  # Any: a column of whichever attribute it stands for
    return mapped_column(JSON(none_as_null=True), nullable=True)


class TaskRow(Dated, Base):
    __tablename__ = "tasks"
    __table_args__ = (
        CheckConstraint(_TYPES, name="task_type"),
        CheckConstraint(f"last_status {_ENDS}", name="last_status"),
        Index(None, "owner", "id"),
        Index("ix_tasks_batch", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
        Index("ix_tasks_due", "next_run_at", postgresql_where=text("enabled AND deleted_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    owner: Mapped[str] = mapped_column(String(255))
    task_type: Mapped[str] = mapped_column(String(16))
    prompt: Mapped[str] = mapped_column(Text)
    agent: Mapped[str | None] = mapped_column(String(255))
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    authority: Mapped[Document] = mapped_column(JSON)
    schedule_expression: Mapped[str | None] = mapped_column(String(EXPRESSION_LIMIT_CHARS))
    timezone: Mapped[str | None] = mapped_column(String(TIMEZONE_LIMIT_CHARS))
    schedule: Mapped[Document | None] = _document()
    next_run_at: Mapped[datetime | None]
    last_run_at: Mapped[datetime | None]
    last_run_id: Mapped[UUID | None] = mapped_column(Uuid)
    last_status: Mapped[str | None] = mapped_column(String(16))
    trigger_config: Mapped[Document | None] = _document()
    notification_config: Mapped[Document | None] = _document()
    settings: Mapped[Document | None] = _document()
    context_data: Mapped[Document] = mapped_column(JSON)
    batch_id: Mapped[UUID | None] = mapped_column(Uuid)
    # of `authority`, to be compared with what is withdrawn
    token_id: Mapped[str | None] = mapped_column(String(MAX_NAME_LENGTH))
    issued_at: Mapped[float | None] = mapped_column(Double)
    withdrawn_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


class TaskDependencyRow(Base):
    """`state` is how the last run of the task that is needed ended, null before."""

    __tablename__ = "task_dependencies"
    __table_args__ = (CheckConstraint(f"state {_ENDS}", name="state"), Index(None, "needs"))

    task_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    needs: Mapped[UUID] = mapped_column(Uuid, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    state: Mapped[str | None] = mapped_column(String(16))


class TaskSlotRow(Base):
    """A slot of a schedule that has come, and what became of it; `digest` stands for what the agent was told."""

    __tablename__ = "task_slots"
    __table_args__ = (
        CheckConstraint("outcome IN ('fired', 'missed', 'overlap', 'unchanged', 'backoff')", name="outcome"),
        Index(None, "at"),
        Index("ix_task_slots_fired", "task_id", "slot", postgresql_where=text("run_id IS NOT NULL")),
    )

    task_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    slot: Mapped[datetime] = mapped_column(primary_key=True)
    outcome: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64))
    run_id: Mapped[UUID | None] = mapped_column(Uuid)
    at: Mapped[datetime] = mapped_column(server_default=func.now())


class WebhookSecretRow(Base):
    """The newest without `expires_at` is the present one; `sealed` as `infra/db/sealing.py` seals it."""

    __tablename__ = "webhook_secrets"
    __table_args__ = (Index(None, "task_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    task_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("tasks.id", ondelete="CASCADE"))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]


class WebhookDeliveryRow(Base):
    """One delivery, however often it was sent; its name and what it proves are each no other's."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("task_id", "proof"),
        Index(None, "task_id", "received_at"),
        Index(None, "received_at"),
    )

    task_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(300), primary_key=True)
    proof: Mapped[bytes | None] = mapped_column(LargeBinary)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    run_id: Mapped[UUID | None] = mapped_column(Uuid)
    skipped: Mapped[str | None] = mapped_column(Text)
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())


TASKS = cast("Table", TaskRow.__table__)
DEPENDENCIES = cast("Table", TaskDependencyRow.__table__)
