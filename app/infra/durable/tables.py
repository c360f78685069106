"""The tables of runs. A row of `runs` is the run as its owner sees it and the entry of the queue at once.

Facts
- Of a lane at most one row is running: a partial unique index says so, whatever the code does.
- `is_ready` is true for whatever may be taken as soon as `run_at` has passed: the head of each lane, and runs without a
  lane. So a lane of twenty thousand costs a claim no more than a lane of one.
- No index holds what a running run writes again and again (its lease, its count of events), so that such a change stays
  within its page (PostgreSQL documentation, "Heap-Only Tuples"); pages are left a third empty for it.
- Documents are `json`, which takes every text that JSON can say; `usage` is `jsonb`, because it is added up.
"""

from datetime import datetime
from decimal import Decimal
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
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db.base import Base

_LIVE = "state IN ('queued', 'running', 'waiting')"
# of which a task's history tells
_TOLD = "task_id IS NOT NULL AND parent_id IS NULL AND {at} IS NOT NULL"
_STATES = "state IN ('queued', 'running', 'waiting', 'completed', 'failed', 'interrupted')"

# Any: JSON of whatever shape, read where its shape is known
type Document = Any


class RunRow(Base):
    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint(_STATES, name="state"),
        Index("uq_runs_one_running_per_lane", "lane", unique=True, postgresql_where=text("state = 'running'")),
        Index("uq_runs_dedupe", "dedupe", unique=True, postgresql_where=text("dedupe IS NOT NULL")),
        Index(
            "ix_runs_claim",
            "priority",
            "run_at",
            "id",
            postgresql_where=text("is_ready AND state IN ('queued', 'waiting')"),
        ),
        Index("ix_runs_lane", "lane", "id", postgresql_where=text(f"lane IS NOT NULL AND {_LIVE}")),
        Index("ix_runs_live", "state", "id", postgresql_where=text(_LIVE)),
        Index("ix_runs_chat", "chat_id", "id", postgresql_where=text("chat_id IS NOT NULL")),
        Index("ix_runs_task", "task_id", "id", postgresql_where=text("task_id IS NOT NULL")),
        *(
            Index(f"ix_runs_{name}", *owner, at, "id", postgresql_where=text(_TOLD.format(at=at)))
            for name, at in (("starts", "started_at"), ("ends", "finished_at"))
            for name, owner in ((name, ()), (f"owners_{name}", ("owner",)))
        ),
        Index("ix_runs_parent", "parent_id", "id", postgresql_where=text("parent_id IS NOT NULL")),
        Index("ix_runs_owner", "owner", "id"),
        Index(
            "ix_runs_to_forget",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL AND forgotten_at IS NULL"),
        ),
        {"postgresql_with": {"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.02}},
    )
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    kind: Mapped[str] = mapped_column(String(64))
    owner: Mapped[str] = mapped_column(String(255))
    trigger: Mapped[str] = mapped_column(String(32))
    agent: Mapped[str | None] = mapped_column(String(255))
    # a chat's or a task's row may be gone while its runs are still told of; infra knows neither table
    chat_id: Mapped[int | None] = mapped_column(BigInteger)
    task_id: Mapped[UUID | None] = mapped_column(Uuid)
    parent_id: Mapped[UUID | None] = mapped_column(Uuid)
    rerun_of: Mapped[UUID | None] = mapped_column(Uuid)
    input: Mapped[Document] = mapped_column(JSON, nullable=False)
    on_disconnect: Mapped[str | None] = mapped_column(String(16))

    state: Mapped[str] = mapped_column(String(16))
    lane: Mapped[str | None] = mapped_column(String(255))
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    is_ready: Mapped[bool] = mapped_column(Boolean)
    run_at: Mapped[datetime] = mapped_column(server_default=func.now())
    scheduled_for: Mapped[datetime | None]
    dedupe: Mapped[str | None] = mapped_column(String(255))

    epoch: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    worker: Mapped[str | None] = mapped_column(String(255))
    lease_until: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    max_attempts: Mapped[int] = mapped_column(Integer)
    crashes: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    cancel_requested_at: Mapped[datetime | None]
    cancel_reason: Mapped[str | None] = mapped_column(Text)
    wait_key: Mapped[str | None] = mapped_column(String(255))
    code_version: Mapped[str | None] = mapped_column(String(64))
    event_seq: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))

    progress: Mapped[Document | None] = mapped_column(JSON(none_as_null=True), nullable=True)
    result: Mapped[Document | None] = mapped_column(JSON(none_as_null=True), nullable=True)
    error: Mapped[Document | None] = mapped_column(JSON(none_as_null=True), nullable=True)
    usage: Mapped[Document | None] = mapped_column(JSONB(none_as_null=True), nullable=True)
    cost: Mapped[Decimal | None] = mapped_column(Numeric(18, 9))

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    forgotten_at: Mapped[datetime | None]


class RunStepRow(Base):
    """A finished step, or with `is_done` false the intent to do one that must not be done twice."""

    __tablename__ = "run_steps"

    run_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    number: Mapped[int] = mapped_column(Integer)
    epoch: Mapped[int] = mapped_column(Integer)
    is_done: Mapped[bool] = mapped_column(Boolean)
    result: Mapped[Document | None] = mapped_column(JSON(none_as_null=True), nullable=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())


class RunSignalRow(Base):
    """The first answer under a key; with `is_timeout` nobody gave one in time."""

    __tablename__ = "run_signals"

    run_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    payload: Mapped[Document | None] = mapped_column(JSON(none_as_null=True), nullable=True)
    is_timeout: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    at: Mapped[datetime] = mapped_column(server_default=func.now())


class WorkerRow(Base):
    """A worker as it described itself a moment ago (`crew.py`)."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    version: Mapped[str] = mapped_column(Text)
    report: Mapped[Document] = mapped_column(JSON, nullable=False)
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())


# for statements that need no tracked rows
RUNS = cast("Table", RunRow.__table__)
STEPS = cast("Table", RunStepRow.__table__)
SIGNALS = cast("Table", RunSignalRow.__table__)
