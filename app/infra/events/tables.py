"""The table of events. Rows are added in the transaction that counted them (`appending.py`) and never changed."""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import JSON, BigInteger, ForeignKey, String, Table, Uuid, func
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db.base import Base


class RunEventRow(Base):
    """`chat_id` is the run's."""

    __tablename__ = "run_events"

    run_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    chat_id: Mapped[int | None]
    type: Mapped[str] = mapped_column(String(32))
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    data: Mapped[dict[str, Any]] = mapped_column(JSON)  # Any: as its type says


EVENTS = cast("Table", RunEventRow.__table__)
